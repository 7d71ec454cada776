"""A folder of files, or a zip archive of the same files, read alike."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridgepipe.data.listing import hidden, walk
from bridgepipe.datasets.imagenet import load_plain
from bridgepipe.datasets.images import Loaded, Size
from bridgepipe.errors import UserError

MEMBER_BYTES = 512 << 20  # of one picture or annotation, beyond all that are published


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
    """The files of a folder or of a zip archive, which stays open for the block; nothing is unpacked.

    Args:
        get: says how to get the source when there is nothing.

    Raises:
        UserError: nothing there, a folder that cannot be read, a file that is no whole zip archive,
            or one whose members are not plain files with places inside it.
    """
    if path.is_dir():
        tree = walk(path)
        sizes = {name: status.st_size for name, status in tree.files.items()} | dict.fromkeys(
            tree.dangling, 0
        )
        yield Files(path, dict(sorted(sizes.items())), lambda name: (path / name).read_bytes())
    elif not path.is_file():
        raise UserError("no such folder or archive", path, get)
    else:
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
            raise UserError(f"not a zip archive, or cut short: {e}", path, get) from e
        with archive:
            yield Files(path, _members(archive, path, get), archive.read)


def _members(archive: zipfile.ZipFile, path: Path, get: str) -> dict[str, int]:
    """Sizes of the visible files of an archive by their names, sorted."""
    sizes: dict[str, int] = {}
    for member in archive.infolist():
        name = member.filename
        if unsafe_place(name):
            raise UserError(f"a member lies outside the archive: {name!r}", path, get)
        if member.is_dir() or any(hidden(part) for part in name.split("/")):
            continue
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise UserError(f"a member is a link or a device: {name!r}", path, get)
        if name in sizes:
            raise UserError(f"a member comes twice: {name!r}", path, get)
        if member.file_size > MEMBER_BYTES:
            raise UserError(f"a member of {member.file_size} bytes: {name!r}", path, get)
        sizes[name] = member.file_size
    return dict(sorted(sizes.items()))


def unsafe_place(name: str) -> bool:
    """Whether the name of a member leads out of its archive."""
    return name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":"


def load(files: Files, name: str, size: Size, crop: str) -> tuple[Loaded]:
    """One of the images as the published loaders read it."""
    return load_plain(files.read(name), size, crop)
