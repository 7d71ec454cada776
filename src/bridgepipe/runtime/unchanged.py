"""What is looked at again and again is read again only where it has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
SETTLED = 1_000_000_000  # ns: what changed just now may change again within one tick of the clock of files


def once_a_change(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """``read`` of a file or folder that does its work again only once time, size or place has changed.

    A folder changes when something in it is made, renamed or removed: with all that is written atomically.
    """
    known: dict[Path, tuple[tuple[int, ...], T]] = {}

    @wraps(read)
    def again(path: Path) -> T:
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
        if path in known and known[path][0] == stamp:
            return known[path][1]
        value = read(path)
        if time.time_ns() - found.st_mtime_ns > SETTLED:
            known[path] = stamp, value
        return value

    return again


@once_a_change
def _folders_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False))


def folders(root: Path, name: str) -> Iterator[Path]:
    """Folders of a name below a root, in the order of their paths; none where there is no root."""
    try:
        inside = _folders_in(root)
    except OSError:  # not there, or removed meanwhile
        return
    for folder in inside:
        if folder.name == name:
            yield folder
        yield from folders(folder, name)
