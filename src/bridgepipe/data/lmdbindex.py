"""A digest of what LMDB trusts in a file that is still written, so that a changed bit ends no process.

It covers a meta page and all pages of the index that this leads to. LMDB changes none of them in place: a
transaction writes new pages, and its meta page over that of the last but one. So what the last transaction
left can be checked, and made the newest again, also after a kill in the middle of the next.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import xxhash

from bridgepipe.data.lmdbfile import META, page_bytes_of, transactions

NO_PAGE = 2**64 - 1  # root of an empty tree
BRANCH = 0x01  # flag of a page that leads to other pages
HEAD_BYTES = 16  # of a page
DEEPEST = 32  # levels that LMDB goes down


class Index:
    """The index of a file that one writer fills, by keys in sorted order.

    Then pages change at the right edge of the tree only: what lies left of it is read and hashed once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._settled: dict[int, bytes] = {}  # digests of the trees below pages that won't change

    def newest(self) -> tuple[int, str]:
        """Number of the newest transaction, and the digest of what it left."""
        number = max(transactions(self._path))
        return number, self._digest(number)

    def go_back_to(self, number: int, digest: str) -> None:
        """Make a transaction the newest, after a look whether what it left is as it was.

        Raises:
            UserError: no LMDB file.
            ValueError: what it left differs, or was written over.
        """
        found = transactions(self._path)
        if found[number % 2] != number or self._digest(number) != digest:
            raise ValueError("its index differs from its digest")
        if found[1 - number % 2] > number:
            size = page_bytes_of(self._path)
            with open(self._path, "r+b") as f:
                meta = os.pread(f.fileno(), META.stop - META.start, number % 2 * size + META.start)
                os.pwrite(f.fileno(), meta, (1 - number % 2) * size + META.start)

    def _digest(self, number: int) -> str:
        size = page_bytes_of(self._path)
        with open(self._path, "rb") as f:
            meta = os.pread(f.fileno(), META.stop, number % 2 * size)
            free, items = struct.unpack_from("=Q40xQ", meta, 80)
            pages = _Pages(f.fileno(), size)
            digest = xxhash.xxh3_128(meta[META])
            # the list of free pages changes at both of its ends
            digest.update(pages.digest(free, {}) + pages.digest(items, self._settled))
        return digest.hexdigest()


class _Pages:
    """Trees of pages of an open file."""

    def __init__(self, file: int, size: int) -> None:
        self._file, self._size = file, size

    def digest(self, page: int, settled: dict[int, bytes], edge: bool = True, level: int = 0) -> bytes:
        """Digest of the tree below a page, at the right edge or left of it.

        Raises:
            ValueError: no tree.
        """
        if page == NO_PAGE or (not edge and page in settled):
            return settled.get(page, b"")
        if level > DEEPEST:
            raise ValueError("its index leads in circles")
        data = os.pread(self._file, self._size, page * self._size) if page < 2**48 else b""
        digest, below = xxhash.xxh3_128(data), _below(data)
        for place, child in enumerate(below, 1):
            digest.update(self.digest(child, settled, edge and place == len(below), level + 1))
        if not edge:
            for child in below:
                settled.pop(child, None)
            settled[page] = digest.digest()
        return digest.digest()


def _below(data: bytes) -> list[int]:
    """Numbers of the pages that a page of a branch leads to, in the order of their keys."""
    try:
        flags, end = struct.unpack_from("=10xHH", data)
        if not flags & BRANCH:
            return []
        places = struct.unpack_from(f"={max(0, end - HEAD_BYTES) // 2}H", data, HEAD_BYTES)
        parts = [struct.unpack_from("=HHH", data, place) for place in places]
    except struct.error as e:
        raise ValueError("a page of its index is cut short") from e
    return [low | middle << 16 | high << 32 for low, middle, high in parts]
