"""What every `snakemake` costs before its first job."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Result, compare

TARGET = "results/i2sb/jpeg-5/fid.json"
MORE, JOBS = 300, 12  # experiments, and the jobs of each
EXPERIMENT = "    more-{}: {{scales: [demo], corruption: jpeg-5, train: {{seed: {}}}}}\n"
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
            clock=spent,
        )


def dry_run_of_more_experiments_against_bare_rules() -> Result:
    """Processor time of a project with 300 experiments more, against as many jobs of rules without anything.

    Each has one input, one output and a wildcard; more than them is what our rules read, ask and check.
    """
    with tempfile.TemporaryDirectory() as folder:
        grown, bare = Path(folder, "grown"), Path(folder, "bare")
        _copy_project(grown)
        more = "".join(EXPERIMENT.format(number, number) for number in range(MORE))
        (grown / "experiments/more.yaml").write_text(f"experiments:\n  i2sb:\n{more}")
        bare.mkdir()
        (bare / "Snakefile").write_text(_chain())
        return compare(
            f"plan {MORE} experiments more, processor time",
            lambda: _plan("all", str(grown)),
            f"a Snakefile of {MORE * JOBS} jobs without anything",
            lambda: _plan("all", str(bare)),
            repeat=3,
            clock=spent,
        )


def _copy_project(folder: Path) -> None:
    for name in ("workflow", "experiments", "profiles"):
        shutil.copytree(name, folder / name)
    for name in ("Snakefile", "params.yaml"):
        shutil.copy(name, folder)


def _chain() -> str:
    """A Snakefile whose rule ``all`` wants the last of ``JOBS`` files, each made from the one before."""
    rules = [f'rule all:\n    input: expand("{JOBS}/{{name}}", name=range({MORE}))\n']
    for job in range(1, JOBS + 1):
        before = f'    input: "{job - 1}/{{name}}"\n' if job > 1 else ""
        output = f'    output: "{job}/{{name}}"\n    shell: "touch {{output}}"\n'
        rules.append(f"rule job_{job}:\n{before}{output}")
    return "".join(rules)


def _plan(target: str, folder: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "-n", "--quiet", "all", "--", target]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def spent() -> float:
    """Processor seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
