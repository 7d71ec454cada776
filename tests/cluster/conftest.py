"""A real Slurm for the session, and a tiny project that went through it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from project import METRICS, Project, demo

import slurm


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Slurm, started for this session and stopped after it."""
    if reason := slurm.unusable():
        pytest.skip(reason)
    slurm.start()
    yield
    slurm.stop()


@pytest.fixture(scope="session")
def finished(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was trained, sampled and measured through Slurm, on data prepared without. Copy it
    before changing it."""
    project = Project.create(tmp_path_factory.mktemp("slurm") / "project")
    project.edit(lambda v: (v["runtime"].update(partitions=4), demo(v)["train"].update(steps=40)))
    project.edit(lambda v: v["datasets"]["digits"].update(size=32))  # long enough to be stopped in
    project.snakemake("--", "data/stats/digits/train-digits-classifier.safetensors")
    project.snakemake(*slurm.PROFILE, "--", METRICS[0])
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A fresh copy of the finished project."""
    return finished.copy(tmp_path / "project")
