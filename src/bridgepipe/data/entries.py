"""The form of an entry of a store: its key, its checksum, its part in the digest of the store."""

from __future__ import annotations

import hashlib
from zlib import crc32

from xxhash import xxh3_64_digest

FORMAT = 2
CHECKSUM_BYTES = 8
# By format, the key of an item and the first index that has none. In sorted order items come before the
# card, the names and the arrays.
KEYS = {1: (b"%08d", 10**8), 2: (b"%012d", 10**12)}
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


def with_checksum(key: bytes, data: bytes) -> bytes:
    """The value of an entry: its data and 8 bytes that depend on the data and on the key."""
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


def hash_entry(digest: hashlib._Hash, key: bytes, value: bytes) -> None:
    """Take an entry into the digest of a store: all entries, by key, the card without its digest."""
    digest.update(b"%s %d " % (key, len(value)))
    digest.update(value)
