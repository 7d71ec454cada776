"""The form of an entry of a store: its key, its checksum, its part in the digest of the store.

A value takes whole pages of 4,096 bytes once it is longer than half of one, so small items of equal size
share values (format 3): alone, an image of 32x32 or 64x64 takes a third more than its bytes. How items lie in
a file is no part of the digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from xxhash import xxh3_64_digest

FORMAT = 3
CHECKSUM_BYTES = 8
SHARED_BYTES = 1 << 18  # of a value that several items share; beyond it, an item has its own
# By format, the key of an item and the first index that has none. In sorted order items come before the
# card, the names and the arrays.
KEYS = {1: (b"%08d", 10**8), 2: (b"%012d", 10**12), 3: (b"%012d", 10**12)}
CARD, NAMES, ARRAY = b"__card__", b"__names__", b"array/"


def key_of(index: int, form: int = FORMAT) -> bytes:
    """The key of the item with a global index, in a store of a format.

    Raises:
        ValueError: the index has more digits than keys have; longer keys would lose their order.
    """
    key, limit = KEYS[form]
    if not 0 <= index < limit:
        raise ValueError(f"item {index}: a store has keys for indices below {limit}")
    return key % index


def items_per_value(item_bytes: int | None) -> int:
    """How many items of equal size share a value; None: their sizes differ."""
    return 1 if item_bytes is None else max(1, SHARED_BYTES // max(1, item_bytes))


def layout(per_value: int) -> dict[str, int]:
    """What the card of a new store tells of its form; items that lie alone are in format 2, as ever."""
    return {"format": 2} if per_value == 1 else {"format": 3, "items_per_value": per_value}


def content(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card as a digest covers it: of formats from 2 on, whatever the layout, the same."""
    about = {key: value for key, value in card.items() if key not in ("digest", "items_per_value")}
    return about | {"format": min(card["format"], 2)}


def with_checksum(key: bytes, data: bytes) -> bytes:
    """Data as it lies in a value, with 8 bytes that depend on it and on the key."""
    return data + xxh3_64_digest(data, crc32(key))


def without_checksum(key: bytes, value: memoryview) -> memoryview:
    """The data of an entry.

    Raises:
        ValueError: the data, its checksum or the key is not what was written.
    """
    data = value[:-CHECKSUM_BYTES]
    if value[-CHECKSUM_BYTES:] != xxh3_64_digest(data, crc32(key)):
        raise ValueError("differs from its checksum")
    return data


def hash_entry(digest: hashlib._Hash, key: bytes, value: bytes | memoryview) -> None:
    """Take an entry into the digest of a store: all entries, by key, the card without its digest."""
    digest.update(b"%s %d " % (key, len(value)))
    digest.update(value)
