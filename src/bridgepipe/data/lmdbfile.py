"""Opening LMDB data files safely: no locks, no lock files, and no crash on a truncated or damaged file.

LMDB trusts the lengths and page numbers in its pages: one flipped bit there ends the process. So
`seal` writes, behind the pages of LMDB, the numbers of all pages that hold more than
one large value, and a checksum over them; `open_readonly` compares it before LMDB sees the file.
"""

from __future__ import annotations

import os
import struct
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb
import xxhash

from bridgepipe.errors import UserError, mend_missing

MAGIC = 0xBEEFC0DE
PAGE_BYTES = [1 << n for n in range(9, 17)]
META = slice(32, 152)  # what a transaction writes of its meta page
OVERFLOW = 0x04  # flag of the first page of a large value
SEAL = b"bridgepipe seal\n"
SEAL_BYTES = len(SEAL) + 16  # then the number of pages and the checksum
REMAKE = "if it was a store, copy or make it again; otherwise give one"

_opened: WeakValueDictionary[tuple[int, int], lmdb.Environment] = WeakValueDictionary()
_opening = threading.Lock()


def open_readonly(path: Path) -> lmdb.Environment:
    """The environment of a data file, without locks; one per process and file, as LMDB demands.

    A forked child goes on with the environment that it inherited: nothing but the mapping is used.

    Raises:
        UserError: no such file, no permission, truncated, or not LMDB.
    """
    try:
        size, whole = _size(path), whole_bytes(path)
    except OSError as e:
        raise UserError(f"cannot be read: {e.strerror or e}", path, "see that it is readable") from e
    if size < whole:
        # Reading pages behind the end of the file would kill the process.
        raise UserError(f"truncated: {size} bytes of {whole}", path, REMAKE)
    with _opening:
        stat = path.stat()
        env = _opened.get((stat.st_dev, stat.st_ino))
        if env is None:
            _check_seal(path, whole)
            try:
                env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, create=False)
            except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError) as e:
                raise UserError(f"damaged file: {e}", path, REMAKE) from e
            except (lmdb.Error, MemoryError) as e:  # the file may be sound
                mend = "see that it is readable, and that memory and `ulimit -v` leave room to map it"
                raise UserError(f"cannot be opened: {e}", path, mend) from e
            _opened[stat.st_dev, stat.st_ino] = env
    return env


def _size(path: Path) -> int:
    if not path.is_file():
        what = "not a file" if path.exists() else "no such file"
        raise UserError(what, path, mend_missing(path))
    return path.stat().st_size


def open_writable(path: Path, map_bytes: int) -> lmdb.Environment:
    """A file for one writer; with a map of 0 bytes, of the size that the file was last written with."""
    return lmdb.open(str(path), subdir=False, lock=False, sync=False, mode=0o644, map_size=map_bytes)


def whole_bytes(path: Path) -> int:
    """Size that the newest of LMDB's two meta pages promises."""
    last_page, _ = max(_metas(path), key=lambda meta: meta[1])
    return (last_page + 1) * page_bytes_of(path)


def transactions(path: Path) -> list[int]:
    """Number of the transaction that wrote each of the two meta pages; the greater one counts."""
    return [transaction for _, transaction in _metas(path)]


def _metas(path: Path) -> list[tuple[int, int]]:
    """The last page used, and the number of the transaction, of both meta pages.

    A meta page holds, from byte 16: magic, version, address, map size, a 48-byte record of the tree of free
    pages and one of that of items (the first begins with the page size, both end in the number of their
    root), the last page used and the number of the transaction.
    """
    page_bytes = page_bytes_of(path)
    with open(path, "rb") as f:
        metas = f.read(2 * page_bytes)
    if len(metas) < 2 * page_bytes:
        raise UserError(f"truncated: {len(metas)} bytes", path, REMAKE)
    return [struct.unpack_from("=QQ", metas, at + 136) for at in (0, page_bytes)]


def page_bytes_of(path: Path) -> int:
    """Bytes of a page of an LMDB file."""
    with open(path, "rb") as f:
        head = f.read(64).ljust(64, b"\0")
    magic, page_bytes = struct.unpack_from("=I20xI", head, 16)
    if magic != MAGIC or page_bytes not in PAGE_BYTES:
        mend = "give another file; if this is the right one, copy or make it again"
        raise UserError("not an image store or other LMDB file, or its beginning is lost", path, mend)
    return page_bytes


def seal(path: Path) -> None:
    """Append the seal to a complete data file, which nothing may change after that."""
    page_bytes = page_bytes_of(path)
    with open(path, "r+b") as f:
        pages = array("Q", _structure(f.fileno(), os.fstat(f.fileno()).st_size // page_bytes, page_bytes))
        checksum = _checksum(f.fileno(), pages, page_bytes)
        f.seek(0, os.SEEK_END)
        f.write(SEAL + struct.pack("=QQ", len(pages), checksum) + pages.tobytes())


def has_seal(path: Path) -> bool:
    """Whether `seal` was called on the file."""
    with open(path, "rb") as f:
        f.seek(whole_bytes(path))
        return f.read(len(SEAL)) == SEAL


def _structure(file: int, count: int, page_bytes: int) -> Iterator[int]:
    """Numbers of the pages that are not of a large value; each begins with its own number."""
    page = 0
    while page < count:
        number, flags, length = struct.unpack("=QxxHI", os.pread(file, 16, page * page_bytes))
        if page > 1 and number == page and flags == OVERFLOW and length:
            page += length
        else:
            yield page
            page += 1


def _checksum(file: int, pages: array[int], page_bytes: int) -> int:
    digest = xxhash.xxh3_64(pages.tobytes())
    for page in pages:
        digest.update(os.pread(file, page_bytes, page * page_bytes))
    return digest.intdigest()


def _check_seal(path: Path, whole: int) -> None:
    """Compare the seal of a file that has one.

    Raises:
        UserError: the seal or a page of the structure has changed, or the seal is cut short.
    """
    with open(path, "rb") as f:
        f.seek(whole)
        mark = f.read(SEAL_BYTES)
        if not mark.startswith(SEAL):
            return
        count, expected = struct.unpack_from("=QQ", mark.ljust(SEAL_BYTES, b"\0"), len(SEAL))
        numbers = f.read(8 * min(count, whole // PAGE_BYTES[0]))
        if len(mark) < SEAL_BYTES or len(numbers) != 8 * count:
            raise UserError("truncated: its end is missing", path, REMAKE)
        pages = array("Q", numbers)
        if _checksum(f.fileno(), pages, page_bytes_of(path)) != expected:
            raise UserError("damaged image store: its index differs from its checksum", path, REMAKE)
