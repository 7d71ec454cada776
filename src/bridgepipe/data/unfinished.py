"""Stores that a kill or a signal left unfinished, with which the same command goes on.

Beside an output lie the hidden files ``.NAME.partial``, the store so far, and ``.NAME.notes``, lines of
JSON: what the store is made from, shape and dtype of its items, what was left out, and a digest of the index
after every commit. How many items there are, the store itself tells. LMDB does not wait for the disk, so a
machine that went down may have kept a part of it only: what another boot or another machine left counts where
a signal left time to bring it to the disk.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.artifacts import Card, canonical
from bridgepipe.data.lmdbindex import Index
from bridgepipe.errors import writing
from bridgepipe.names import Json
from bridgepipe.runtime import locks
from bridgepipe.runtime.interruption import FINISHED_KEPT, Interrupted, at_once

LIBRARIES = ("pillow", "numpy", "lmdb", "xxhash")  # that decide pixels and the bytes of a store

_origin: ContextVar[Json | None] = ContextVar("origin", default=None)


@contextmanager
def resumable(origin: Mapping[str, Any]) -> Iterator[None]:
    """Stores of splits that are written in the block go on where a killed process was.

    The sources of datasets lie between this block and the writer. None of them has a use for the origin, so
    it is no argument that each would have to pass on.

    Args:
        origin: JSON values that items depend on and that the cards of the stores don't tell, such as a digest
            of the code that makes pixels.

    Raises:
        Interrupted: a signal came; what is finished is kept.
    """
    libraries = {name: version(name) for name in LIBRARIES}
    token = _origin.set({**origin, "libraries": libraries})
    try:
        with at_once(FINISHED_KEPT):
            yield
    finally:
        _origin.reset(token)


def origin() -> Json | None:
    """What items depend on in a block of `resumable`; None outside one."""
    return _origin.get()


class Notes:
    """What is known of an unfinished store beside its items.

    Attributes:
        kind: shape and dtype of its items; None before the first.
        left_out: reasons why items are not in the store, by their places in the source.
    """

    def __init__(self, output: Path, identity: Card) -> None:
        self._output, self._identity = output, json.loads(canonical(identity))
        self._partial, self._file = (
            output.with_name(f".{output.name}.{end}") for end in ("partial", "notes")
        )
        self.kind: list[Any] | None = None
        self.left_out: dict[int, str] = {}
        self._index = Index(self._partial)
        self._committed: list[Any] | None = None  # transaction of the last commit, digest of its index
        if self._partial.exists():
            self._load()

    def _load(self) -> None:
        lines = list(_lines(self._file))
        if not lines or lines[0].get("identity") != self._identity:
            self.give_up("was begun under other settings")
        elif [line["boot"] for line in lines if "boot" in line][-1:] not in ([None], [_boot()]):
            self.give_up("may not be whole on the disk")
        for line in lines if self._partial.exists() else ():
            self.kind = line.get("kind", self.kind)
            self.left_out |= {int(place): reason for place, reason in line.get("left out", {}).items()}
            self._committed = line.get("committed", self._committed)
        if self._committed is None:  # nothing is lost
            self._forget()

    def give_up(self, reason: str) -> None:
        """Take the unfinished store away, which makes the writing begin anew."""
        print(f"unfinished {self._output.name} {reason} and is given up", file=sys.stderr, flush=True)
        self._forget()

    def _forget(self) -> None:
        self._partial.unlink(missing_ok=True)
        artifacts.sync(self._output.parent)
        self.kind, self.left_out, self._committed = None, {}, None
        self._index = Index(self._partial)

    def check(self) -> None:
        """Compare the index of the store with that of the last commit; what came after is no longer in it.

        Raises:
            UserError, ValueError: another index, with which LMDB must not open the file.
        """
        assert self._committed is not None
        self._index.go_back_to(*self._committed)

    def begin(self, count: int) -> None:
        """Forget what was noted behind the items that the store has, which is looked at again."""
        place, known = count, self.left_out
        self.left_out = {}
        for left_out in sorted(known):
            if left_out > place:
                break
            self.left_out[left_out] = known[left_out]
            place += 1
        lines = [{"identity": self._identity}, {"boot": _boot()}, {"kind": self.kind}]
        lines += [{"committed": self._committed}] if self._committed else []
        lines += [{"left out": {str(k): reason}} for k, reason in self.left_out.items()]
        artifacts.write_text(self._file, "".join(canonical(line) + "\n" for line in lines))

    def of_kind(self, shape: list[int], dtype: str) -> None:
        """Note what the first item is."""
        self.kind = [shape, dtype]
        self._note({"kind": self.kind})

    def committed(self) -> None:
        """Note what a commit left; a kill before that costs this commit."""
        self._committed = list(self._index.newest())
        self._note({"committed": self._committed})

    def leave_out(self, place: int, reason: str) -> None:
        """Note an item before any that comes behind it is in the store."""
        self.left_out[place] = reason
        self._note({"left out": {str(place): reason}})

    def _note(self, line: Json) -> None:
        with writing(self._file), open(self._file, "a", encoding="utf8") as file:
            file.write(canonical(line) + "\n")

    def on_disk(self) -> None:
        """Bring the store to the disk, so that any machine can go on with it."""
        if self._partial.exists():
            artifacts.sync(self._partial)
            self._note({"boot": None})
            artifacts.sync(self._file)

    def end(self) -> None:
        self._file.unlink(missing_ok=True)


@contextmanager
def noted(output: Path, identity: Card) -> Iterator[Notes]:
    """The notes of a store, which one process at a time writes: the orphan of a killed run is waited for.

    They outlive the block when a signal ends it; any other error is no reason to go on.
    """
    with artifacts.exclusive(output.with_name(f".{output.name}.lock"), wait=True, keep=False):
        notes = Notes(output, identity)
        try:
            yield notes
        except Interrupted:
            notes.on_disk()
            raise
        except BaseException:
            notes.end()
            raise
        notes.end()


def _boot() -> list[str]:
    return list(locks.machine()[:2])


def _lines(file: Path) -> Iterator[Json]:
    """The lines of notes, up to one that a kill cut short."""
    if file.exists():
        for line in file.read_text(encoding="utf8", errors="replace").splitlines(keepends=True):
            try:
                yield json.loads(line)
            except ValueError:
                return
