"""Stores of splits whose preparation is killed or stopped, and goes on to the bytes of an undisturbed one."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from bridgepipe import artifacts, datasets
from bridgepipe.data import store, storewriter, unfinished
from bridgepipe.data.lmdbfile import open_writable
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import items
from bridgepipe.errors import UserError
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.runtime.progress import Progress

SIDE = 40
WHOLE: dict[str, float] = {"train": 0.8, "val": 0.2}
KINDS: dict[str, dict[str, Any]] = {
    "raw": {},
    "png": {"codec": "png"},
    "source": {"codec": "source"},
    "patches": {"patches": {"size": 16}},
}


@pytest.fixture(autouse=True)
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits of a few items, values of two, and a map that has to grow."""
    monkeypatch.setattr(storewriter, "COMMIT_BYTES", 12_000)
    monkeypatch.setattr(storewriter, "FIRST_MAP_BYTES", 1 << 15)
    monkeypatch.setattr("bridgepipe.data.entries.SHARED_BYTES", 10_000)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # what is killed loses nothing


def fill(root: Path, number: int = 24) -> Path:
    """Pictures of two classes in all sizes of files; two of them are bad."""
    for i in range(number):
        pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        file = root / ("cats", "dogs")[i % 2] / f"{i:02d}.{('png', 'jpg')[i % 3 == 0]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        if i in (5, 14):
            file.write_bytes(b"this is not an image")
    return root


def prepare(
    out: Path, source: str = "folder", origin: str = "", progress: bool = False, **arguments: Any
) -> None:
    arguments = {"size": SIDE, "skip_bad": True, "fractions": WHOLE, **arguments}
    if "patches" in arguments:
        del arguments["size"]
    with unfinished.resumable({"source": origin}):
        datasets.prepare(source, out, progress=progress, **arguments)


def contents(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in out.iterdir()}


def died(at: int, work: Callable[[], None], *also: tuple[Any, str]) -> bool:
    """Whether a process of its own was killed at its step number ``at``, of those that change files."""
    if (child := os.fork()) == 0:
        numbers = count(1)

        def step() -> None:
            if next(numbers) == at:
                os.kill(os.getpid(), signal.SIGKILL)

        def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*given: Any, **named: Any) -> Any:
                step()
                result = call(*given, **named)
                step()
                return result

            return called

        steps = [
            (os, "replace"),
            (os, "fsync"),
            (os, "truncate"),
            (storewriter.Writer, "_commit"),
            (storewriter, "seal"),
            (unfinished.Notes, "begin"),
            (unfinished.Notes, "committed"),
            (unfinished.Notes, "end"),
            *also,
        ]
        artifacts._sweep.cache_clear()
        try:
            for owner, name in steps:
                mock.patch.object(owner, name, deadly(getattr(owner, name))).start()
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_kills_it_the_bytes_are_those_of_an_undisturbed_run(tmp_path: Path, kind: str) -> None:
    """Killed at every step once (of raw; else at every fifth), and gone on with; one more is killed again
    and again, further each time."""
    root = fill(tmp_path / "in")
    prepare(tmp_path / "whole", path=root, **KINDS[kind])
    whole, at = contents(tmp_path / "whole"), 1
    assert whole.keys() == {"train.lmdb", "val.lmdb"}
    assert ImageStore(tmp_path / "whole/train.lmdb").card["made_by"]["skipped"]

    def often() -> None:
        prepare(tmp_path / "often", path=root, **KINDS[kind])

    def once() -> None:
        prepare(tmp_path / f"{at}", path=root, **KINDS[kind])

    while died(at, once):
        once()
        assert contents(tmp_path / f"{at}") == whole, at
        died(at, often)
        at += 1 if kind == "raw" else 5
    assert at > 30
    often()
    assert contents(tmp_path / "often") == whole


def test_both_stores_of_pairs_go_on_from_where_each_was(tmp_path: Path) -> None:
    for side in "AB":
        fill(tmp_path / "in" / side)
    flat = Image.fromarray(np.zeros((SIDE, SIDE, 3), np.uint8))
    for file in (tmp_path / "in/A/cats").iterdir():
        flat.save(file)  # sources that take far fewer bytes than their targets
    given: dict[str, Any] = {"source": "pairs", "path": tmp_path / "in", "layout": "folders", "codec": "png"}
    prepare(tmp_path / "whole", **given)
    whole, at = contents(tmp_path / "whole"), 1

    def once() -> None:
        prepare(tmp_path / f"{at}", **given)

    apart = False
    while died(at, once, (unfinished.Notes, "leave_out")):
        committed = [len_of(tmp_path / f"{at}/.train{end}.lmdb.partial") for end in ("", "-source")]
        apart |= committed[0] != committed[1]
        once()
        assert contents(tmp_path / f"{at}") == whole, at
        at += 5
    assert apart


def len_of(partial: Path) -> int:
    """Entries that a killed process has committed."""
    if not partial.exists() or not partial.stat().st_size:
        return 0
    with open_writable(partial, 0) as env:
        return env.stat()["entries"]


def stop_after(number: int, work: Callable[[], None]) -> None:
    """Stop some work as Slurm's warning does, when so many images are done."""
    done = 0

    def after(self: Progress, images: int) -> None:
        nonlocal done
        told(self, images)
        done += 1
        if done == number:
            os.kill(os.getpid(), signal.SIGUSR1)

    told = Progress.after
    with mock.patch.object(Progress, "after", after), pytest.raises(Interrupted, match="images are kept"):
        work()


class Stopped:
    """A preparation that was stopped after 12 of 20 images.

    Attributes:
        whole: what an undisturbed one writes.
        out: folder of the stopped one.
    """

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.out, self.loaded = fill(tmp_path / "in"), tmp_path / "out", 0
        self.given: dict[str, Any] = {"path": self.root, "fractions": {"train": 1.0}}
        prepare(tmp_path / "whole", **self.given)
        self.whole = contents(tmp_path / "whole")
        stop_after(12, self.run)
        load = items._load

        def counted(item: items.Item) -> Any:
            self.loaded += 1
            return load(item)

        monkeypatch.setattr(items, "_load", counted)

    def run(self, **more: Any) -> None:
        prepare(self.out, **{**self.given, **more})


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stopped:
    return Stopped(tmp_path, monkeypatch)


def test_only_what_is_left_is_loaded_and_the_bar_says_so(
    stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {file.name for file in stopped.out.iterdir()} == {".train.lmdb.partial", ".train.lmdb.notes"}
    stopped.run(progress=True)
    assert stopped.loaded < 24 - 6
    assert "found 8 of 24 images finished" in capsys.readouterr().err
    assert contents(stopped.out) == stopped.whole


@pytest.mark.parametrize("change", ["setting", "listing", "origin", "codec"])
def test_what_was_begun_under_other_settings_is_given_up(
    stopped: Stopped, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    if change == "listing":
        (stopped.root / "cats/99.png").write_bytes((stopped.root / "dogs/01.png").read_bytes())
    changes: dict[str, dict[str, Any]] = {
        "setting": {"crop": "stretch"},
        "codec": {"codec": "png"},
        "origin": {"origin": "b"},
    }
    more = changes.get(change, {})
    stopped.run(**more)
    assert capsys.readouterr().err == "unfinished train.lmdb was begun under other settings and is given up\n"
    assert stopped.loaded == 24 + (change == "listing")
    prepare(tmp_path / "anew", **stopped.given, **more)
    assert contents(stopped.out) == contents(tmp_path / "anew")


def test_what_was_not_committed_yet_is_cut_off(stopped: Stopped, capsys: pytest.CaptureFixture[str]) -> None:
    with open(stopped.out / ".train.lmdb.partial", "ab") as file:
        file.write(np.random.default_rng(0).bytes(100_000))
    with open(stopped.out / ".train.lmdb.notes", "a") as file:
        file.write('{"left out": {"2')
    stopped.run()
    assert capsys.readouterr().err == ""
    assert stopped.loaded < 24
    assert contents(stopped.out) == stopped.whole


@pytest.mark.parametrize("damage", ["item", "cut", "beginning", "empty", "index"])
def test_a_damaged_store_is_given_up(
    stopped: Stopped, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    file = stopped.out / ".train.lmdb.partial"
    data = bytearray(file.read_bytes())
    if damage == "item":
        first = ImageStore(stopped.out.parent / "whole/train.lmdb").encoded(0)
        data[data.index(first) + 100] ^= 1
    elif damage == "beginning":
        data[:100] = bytes(100)
    elif (
        damage == "index"
    ):  # told by its digest alone: of a file that is damaged so, LMDB could end the process
        notes = file.with_suffix(".notes")
        *before, last = [line for line in notes.read_text().splitlines() if "committed" in line]
        notes.write_text(notes.read_text().replace(last, before[-1].replace("[", f"[{10**6}")))
    file.write_bytes(data[: {"cut": len(data) // 3, "empty": 0}.get(damage)])
    stopped.run()
    assert capsys.readouterr().err == "unfinished train.lmdb is damaged and is given up\n"
    assert stopped.loaded == 24
    assert contents(stopped.out) == stopped.whole


def test_another_boot_goes_on_only_with_what_a_signal_left(
    stopped: Stopped, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "_boot", lambda: ["node", "another"])
    assert died(9, stopped.run)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(unfinished, "_boot", lambda: ["node", "third"])
    stopped.run()
    assert capsys.readouterr().err == "unfinished train.lmdb may not be whole on the disk and is given up\n"
    assert contents(stopped.out) == stopped.whole


def test_errors_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot use 2 images"):
        prepare(tmp_path / "out", path=fill(tmp_path / "in"), skip_bad=False)
    assert not list((tmp_path / "out").iterdir())


def test_an_image_that_changed_from_bad_to_good_between_pairs_is_an_error(tmp_path: Path) -> None:
    """One store is beyond it, the other is not: going on would pair it with another image."""
    bad = [True]

    def load(place: int) -> items.Arrays:
        if place == 3 and bad[0]:
            raise ValueError("no memory")
        return tuple(np.full(shape, place, np.uint8) for shape in ((64, 64, 3), (2, 2, 3)))

    def run() -> None:
        listed = [items.Item(str(k), partial(load, k)) for k in range(12)]
        with unfinished.resumable({}):
            items.write_splits(
                tmp_path, {"train": listed}, {}, skip_bad=True, suffixes=("", "-source"), progress=False
            )

    stop_after(20, run)
    bad[0] = False
    with pytest.raises(UserError, match="no longer what it was"):
        run()
    assert not list(tmp_path.iterdir())
    run()
    assert len(ImageStore(tmp_path / "train.lmdb")) == 12


def test_stores_of_other_verbs_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(Interrupted), unfinished.resumable({}), store.writer(tmp_path / "a.lmdb", {}) as w:
        w.put(np.zeros((4, 4, 3), np.uint8))
        raise Interrupted
    assert not list(tmp_path.iterdir())
