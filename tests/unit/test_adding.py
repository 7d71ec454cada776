"""What a person edits to add something of their own, applied to a copy of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src/bridgepipe"

# file -> (after this line, what is added)
SOLVER = {
    "nfe.py": (
        '    "multistep2": Traits(),\n',
        '    "unipc2": Traits(lambda steps, inner: steps + inner),\n',
    ),
    "samplers/solvers.py": (
        '    "multistep2": Multistep(2),\n',
        '    "unipc2": Multistep(2, corrected=True),\n',
    ),
}
USE_SOLVER = """
import torch
from bridgepipe import nfe, samplers
from bridgepipe.config.ddib import TranslateImages
from bridgepipe.config.gaussian import Generate
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian

how = Generate(sampler="unipc2", nfe=12)
TranslateImages(solver="unipc2", grid="ddib")
process, calls = Gaussian(schedules.linear(1000)), []

def normal(x, t):
    calls.append(t)
    return process.alpha_bar_at(t, x).neg().add(1).sqrt().to(x) * x  # eps of data that are white noise

start = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
for inner in (True, False):
    calls.clear()
    kept = samplers.grid("exact" if inner else "ddib", [99, 300, 600, 999], 1000).decode
    found = samplers.decode(normal, start, kept, process=process, solver="unipc2")
    made = len(calls)
    assert made == found.calls == nfe.calls("unipc2", len(kept) - 1, inner)
    plain = samplers.decode(normal, start, kept, process=process, solver="ddim")
    assert (found.x - start).norm() < (plain.x - start).norm()
print(nfe.calls_made(1000, how.sampler, how.nfe, how.spacing))
"""


def copied(folder: Path, edits: dict[str, tuple[str, str]]) -> Path:
    """The package with something added, which another Python imports."""
    shutil.copytree(PACKAGE, folder / "bridgepipe", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (line, added) in edits.items():
        file = folder / "bridgepipe" / name
        text = file.read_text()
        assert text.count(line) == 1
        file.write_text(text.replace(line, line + added))
    return folder


def run(folder: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_solver_is_added_in_two_files(tmp_path: Path) -> None:
    assert run(copied(tmp_path, SOLVER), USE_SOLVER) == "12"
