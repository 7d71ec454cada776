"""Reading LMDB data files safely: no locks, no lock files, and no crash on a truncated file."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from bridgepipe.errors import UserError

MAGIC = 0xBEEFC0DE
PAGE_BYTES = [1 << n for n in range(9, 17)]
REMAKE = "delete it, then copy or make it again"

_opened: WeakValueDictionary[tuple[int, int], lmdb.Environment] = WeakValueDictionary()
_opening = threading.Lock()


def open_readonly(path: Path) -> lmdb.Environment:
    """The environment of a data file, without locks; one per process and file, as LMDB demands.

    A forked child goes on with the environment that it inherited: nothing but the mapping is used.

    Raises:
        UserError: no such file, truncated, or not LMDB.
    """
    size, whole = _size(path), whole_bytes(path)
    if size < whole:
        # Reading pages behind the end of the file would kill the process.
        raise UserError(f"truncated: {size} bytes of {whole}", path, REMAKE)
    with _opening:
        stat = path.stat()
        env = _opened.get((stat.st_dev, stat.st_ino))
        if env is None:
            try:
                env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, create=False)
            except lmdb.Error as e:
                raise UserError(f"damaged file: {e}", path, REMAKE) from e
            _opened[stat.st_dev, stat.st_ino] = env
    return env


def _size(path: Path) -> int:
    if not path.is_file():
        raise UserError("no such file", path, "make it first, or give another path")
    return path.stat().st_size


def whole_bytes(path: Path) -> int:
    """Size that the newest of LMDB's two meta pages promises.

    A meta page holds, from byte 16: magic, version, address, map size, two 48-byte records (the
    first begins with the page size), the last page used and the number of the transaction.
    """
    with open(path, "rb") as f:
        head = f.read(64).ljust(64, b"\0")
        magic, page_bytes = struct.unpack_from("=I20xI", head, 16)
        if magic != MAGIC or page_bytes not in PAGE_BYTES:
            raise UserError("not an image store, or its beginning is lost", path, REMAKE)
        f.seek(0)
        metas = f.read(2 * page_bytes)
    if len(metas) < 2 * page_bytes:
        raise UserError(f"truncated: {len(metas)} bytes", path, REMAKE)
    pages = [struct.unpack_from("=QQ", metas, at + 136) for at in (0, page_bytes)]
    last_page, _ = max(pages, key=lambda page: page[1])
    return (last_page + 1) * page_bytes
