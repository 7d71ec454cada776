"""What a stage takes to start, against the libraries that it cannot do without."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.measure import Result, compare
from benchmarks.planning import spent

PLAIN = "numpy, pydantic, typer"
STARTS = {  # by verb: the module that does the work, and what it needs
    "numbers": ("numbers", PLAIN),
    "prepare": ("data", f"{PLAIN}, PIL.Image, lmdb"),
    "figure loss": ("curves", f"{PLAIN}, pandas, matplotlib.figure"),
    "translate-points": ("points", "torch"),
    "train": ("training", "torch"),
    "sample": ("restoration", "torch"),
    "evaluate fid": ("metrics", "torch"),
}


def stages_against_their_libraries() -> Iterator[Result]:
    """Processor time of the imports; what is more than the libraries' is ours."""
    for verb, (module, needed) in STARTS.items():
        ours = f"import bridgepipe.cli.people, bridgepipe.stages.{module}"
        yield compare(
            f"start of stage {verb}, processor time",
            partial(_python, ours),
            f"import {needed}",
            partial(_python, f"import {needed}"),
            repeat=5,
            clock=spent,
        )


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)
