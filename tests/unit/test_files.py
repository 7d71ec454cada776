"""Files that are whole or absent, limits of a disk told in one line, and locks that say who holds them."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bridgepipe import artifacts
from bridgepipe.data import store
from bridgepipe.datasets import images
from bridgepipe.errors import REFUSED, UserError, errno_of, refused
from bridgepipe.runtime import locks

ELSEWHERE = locks.Owner("login2", "another-boot", "pid:[1]", 1, "2026-01-01 00:00:00")


def write_store(path: Path) -> None:
    with store.writer(path, {}, progress=False) as w:
        for _ in range(2):
            w.put(np.zeros((256, 256, 3), np.uint8))


# everything that writes, by the one file that it makes
WRITERS: dict[str, Callable[[Path], object]] = {
    "text.csv": lambda p: artifacts.write_text(p, "a" * 200_000),
    "value.json": lambda p: artifacts.write_json(p, ["a" * 200_000]),
    "model.safetensors": lambda p: artifacts.save_tensors(p, {"a": torch.zeros(50_000)}, {}),
    "image.png": lambda p: images.write_png(
        p, np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    ),
    "images.lmdb": write_store,
}


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_on_file_sizes_is_told_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match=rf"larger than a file may become here \(.*{name}\): .*ulimit -f"):
            WRITERS[name](tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match=r"^cannot write: .*\(.*out.*\): give another path"):
        WRITERS[name](tmp_path / "out" / name)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_where_the_file_should_be_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match=r"^cannot write: .*folder"):
        WRITERS[name](tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_names_as_long_as_the_file_system_takes_work(tmp_path: Path, name: str) -> None:
    longest = "ä" * ((255 - len(name) - 1) // 2) + "-" + name
    WRITERS[name](tmp_path / longest)
    assert [p.name for p in tmp_path.iterdir()] == [longest]
    with pytest.raises(UserError, match=r"the name is too long for the file system .*: give a shorter name"):
        WRITERS[name](tmp_path / ("ä" * 200 + name))


@pytest.mark.parametrize(
    "number", [n for n in REFUSED if n not in (errno.ENOENT, errno.EISDIR, errno.ENOMEM)]
)
def test_every_limit_is_named(tmp_path: Path, number: int) -> None:
    def fail() -> None:
        with artifacts.atomic(tmp_path / "a") as temporary:
            raise OSError(number, os.strerror(number), str(temporary))

    what, mend = REFUSED[number]
    with pytest.raises(UserError) as e:
        fail()
    assert str(e.value).startswith(f"cannot write: {what} ({tmp_path / 'a'}): {mend}")
    assert ("free some space" in str(e.value)) == (number == errno.ENOSPC)


def test_errors_of_libraries_are_known_by_their_text() -> None:
    import lmdb
    from safetensors import SafetensorError

    assert errno_of(SafetensorError("I/O error: No space left on device (os error 28)")) == errno.ENOSPC
    assert errno_of(lmdb.Error("mdb_env_open: Cannot allocate memory")) == errno.ENOMEM
    assert errno_of(MemoryError()) == errno.ENOMEM
    assert errno_of(ValueError("No space left on device")) is None


def test_no_memory_for_reading_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    artifacts.save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(3)}, {})

    def fail(*_: object) -> None:
        raise SafetensorError("Error: Cannot allocate memory (os error 12)")

    monkeypatch.setattr("safetensors.torch.load_file", fail)
    with pytest.raises(UserError, match=r"cannot read: not enough memory .*a\.safetensors") as e:
        artifacts.load_tensors(tmp_path / "a.safetensors")
    assert "delete" not in str(e.value)


def test_an_input_that_cannot_be_read_is_named_and_not_the_output(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\(.*input\)"), artifacts.atomic(tmp_path / "output"):
        (tmp_path / "input").read_bytes()


def test_models_are_readable_for_those_whom_the_folder_lets_in(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        artifacts.save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(3)}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o640


def name_of(owner: locks.Owner, monkeypatch: pytest.MonkeyPatch) -> str:
    """A temporary name as another process takes it."""
    with monkeypatch.context() as m:
        m.setattr(locks, "machine", lambda: (owner.host, owner.boot, owner.pids))
        m.setattr(locks.os, "getpid", lambda: owner.pid)
        locks._here.cache_clear()
        name = locks.temporary_name("a.png")
    locks._here.cache_clear()
    return name


def test_only_files_of_dead_processes_of_this_machine_are_swept(
    tmp_path: Path, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = locks.me()
    others = {
        "killed": replace(here, pid=dead),
        "alive": here,
        "another host": replace(here, host="login2", pid=dead),
        "before the boot": replace(here, boot="older", pid=dead),
        "another container": replace(here, pids="pid:[7]", pid=dead),
    }
    names = {what: name_of(owner, monkeypatch) for what, owner in others.items()}
    assert len(set(names.values())) == len(names)
    for name in names.values():
        (tmp_path / name).touch()
    artifacts.write_text(tmp_path / "b", "")
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"b", *names.values()} - {names["killed"]}


def test_two_processes_of_one_number_do_not_share_a_name() -> None:
    assert len({locks.temporary_name("a") for _ in range(100)}) == 100
    assert locks.machine()[0][:8] in locks.temporary_name("a")


def test_a_folder_is_listed_once_however_much_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, scandir = [], os.scandir
    monkeypatch.setattr(artifacts.os, "scandir", lambda p: [listed.append(p), scandir(p)][1])
    for i in range(20):
        artifacts.write_text(tmp_path / str(i), "")
    assert listed == [tmp_path]


def test_names_in_a_folder_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(artifacts.os, "fsync", watch)
    artifacts.write_text(tmp_path / "a", "")
    assert synced[-1] == str(tmp_path)
    assert synced[0].endswith(".tmp")


# locks


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locks, "WATCHED", 0.6)
    monkeypatch.setattr(locks, "BEAT", 0.1)
    monkeypatch.setattr(locks, "SETTLING", 0.05)
    locks._say_once.cache_clear()
    return tmp_path / "lock"


@pytest.fixture
def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks, or whose locks hold on one machine only (nothing is refused)."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", fail)


@pytest.fixture
def beating(lock: Path) -> Iterator[None]:
    """A process on another machine that holds the lock and lives."""
    lock.write_text(json.dumps(asdict(ELSEWHERE)))
    stop = threading.Event()
    thread = threading.Thread(target=locks._renew, args=(lock, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


def test_the_lock_file_says_who_holds_it(lock: Path) -> None:
    with artifacts.exclusive(lock) as before:
        record = json.loads(lock.read_text())
        assert before is None
        assert (record["host"], record["boot"], record["pid"]) == (*locks.machine()[:2], os.getpid())
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", record["started"])
        assert locks.held(lock) == locks.owner_of(lock)
        with (
            pytest.raises(UserError, match=rf"at work here \(process {os.getpid()} of "),
            artifacts.exclusive(lock),
        ):
            pass
    assert lock.read_text() == ""
    assert locks.held(lock) is None


def test_what_a_killed_process_left_is_taken_over_at_once(lock: Path, dead: int) -> None:
    killed = replace(locks.me(), pid=dead)
    lock.write_text(json.dumps(asdict(killed)))
    started = time.monotonic()
    with artifacts.exclusive(lock) as before:
        assert before == killed
    assert time.monotonic() - started < locks.WATCHED


@pytest.mark.usefixtures("beating")
@pytest.mark.parametrize("locks_work", [True, False])
def test_a_live_run_on_another_machine_is_left_alone(
    lock: Path, request: pytest.FixtureRequest, locks_work: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if not locks_work:
        request.getfixturevalue("without_flock")
    assert locks.held(lock) == ELSEWHERE
    refusal = pytest.raises(UserError, match=r"another run is at work here \(process 1 of login2")
    with refusal, artifacts.exclusive(lock):
        pass
    assert locks.owner_of(lock) == ELSEWHERE
    assert ("has no locks" in capsys.readouterr().err) == (not locks_work)


@pytest.mark.usefixtures("without_flock")
def test_without_locks_the_record_keeps_others_out(lock: Path, dead: int) -> None:
    with artifacts.exclusive(lock), pytest.raises(UserError, match="another run"), artifacts.exclusive(lock):
        pass
    assert lock.read_text() == ""
    lock.write_text(json.dumps(asdict(replace(locks.me(), pid=dead))))
    with artifacts.exclusive(lock) as before:
        assert before is not None
        assert before.pid == dead


def test_a_silent_run_of_another_machine_is_taken_over(
    lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock.write_text(json.dumps(asdict(ELSEWHERE)))
    with artifacts.exclusive(lock) as before:
        assert before == ELSEWHERE
    assert "process 1 of login2" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "nonsense", "[]", "{}", "null", '{"host": 1}'])
def test_a_record_that_says_nothing_holds_nobody_up(lock: Path, content: str) -> None:
    lock.write_text(content)
    with artifacts.exclusive(lock) as before:
        assert before is None


def test_a_lock_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"), artifacts.exclusive(tmp_path / "file/lock"):
        pass


def test_waiting_ends_with_the_other_process(lock: Path) -> None:
    code = (
        "import sys, time; from bridgepipe import artifacts\n"
        "with artifacts.exclusive(sys.argv[1]):\n print('held', flush=True); time.sleep(0.5)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match="another run"), artifacts.exclusive(lock):
            pass
        with artifacts.exclusive(lock, wait=True):
            assert other.wait(5) == 0


def test_refusals_name_the_file_that_the_system_named() -> None:
    e = OSError(errno.EACCES, "Permission denied", "/data/a.png")
    assert str(refused(e, "out", "read")).startswith("cannot read: Permission denied (/data/a.png): ")
