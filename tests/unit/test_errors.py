"""Running out of memory is told apart from bad input, wherever it comes from."""

from __future__ import annotations

import functools
import json
import mmap
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch

from bridgepipe import artifacts, cli
from bridgepipe.data.store import writer
from bridgepipe.errors import UserError, is_out_of_memory

ENOUGH = 2**30  # bytes of address space beyond what the tests already hold


@contextmanager
def little_memory() -> Iterator[None]:
    """Only `ENOUGH` more address space for this process."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (held + ENOUGH, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def large_weights(path: Path) -> Path:
    """A sound safetensors file of 8 GiB that takes no room on the disk."""
    size = 2**33
    header = {
        "__metadata__": {artifacts.CARD: "{}"},
        "w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + size)
    return path


def large_mapping(path: Path) -> None:
    path.write_bytes(b"x")
    os.truncate(path, 2**33)
    with open(path, "rb") as f:
        mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)


ALLOCATIONS: dict[str, Callable[[Path], object]] = {
    "torch": lambda _: torch.empty(2**40),
    "numpy": lambda _: np.empty(2**40),
    "mapping": large_mapping,
    "lmdb": lambda file: lmdb.open(str(file), subdir=False, map_size=2**33),
}


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_every_allocator_is_understood(tmp_path: Path, name: str) -> None:
    with little_memory(), pytest.raises(Exception) as raised:
        ALLOCATIONS[name](tmp_path / "file")
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize("error", [ValueError("out of memory"), OSError(28, "No space left"), KeyError("x")])
def test_other_errors_are_not_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_memory_is_seen_behind_what_a_reader_made_of_it() -> None:
    with pytest.raises(UserError) as raised:
        try:
            raise lmdb.MemoryError("cannot map")
        except lmdb.Error as e:
            raise UserError("damaged file", "x", "delete it") from e
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize("verb", ["verify", "info"])
def test_a_sound_file_is_never_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    if verb == "verify":
        file = large_weights(tmp_path / "w.safetensors")
        command = ["verify", str(file), "--seen", str(tmp_path / "seen.json"), "--delete"]
        monkeypatch.setattr(artifacts, "digest_file", lambda _: "0")
    else:
        file = tmp_path / "a.lmdb"
        with writer(file, {}) as out:
            out.put(np.zeros((8, 8, 3), np.uint8))
        monkeypatch.setattr(lmdb, "open", functools.partial(lmdb.open, map_size=2**33))
        command = ["store", "info", str(file)]
    monkeypatch.setattr(sys, "argv", ["bridgepipe", *command])
    with little_memory(), pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "out of memory" in said
    assert "damaged" not in said
    assert len(said.splitlines()) == 1
    assert file.exists()
