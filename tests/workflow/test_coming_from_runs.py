"""The main commands of docs/coming-from.md, at the scale of the demo, with small networks."""

from __future__ import annotations

import re
import shlex
from typing import Any

import numpy as np
import pytest
import test_point_pipeline as points
from project import ROOT, Project

from bridgepipe import artifacts, config
from bridgepipe.config import read_yaml
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets.points import Points

SECTION = (
    (ROOT / "docs/coming-from.md").read_text().partition("## The main commands\n")[2].partition("\n## ")[0]
)
COMMANDS = [shlex.split(row) for row in re.findall(r"^\| `.* \| `([^`]*)` \|$", SECTION, flags=re.MULTILINE)]
TARGETS = [target for program, *targets in COMMANDS if program == "snakemake" for target in targets]
OWN = {"ddib/sample": ("moons", "checkerboard", "concentric_squares"), "model": ("ddpm", "spd")}
OWN |= {"ddib/points": ("moons-checkerboard", "moons-concentric_squares"), "spd": ("ddpm", "ddim", "spd")}
OWN |= {"i2sb": ("jpeg-5", "jpeg-5-ode")}


def experiment(target: str) -> str:
    return target.removeprefix("results/").rpartition("/")[0]


def tiny(values: dict[str, Any]) -> None:
    given = read_yaml(ROOT / "params.yaml")["experiments"]
    points.tiny(values)
    values["experiments"] = {
        method: {name: given[method][name] for name in names} for method, names in OWN.items()
    }
    for domain in OWN["ddib/sample"]:
        values["datasets"][domain] |= {"count": 2400}
    values["extractors"]["digits-16-classifier"]["steps"] = 20
    demo = values["scales"]["demo"]
    demo["model"]["network"] |= {"channel_mult": [1], "attention_resolutions": []}
    demo["model"]["train"] |= {"steps": 10, "batch_size": 8}
    demo["spd"]["sample"] |= {"nfe": 6, "count": 40}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.create(tmp_path_factory.mktemp("coming") / "project")
    project.edit(tiny)
    return project


def of_demo() -> list[str]:
    """Targets of the page that exist at the scale of the demo; test_coming_from_papers.py runs the others."""
    known = config.Resolved(read_yaml(ROOT / "params.yaml")).experiments
    return [target for target in TARGETS if experiment(target) in known]


def test_the_main_commands_make_what_they_name(made: Project) -> None:
    targets = of_demo()
    assert len(targets) >= 15
    made.snakemake("-c2", "--", *targets)
    for target in targets:
        file = made.folder / target
        if file.suffix == ".lmdb":
            assert len(ImageStore(file)) == 40
        elif file.suffix == ".npz":
            assert np.load(file)["arr_0"].shape == (40, 16, 16, 3)
        elif file.suffix == ".json":
            assert np.isfinite(_first(artifacts.read_json(file)["values"]))
        elif file.name == "model.safetensors":
            assert artifacts.load_tensors(file)[1]["config"]
        else:
            assert len(Points(file))
    assert made.planned(*targets) == set()


def _first(values: dict[str, Any]) -> float:
    return float(next(value for value in values.values() if isinstance(value, int | float)))
