"""What a killed process has committed to a store: checked, cut to its last commit, and counted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb

from bridgepipe.data.codecs import Codec, item_bytes
from bridgepipe.data.entries import CARD, CHECKSUM_BYTES, hash_entry, key_of, without_checksum
from bridgepipe.data.lmdbfile import open_writable, whole_bytes
from bridgepipe.data.unfinished import Notes
from bridgepipe.errors import UserError

FREE_BYTES = 1 << 16  # at the end of a file: pages that LMDB counts and need not have written


@dataclass
class Begun:
    """The items that a store has when its writing begins, or goes on.

    Attributes:
        count: number of them.
        digest: SHA-256 of their entries.
        kind: shape and dtype of each; None where there are none.
        map_bytes: size of LMDB's map at the last commit; 0: there was none.
        complete: card, names and arrays are there, too.
    """

    count: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    kind: Sequence[Any] | None = None
    map_bytes: int = 0
    complete: bool = False


def take_up(path: Path, notes: Notes, codec: Codec, first: int) -> Begun:
    """What an unfinished store has; nothing where there is none, or a damaged one, which is given up.

    Args:
        first: global index of its first item.
    """
    begun = Begun()
    if path.exists():
        try:
            begun = _read(path, notes, codec, first)
        except (UserError, ValueError, lmdb.Error):
            notes.give_up("is damaged")
    notes.begin(begun.count)
    return begun


def _read(path: Path, notes: Notes, codec: Codec, first: int) -> Begun:
    """Take the items into the digest.

    Raises:
        UserError, ValueError, lmdb.Error: damaged.
    """
    notes.check()  # before LMDB opens the file, whose index it trusts
    _cut(path)
    shape, dtype = notes.kind or (None, None)
    size = item_bytes(codec, shape, dtype)
    with open_writable(path, 0) as env, env.begin(buffers=True) as txn:
        begun = Begun(kind=notes.kind, map_bytes=env.info()["map_size"])
        for key, value in txn.cursor():
            if bytes(key) >= CARD:
                begun.complete = True
                break
            _count(begun, first, bytes(key), value, len(value) if size is None else size + CHECKSUM_BYTES)
    return begun


def _count(begun: Begun, first: int, key: bytes, value: memoryview, item: int) -> None:
    """Take the items of a value, which have so many bytes each."""
    if key != key_of(first + begun.count) or not value or len(value) % item:
        raise ValueError("an entry is missing")
    for start in range(0, len(value), item):
        key = key_of(first + begun.count)
        hash_entry(begun.digest, key, without_checksum(key, value[start : start + item]))
        begun.count += 1


def _cut(path: Path) -> None:
    """Cut off what was written without being committed.

    Raises:
        ValueError: truncated.
    """
    size, whole = path.stat().st_size, whole_bytes(path)
    if whole - size > FREE_BYTES:
        raise ValueError("truncated")
    os.truncate(path, whole)
