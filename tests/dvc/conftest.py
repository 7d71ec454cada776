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
