"""Finished batches of work that is not yet whole, kept beside its output until that is written.

A hidden file ``.NAME.partial`` grows by a record per batch. Workflow engines don't know of it, so they
don't delete it with the output of a failed job. Half a record, or a damaged one, ends the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bridgepipe import artifacts
from bridgepipe.errors import writing
from bridgepipe.names import Json
from bridgepipe.runtime import batches, running, source
from bridgepipe.runtime.interruption import FINISHED_KEPT, at_once

Part = np.ndarray | Tensor | int
SYNC_SECONDS = 5  # between two fsyncs: what a power cut may cost; a killed process loses nothing

# what the bytes of a result depend on besides settings, models and data
SPEED = ("device", "precision", "compile", "channels_last")


class _Record(NamedTuple):
    start: int
    bytes: int
    rows: int


class Finished:
    """Batches in the order in which they were finished, by the work that they belong to.

    Works begin in the same order at every call of a verb: of one label they are told apart by number.

    A batch is an array, a tensor or a tuple of them, with a row per item; numbers may be among them.
    On other processes than the main one it is empty and keeps nothing.
    """

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._records: dict[str, list[_Record]] = {}
        self._begun: Counter[str] = Counter()
        self._synced = time.monotonic()

    def begin(self, label: str) -> str:
        """Name of the work of this label that begins now."""
        self._begun[label] += 1
        return f"{label}, {self._begun[label]}"

    def rows(self, work: str) -> int:
        """How many items of some work are finished."""
        return sum(record.rows for record in self._records.get(work, ()))

    def batches(self, work: str) -> Iterator[Any]:
        """The finished batches of some work."""
        for record in self._records.get(work, ()):
            assert self._file is not None
            self._file.seek(record.start)
            yield _decoded(self._file.read(record.bytes))

    def add(self, work: str, batch: Any) -> None:
        """Keep a batch."""
        if self._file is None:
            return
        data = _encoded(batch)
        head = {"work": work, "rows": batches.count(batch), "bytes": len(data), "sha256": _sha256(data)}
        self._append(artifacts.canonical(head).encode() + b"\n" + data)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        with writing(self._file.name):
            self._file.write(data)
            self._file.flush()

    def load(self, identity: Mapping[str, Any]) -> None:
        """Take up the records of a file of the same identity; begin it anew when it has another one."""
        assert self._file is not None
        self._file.seek(0)
        line = _line(self._file)
        if line.get("identity") != json.loads(artifacts.canonical(identity)):
            if line:
                print("unfinished results under other settings are given up", file=sys.stderr, flush=True)
            self._file.truncate(0)
            self._append(artifacts.canonical({"identity": identity}).encode() + b"\n")
            return
        whole = self._file.tell()
        while head := _line(self._file):
            start = self._file.tell()
            data = self._file.read(head.get("bytes", 0))
            if _sha256(data) != head.get("sha256"):
                break
            self._records.setdefault(head["work"], []).append(_Record(start, len(data), head["rows"]))
            whole = self._file.tell()
        self._file.truncate(whole)


@contextmanager
def resumable(output: Path, identity: Mapping[str, Any], speed: Any = None) -> Iterator[Finished]:
    """Batches of `running.shared` are kept beside ``output`` until the block ends without an error.

    One process at a time works on an output: an orphan of a killed run is waited for. In the block a
    signal to stop gives up the batch at hand.

    Args:
        output: what the work makes.
        identity: JSON values that batches depend on: settings, digests of models and data, part.
        speed: the runtime settings, of which some move a last bit.

    Raises:
        Interrupted: a signal came.
    """
    if not running.is_main():
        with at_once(FINISHED_KEPT), running.keeping(finished := Finished(None)):
            yield finished
        return
    path, lock = (output.with_name(f".{output.name}.{end}") for end in ("partial", "lock"))
    with at_once(FINISHED_KEPT), artifacts.exclusive(lock, wait=True):
        with writing(path):
            file = open(path, "a+b")  # noqa: SIM115  # closed below
        with file:
            finished = Finished(file)
            finished.load({**identity, **bits(speed)})
            with running.keeping(finished):
                yield finished
        path.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)


def bits(speed: Any) -> Json:
    """What else decides the last bits of a result: libraries, code and runtime settings."""
    of_speed = {} if speed is None else {name: getattr(speed, name) for name in SPEED}
    unit = {} if speed is None else {"unit": batches.unit(speed.batch_size)}
    return {"torch": torch.__version__, "code": source.source_digest(*CODE), **of_speed, **unit}


# a batch of other code is not continued
CODE = (
    "samplers",
    "methods",
    "networks",
    "processes",
    "corruptions",
    "evaluation",
    "stages",
    "data.pixels",
    "runtime.batches",
    "runtime.devices",
    "runtime.rng",
    "runtime.running",
)


def _line(file: IO[bytes]) -> Json:
    """The next line as JSON; {} when there is none, or not a whole one."""
    line = file.readline()
    if not line.endswith(b"\n"):
        return {}
    try:
        return json.loads(line)
    except ValueError:
        return {}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _encoded(batch: Part | Sequence[Part]) -> bytes:
    parts = batch if isinstance(batch, tuple) else (batch,)
    file = io.BytesIO()
    kinds = ["tensor" if isinstance(p, Tensor) else "int" if isinstance(p, int) else "array" for p in parts]
    file.write(artifacts.canonical({"tuple": isinstance(batch, tuple), "kinds": kinds}).encode() + b"\n")
    for part in parts:
        array = part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part)
        np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _decoded(data: bytes) -> Any:
    file = io.BytesIO(data)
    head = _line(file)
    parts: list[Part] = []
    for kind in head["kinds"]:
        array = np.load(file, allow_pickle=False)
        parts.append(torch.from_numpy(array) if kind == "tensor" else int(array) if kind == "int" else array)
    return tuple(parts) if head["tuple"] else parts[0]
