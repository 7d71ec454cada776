"""`bridgepipe status --watch` reads again what has changed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridgepipe import artifacts
from bridgepipe.runtime import history
from bridgepipe.runtime.unchanged import folders, once_a_change

LONG_AGO = 1_700_000_000


def settle(root: Path) -> None:
    """Let all below a folder be old."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, (LONG_AGO, LONG_AGO))


def record(project: Path, experiment: str) -> None:
    file = project / f"results/i2sb/{experiment}/provenance/fid.json.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    command = ["stage", "fid", "--output", f"results/i2sb/{experiment}/fid.json"]
    artifacts.write_json(file, {"command": command, "log": "x.log"})


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the experiments whose records are read, as they are."""
    names: list[str] = []
    plain = artifacts.read_json

    def noted(path: Path) -> object:
        names.append(path.parts[-3])
        return plain(path)

    monkeypatch.setattr(artifacts, "read_json", noted)
    return names


def test_records_are_read_once(tmp_path: Path, read: list[str]) -> None:
    for name in ("a", "b", "c"):
        record(tmp_path, name)
    settle(tmp_path)
    first = history.last_jobs(tmp_path, {})
    assert (len(first), sorted(read)) == (3, ["a", "b", "c"])
    assert history.last_jobs(tmp_path, {}) == first
    assert len(read) == 3
    record(tmp_path, "b")
    record(tmp_path, "d")
    assert [job.subject for job in history.last_jobs(tmp_path, {})][-2:] == ["i2sb/b", "i2sb/d"]
    assert sorted(read[3:]) == ["b", "d"]
    (tmp_path / "results/i2sb/a/provenance/fid.json.json").unlink()
    assert len(history.last_jobs(tmp_path, {})) == 3


def test_what_changed_just_now_is_looked_at_again(tmp_path: Path) -> None:
    """Two changes can have one time; so can a write and the look before it."""
    looks = []
    look = once_a_change(lambda path: looks.append(path))
    for _ in range(2):
        look(tmp_path)
    settle(tmp_path)
    for _ in range(2):
        look(tmp_path)
    assert len(looks) == 3


def test_folders_are_those_that_are_there(tmp_path: Path) -> None:
    for name in ("a/train", "b/c/train", "train/train", "d/other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    settle(tmp_path)
    expected = {"a/train", "b/c/train", "train", "train/train"}
    for _ in range(2):
        assert {str(found.relative_to(tmp_path)) for found in folders(tmp_path, "train")} == expected
    (tmp_path / "d/train").mkdir()
    assert tmp_path / "d/train" in {*folders(tmp_path, "train")}
    assert [*folders(tmp_path / "nowhere", "train")] == []


def test_the_log_of_a_run_is_read_from_where_it_ended(tmp_path: Path) -> None:
    log = tmp_path / ".snakemake/log/1.snakemake.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "total      2\nJob 1: f\nShell command: bridgepipe stage fid --output results/i2sb/a/fid.json > l 2"
    )
    assert history.last_jobs(tmp_path, {}) == []
    with open(log, "a") as file:
        file.write(">&1\n")
    (job,) = history.last_jobs(tmp_path, {})
    assert (job.rule, job.subject, job.state, job.log) == ("fid", "i2sb/a", "STOPPED", "l")
    with open(log, "a") as file:
        file.write("Finished jobid: 1 (Rule: fid)\n1 of 2 steps (50%) done\n")
    assert [job.state for job in history.last_jobs(tmp_path, {})] == ["COMPLETED"]
    log.rename(tmp_path / "old")
    log.write_text("Job 1: fid\n")
    assert history.last_jobs(tmp_path, {}) == []
