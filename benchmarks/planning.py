"""What every `snakemake` costs before its first job."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Result, compare

TARGET = "results/i2sb/jpeg-5/fid.json"
EMPTY = 'rule all:\n    output: "file"\n    shell: "touch {output}"\n'


def dry_run_against_empty_snakefile() -> Result:
    """Processor time; more than the baseline is ours, the rest is Snakemake's own start."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(EMPTY)
        what = f"plan {TARGET}, processor time"
        return compare(
            what,
            lambda: _plan(TARGET, "."),
            "an empty Snakefile",
            lambda: _plan("file", folder),
            clock=_spent,
        )


def _plan(target: str, folder: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "-n", "--quiet", "all", "--", target]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _spent() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
