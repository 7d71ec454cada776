"""What docs/architecture.md tells to edit to add something, applied to a copy of the project and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
EDIT = re.compile(
    r"(?:New file `(?P<new>[^`]+)`|In `(?P<file>[^`]+)`, after `(?P<line>[^`]+)`)"
    r":\n\n```python\n(?P<text>.*?)```\n",
    re.DOTALL,
)

USE_SOLVER = """
import torch
from bridgepipe import samplers
from bridgepipe.names import nfe
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
    steps = samplers.grid("exact" if inner else "ddib", [99, 300, 600, 999], 1000).decode
    found = samplers.decode(normal, start, steps, process=process, solver="unipc2")
    made = len(calls)
    assert made == found.calls == nfe.calls("unipc2", len(steps) - 1, inner)
    plain = samplers.decode(normal, start, steps, process=process, solver="ddim")
    assert (found.x - start).norm() < (plain.x - start).norm()
print(nfe.calls_made(1000, how.sampler, how.nfe, how.spacing))
"""
USE_CORRUPTION = """
import torch
from bridgepipe import config, corruptions

values = config.read_yaml("params.yaml")
values["experiments"]["i2sb"]["levels"] = {"corruption": "posterise", "scales": ["demo"]}
assert config.Resolved(values).experiment("i2sb/levels").corruption == "posterise"
x0 = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
print(len(corruptions.build("posterise", 16)(x0).image.unique()))
"""
USE_DATASET = """
import numpy as np
from bridgepipe import config, datasets
from bridgepipe.data.store import ImageStore

values = config.read_yaml("params.yaml")
values["datasets"]["ramps"] = {"source": "gradients", "size": 16}
found = config.Resolved(values).params.datasets["ramps"]
datasets.prepare(out_dir="ramps", **found.model_dump())
store = ImageStore("ramps/train.lmdb")
assert store.classes == ["across", "down"] and store.image_size == (16, 16)
assert (np.diff(store[0].astype(int), axis=0 if store.labels[0] else 1) >= 0).all()
print(sum(len(ImageStore(f"ramps/{split}.lmdb")) for split in ("train", "val", "test")))
"""
USE_METHOD = """
import json, subprocess, sys, yaml
from pathlib import Path

values = yaml.safe_load(Path("params.yaml").read_text())
del values["include"]
values["scales"]["demo"]["mean"] = {"split": "train"}
values["experiments"] = {"mean": {"digits": {"dataset": "digits"}}}
Path("params.yaml").write_text(yaml.safe_dump(values))
target = "results/mean/digits/mean.json"
command = [sys.executable, "-m", "snakemake", "--", target]
done = subprocess.run(command, capture_output=True, text=True)
assert done.returncode == 0, done.stdout + done.stderr
found = json.loads(Path(target).read_text())
assert found["protocol"] == {"split": "train"}
print(0.1 < found["values"]["contrast"] < 1)
"""


def edits(what: str) -> list[re.Match[str]]:
    """Those of one section of the page."""
    section = re.split(r"^##+ ", PAGE.split(f"### {what}:")[1], flags=re.MULTILINE)[0]
    return list(EDIT.finditer(section))


def apply(edit: re.Match[str], project: Path) -> None:
    if edit["new"]:
        file = project / edit["new"]
        assert not file.exists()
        file.write_text(edit["text"])
    else:
        file = project / edit["file"]
        lines = file.read_text().splitlines(keepends=True)
        at = [i for i, line in enumerate(lines) if line == edit["line"] + "\n"]
        assert len(at) == 1, edit["line"]
        file.write_text("".join([*lines[: at[0] + 1], edit["text"], *lines[at[0] + 1 :]]))


@pytest.mark.parametrize(
    ("what", "most", "use", "expected"),
    [
        ("a solver", 3, USE_SOLVER, "12"),
        ("a corruption", 3, USE_CORRUPTION, "8"),
        ("a dataset", 3, USE_DATASET, "100"),
        ("a method", 5, USE_METHOD, "True"),
    ],
)
def test_something_is_added_as_the_page_says(
    what: str, most: int, use: str, expected: str, tmp_path: Path
) -> None:
    for name in ("src", "workflow", "profiles", "experiments"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("Snakefile", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    found = edits(what)
    assert 2 <= len({edit["new"] or edit["file"] for edit in found}) <= most
    for edit in found:
        apply(edit, tmp_path)
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "src"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    command = [sys.executable, "-c", use]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1] == expected
