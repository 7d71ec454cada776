"""A folder of files, or a zip archive of the same files, read alike."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridgepipe.datasets.imagenet import load_plain
from bridgepipe.datasets.images import Size
from bridgepipe.errors import UserError


@dataclass(frozen=True)
class Files:
    """What lies below a folder or in an archive.

    Attributes:
        where: the folder or the archive.
        sizes: bytes of every file by its relative name, sorted; hidden ones are left out.
        read: the content of a file by its name; threads may share it.
    """

    where: Path
    sizes: Mapping[str, int]
    read: Callable[[str], bytes]


@contextmanager
def open_files(path: Path, get: str) -> Iterator[Files]:
    """The files of a folder or of a zip archive, which stays open for the block.

    Args:
        get: says how to get the source when there is nothing.

    Raises:
        UserError: nothing there, or a file that is no whole zip archive.
    """
    if path.is_dir():
        yield Files(path, _below(path), lambda name: (path / name).read_bytes())
    elif not path.exists():
        raise UserError("no such folder or archive", path, get)
    else:
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as e:
            raise UserError(f"not a zip archive, or cut short: {e}", path, get) from e
        with archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}
            yield Files(
                path, {name: sizes[name] for name in sorted(sizes) if not _hidden(name)}, archive.read
            )


def load(files: Files, name: str, size: Size, crop: str) -> tuple[np.ndarray, ...]:
    """One of the images as the published loaders read it, uint8 ``[H, W, 3]``."""
    return load_plain(files.read(name), size, crop)


def _below(root: Path) -> dict[str, int]:
    sizes = {}
    for folder, inner, files in os.walk(root, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for file in files:
            sizes[(Path(folder) / file).relative_to(root).as_posix()] = (Path(folder) / file).stat().st_size
    return {name: sizes[name] for name in sorted(sizes) if not _hidden(name)}


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
