"""Everything below a folder, to be compared with itself later."""

from __future__ import annotations

from pathlib import Path

Tree = dict[str, tuple[bool, int, int]]


def tree(folder: Path) -> Tree:
    """Whether it is a folder, size and time of all that is in a folder, hidden or not, and of itself."""
    found = {path: path.lstat() for path in (folder, *folder.rglob("*"))}
    return {str(path): (path.is_dir(), at.st_size, at.st_mtime_ns) for path, at in found.items()}
