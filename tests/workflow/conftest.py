from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import forked
from project import Project


@pytest.fixture(scope="session", autouse=True)
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`Project.snakemake` and the verbs that it starts fork from a process with all libraries imported."""
    with forked.serving(tmp_path_factory.mktemp("commands")):
        yield


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands start as those of a user do."""
    monkeypatch.setattr(forked, "folder", None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, commands: None, worker_id: str) -> Project:
    """A project in which everything has been made. Copy it before changing it."""
    own = tmp_path_factory.mktemp("finished")
    session = own.parent if worker_id == "master" else own.parent.parent
    with open(session / "finished.lock", "w") as lock:  # one process of the session makes it
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Project(session / "finished-by-one" / "project")
        if not made.folder.exists():
            making = Project.create(session / "finished-by-one" / "making")
            making.snakemake()
            making.folder.rename(made.folder)
    return made.copy(own / "project")


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A fresh copy of the finished project."""
    return finished.copy(tmp_path / "project")
