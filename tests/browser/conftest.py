from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

import chromium
from project import Project


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project in which everything has been made."""
    if chromium.binary() is None:
        pytest.skip("needs Chromium: not here (make system-setup installs it)")
    project = Project.create(tmp_path_factory.mktemp("report") / "project")
    project.snakemake()
    return project


@pytest.fixture(scope="session")
def report(made: Project) -> Path:
    """Snakemake's report of it."""
    made.snakemake("--report", "report.html", "--", "all")
    return made.folder / "report.html"
