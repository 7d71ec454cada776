from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from repository import Repository, Truth


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "dvc: runs DVC and Snakemake on a tiny project; a minute a test")


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """What plain Snakemake makes of a repository's parameters, from nothing."""
    return Truth(tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository whose results are recorded, committed and pushed. Clone it, never change it."""
    folder = tmp_path_factory.mktemp("recorded")
    repository = Repository.create(folder / "origin", folder / "remote")
    repository.repro()
    repository.commit("results")
    repository.run("dvc", "push", "-q")
    return repository


@pytest.fixture(scope="session")
def synced(recorded: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A fresh clone with the recorded data, as Snakemake should see it. Copy it, never change it."""
    clone = recorded.clone(tmp_path_factory.mktemp("synced") / "clone")
    clone.sync()
    return clone


@pytest.fixture
def clone(synced: Repository, tmp_path: Path) -> Repository:
    """A synced clone of this test alone."""
    return synced.copy(tmp_path / "clone")


@pytest.fixture(scope="session")
def edited(synced: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A synced clone after an edit of nfe, from 2 to 3, and `dvc repro`. Copy it, never change it."""
    clone = synced.copy(tmp_path_factory.mktemp("edited") / "clone")
    clone.set("sample", nfe=3)
    clone.repro()
    return clone
