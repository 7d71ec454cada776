"""`bridgepipe status`: how far jobs are, for a person, for a script, in place, and below another program."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from in_process import run
from test_progress import on_terminal

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.runtime import history, jobs, locks, watching

LOG = "results/i2sb/jpeg-5/logs/train.log"
COMMAND = ["stage", "train", "--folder", "results/i2sb/jpeg-5/train"]
SNAKEMAKE = """
Job stats:
job      count
-----  -------
train        3
total        9

Finished jobid: 2 (Rule: prepare)
2 of 9 steps (22%) done
"""
FAR = "training: 120 of 500 steps (24 %), 3.1 steps/s, about 2 min left, loss 0.25\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which a run is at work, with a job in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # without Slurm
    (tmp_path / ".snakemake/log").mkdir(parents=True)
    (tmp_path / ".snakemake/log/1.snakemake.log").write_text(SNAKEMAKE)
    known: Any = {"command": COMMAND, "log": LOG, "number": "", "run": "", "code": None}
    artifacts.write_json(tmp_path / jobs.FOLDER / "1.json", {**known, "owner": asdict(locks.me())})
    (tmp_path / LOG).parent.mkdir(parents=True)
    (tmp_path / LOG).write_text(f"a warning\n{FAR}saved\n")
    with locks.exclusive(locks.LOCK):
        yield tmp_path


def test_a_running_job_tells_how_far_it_is(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("status")
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["rule", "experiment", "job", "state", "log"]
    row = ["train", "i2sb/jpeg-5", "RUNNING, 24 %, about 2 min left", LOG]
    assert [cell.strip() for cell in said[1].split("  ") if cell.strip()] == row
    assert said[2] == "this run: 2 of 9 jobs done, 1 running, 6 waiting"


def test_a_script_reads_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("status", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["run"] == {"jobs": 9, "done": 2}
    (job,) = found["jobs"]
    assert (job["state"], job["percent"], job["left"]) == ("RUNNING", 24, "2 min")


def test_a_log_that_says_nothing_yet(project: Path) -> None:
    (project / LOG).unlink()
    assert history.running(project) == "train i2sb/jpeg-5: running"
    (project / LOG).write_bytes(b"\xff" * 100_000)
    assert history.running(project) == "train i2sb/jpeg-5: running"
    (project / LOG).write_bytes(b"\xff" * 100_000 + b"\n" + FAR.encode())
    assert history.running(project) == "train i2sb/jpeg-5: running, 24 %, about 2 min left"


def test_one_way_to_show_it(project: Path) -> None:
    with pytest.raises(SystemExit) as end:
        run("status", "--json", "--watch")
    assert end.value.code == 2


def test_it_is_drawn_in_place(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(watching.shutil, "get_terminal_size", lambda fallback=(): (10, 3))
    looks = iter([["one"], ["one", "two and more than fits", "three"]])

    def look() -> list[str]:
        try:
            return next(looks)
        except StopIteration:
            raise UserError("no more", "here", "stop") from None

    monkeypatch.setattr(watching.time, "sleep", lambda _: None)
    with pytest.raises(UserError):
        watching.watch(look)
    assert capsys.readouterr().out == "\r\033[Jone\n\033[1A\r\033[Jtwo and m\nthree\n"


FOLLOW = """
import sys
from bridgepipe.runtime import watching
watching.EVERY = 0.1
watching.follow(sys.stdin, lambda: "train: running, 24 %")
"""


def test_the_running_job_stands_below_another_program() -> None:
    said = "echo first; sleep 1; echo second"
    with subprocess.Popen(["bash", "-c", said], stdout=subprocess.PIPE) as other:
        shown = on_terminal(FOLLOW, "stdout", stdin=other.stdout)
    erased = "\r\033[K"
    assert f"{erased}first\r\ntrain: running, 24 %{erased}train" in shown
    assert shown.endswith(f"train: running, 24 %{erased}")
    assert shown.count(f"{erased}second\r\n") == 1


def test_where_nothing_can_be_drawn_lines_pass_as_they_are() -> None:
    command = [sys.executable, "-c", FOLLOW]
    said = subprocess.run(command, input="first\nsecond\n", capture_output=True, text=True, check=True)
    assert said.stdout == "first\nsecond\n"
