"""What a job tells of itself: `bridgepipe status` of quiet runs, and bad input that is not tried again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bridgepipe import artifacts, cli, finite
from bridgepipe.errors import UserError
from bridgepipe.runtime import history, jobs, locks, provenance

LOG = "results/i2sb/jpeg-5/logs/sample.log"
CONFIG = "results/i2sb/jpeg-5/config/sample.json"
STATE = "results/i2sb/jpeg-5/train/state.safetensors"
COMMAND = [
    "stage",
    "sample",
    "--config",
    CONFIG,
    "--data",
    "data/prepared/mine/test.lmdb",
    "--folder",
    str(Path(STATE).parent),
]
BAD = UserError("network output is not a finite number", "image 3", "its training diverged")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which Snakemake has sent a job that writes to a log of the workflow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(artifacts, "written", [])
    monkeypatch.setattr(provenance, "log_file", lambda: LOG)
    monkeypatch.setattr(sys, "argv", ["bridgepipe", *COMMAND])
    for name in ("SLURM_JOB_ID", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name in (CONFIG, STATE, "data/prepared/mine/test.lmdb", "pictures/a.png"):
        artifacts.write_text(name, "{}")
    artifacts.write_json(CONFIG, {"dataset": {"path": "pictures"}, "nfe": 5})
    artifacts.written.clear()
    (tmp_path / ".snakemake").mkdir()
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, verb: Callable[[], Any]) -> int:
    """Exit code of the command, whose verb does what is given."""
    monkeypatch.setattr(cli, "app", lambda **_: verb())
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def rows() -> list[list[str]]:
    return [[j.rule, j.subject, j.number, j.state, j.log] for j in history.last_jobs(Path(), {})]


def fail(error: BaseException) -> Callable[[], NoReturn]:
    def verb() -> NoReturn:
        raise error

    return verb


def test_a_job_is_seen_while_it_runs_and_when_it_has_failed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    assert run(monkeypatch, lambda: seen.extend(rows())) == 0
    assert seen == [["sample", "i2sb/jpeg-5", "", "RUNNING", LOG]]
    assert rows() == []
    assert not list(Path(".snakemake").rglob("*.json"))
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert run(monkeypatch, fail(BAD)) == 2
    assert rows() == [["sample", "i2sb/jpeg-5", "17", "FAILED", LOG]]
    with pytest.raises(ZeroDivisionError):  # a defect of ours
        monkeypatch.setattr(cli, "app", lambda **_: 1 / 0)
        cli.main()
    assert rows()[0][3] == "FAILED"
    assert run(monkeypatch, lambda: sys.exit(75)) == 75
    assert rows()[0][3] == "STOPPED"
    assert run(monkeypatch, lambda: 0) == 0
    assert rows() == []


def test_a_job_that_was_killed_is_told_from_one_that_runs_elsewhere(project: Path) -> None:
    file = jobs._record()
    assert file is not None
    known = {"command": COMMAND, "log": LOG, "number": "", "run": "", "code": None}
    here = locks.me()
    elsewhere = replace(here, host="elsewhere", boot="another")
    for owner, age, state in (
        (replace(here, pid=2**22 + 1), 0, "STOPPED"),
        (elsewhere, 0, "RUNNING"),
        (elsewhere, 2 * locks.WATCHED, "STOPPED"),
    ):
        artifacts.write_json(file, {**known, "owner": vars(owner)})
        now = file.stat().st_mtime
        os.utime(file, (now - age, now - age))
        assert rows()[0][3] == state


def test_a_job_is_one_row_with_what_snakemake_told_of_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = f"Job 3: Restoring\nShell command: bridgepipe {' '.join(COMMAND)} > {LOG} 2>&1\n"
    (project / ".snakemake/log").mkdir()
    (project / ".snakemake/log/1.snakemake.log").write_text(log)
    assert run(monkeypatch, fail(BAD)) == 2
    assert rows() == [["sample", "i2sb/jpeg-5", "#3", "FAILED", LOG]]


def test_a_disk_that_takes_no_record_ends_no_job(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs.FOLDER.write_text("a file stands where the folder should be")
    assert run(monkeypatch, lambda: 0) == 0
    assert run(monkeypatch, fail(BAD)) == 2
    assert rows() == []


def test_what_is_typed_by_hand_leaves_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for log in ("", "mine.txt", "logs/mine.log"):
        monkeypatch.setattr(provenance, "log_file", lambda log=log: log)
        assert run(monkeypatch, fail(BAD)) == 2
    assert not list(Path(".snakemake").rglob("*.json"))


@pytest.mark.parametrize(
    "error", [BAD, finite.NotFinite("a gradient", 3), UserError("no images", "pictures", "add some")]
)
def test_bad_input_ends_the_tries_that_follow_at_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: UserError
) -> None:
    with locks.exclusive(locks.LOCK):
        assert run(monkeypatch, fail(error)) == 2
        first = capsys.readouterr().err
        assert run(monkeypatch, lambda: pytest.fail("it was tried again")) == 2
        assert capsys.readouterr().err == first == f"bridgepipe: {error}\n"
    with locks.exclusive(locks.LOCK):  # a person starts Snakemake again
        assert run(monkeypatch, lambda: 0) == 0


@pytest.mark.parametrize(
    "name", [CONFIG, STATE, "data/prepared/mine/test.lmdb", "pictures/a.png", "pictures/b.png"]
)
def test_what_was_mended_is_tried_again(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with locks.exclusive(locks.LOCK):
        assert run(monkeypatch, fail(BAD)) == 2
        text = Path(name).read_text() if Path(name).exists() else ""
        Path(name).write_text(f"{text} ")
        assert run(monkeypatch, lambda: 0) == 0


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        MemoryError(),
        UserError("no cuda device on this machine", "runtime.device", "set it to auto or cpu"),
    ],
)
def test_what_may_pass_is_tried_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    with locks.exclusive(locks.LOCK):
        assert run(monkeypatch, fail(error)) == 2
        assert run(monkeypatch, lambda: 0) == 0


def test_a_download_is_tried_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bridgepipe", "fetch", "inception"])
    with locks.exclusive(locks.LOCK):
        assert run(monkeypatch, fail(BAD)) == 2
        assert run(monkeypatch, lambda: 0) == 0
