"""CIFAR-10: 60,000 images of 32 x 32 pixels, from the Python version of the published archive.

The archive holds pickles of Python 2, each a dict of an array, labels and file names. They
are read as data: what a pickle wants to call is replaced by a stand-in that only keeps its arguments.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from bridgepipe.datasets.files import unsafe_place
from bridgepipe.datasets.images import Size, fit, height_width
from bridgepipe.datasets.items import Item, Splits, write_splits
from bridgepipe.errors import UserError

ARCHIVE = "data/raw/cifar-10-python.tar.gz"
FOLDER = "cifar-10-batches-py"
CLASSES = "batches.meta"
BATCHES = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}
SIDE = 32
UNPACKED_BYTES = 512 << 20  # the published archive unpacks to 187 MB
GET = "run `bridgepipe fetch cifar10/archive`, or correct the dataset's path"


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path = ARCHIVE,
    size: Size = SIDE,
    progress: bool | None = None,
) -> None:
    """Write the published train (50,000) and test (10,000) with labels, in the order of the batches.

    Args:
        path: cifar-10-python.tar.gz, the extracted folder cifar-10-batches-py, or the folder that holds it.
        size: side of the square, or (height, width); 32 keeps the pixels as they are.

    Raises:
        UserError: nothing there, a truncated archive, a file is missing, damaged, or asks for
            anything but arrays, which is named and not run.
    """
    contents = _read(Path(path))
    classes = _checked(_classes, contents, CLASSES, path)
    splits: Splits = {
        split: [
            item
            for name in names
            for item in _checked(_items, contents, name, path, name, len(classes), size)
        ]
        for split, names in BATCHES.items()
    }
    made_by = {"source": "cifar10", "size": list(height_width(size))}
    write_splits(Path(out_dir), splits, made_by, classes, progress=progress)


def _read(path: Path) -> dict[str, bytes]:
    """Content of the batches and of the classes' names."""
    wanted = [CLASSES, *BATCHES["train"], *BATCHES["test"]]
    if path.is_dir():
        root = path / FOLDER if (path / FOLDER).is_dir() else path
        contents = {name: (root / name).read_bytes() for name in wanted if (root / name).is_file()}
    elif path.exists():
        contents = _from_archive(path, wanted)
    else:
        raise UserError("no such archive or folder", path, GET)
    if missing := [name for name in wanted if name not in contents]:
        raise UserError(f"no {missing[0]} in it", path, GET)
    return contents


def _from_archive(path: Path, wanted: list[str]) -> dict[str, bytes]:
    """Content of the wanted members; nothing is unpacked, and links are not followed."""
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(path) as unpacked:
            stream = _Bounded(unpacked)
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    folder, name = ("", *PurePosixPath(member.name).parts)[-2:]
                    if unsafe_place(member.name):
                        raise tarfile.TarError(f"a member lies outside the archive: {member.name!r}")
                    if folder == FOLDER and name in wanted:
                        contents[name] = _content(archive, member, name in contents)
            # gzip compares its checksum only at the very end, which tarfile does not read.
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as e:
        raise UserError(f"not a .tar.gz archive, or cut short: {e}", path, GET) from e
    return contents


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, again: bool) -> bytes:
    file = archive.extractfile(member) if member.isreg() and not member.issparse() else None
    if file is None or again:
        raise tarfile.TarError(f"{member.name!r} {'comes twice' if again else 'is no plain file'}")
    return file.read()


class _Bounded:
    """A stream that ends with an error where the published archive would long have ended."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream, self._left = stream, UNPACKED_BYTES

    def read(self, count: int) -> bytes:
        data = self._stream.read(min(count, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"it unpacks to more than {UNPACKED_BYTES} bytes")
        return data


class _Inert:
    """Stands for an array or its dtype: keeps what the pickle gives it, and runs nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Restricted(pickle.Unpickler):
    KNOWN = frozenset({"numpy.core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype"})

    def find_class(self, module: str, name: str) -> type[_Inert]:
        if f"{module}.{name}" not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _Inert


def _checked(parse: Any, contents: dict[str, bytes], name: str, path: str | Path, *arguments: Any) -> Any:
    """``parse`` of the dict in a file; whatever is wrong with it becomes one line."""
    try:
        return parse(_Restricted(io.BytesIO(contents[name]), encoding="bytes").load(), *arguments)
    except Exception as e:  # A damaged pickle raises almost anything.
        reason = " ".join(str(e).split()) or type(e).__name__
        raise UserError(f"not CIFAR-10's {name}: {reason}", path, GET) from e


def _classes(content: Any) -> list[str]:
    return [name.decode("ascii") for name in content[b"label_names"]]


def _items(content: Any, batch: str, classes: int, size: Size) -> list[Item]:
    pixels, labels, names = _pixels(content[b"data"]), content[b"labels"], content[b"filenames"]
    if not len(pixels) == len(labels) == len(names):
        raise ValueError(f"{len(pixels)} images, {len(labels)} labels, {len(names)} names")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise ValueError(f"labels are not numbers below {classes}")
    return [
        Item(f"{batch}/{name.decode('utf8')}", partial(_load, image, size), label)
        for image, label, name in zip(pixels, labels, names, strict=True)
    ]


def _pixels(array: _Inert) -> np.ndarray:
    """uint8 ``[N, 32, 32, 3]`` of a batch, whose rows are the red, green and blue planes."""
    _version, shape, dtype, fortran, data = array.state
    if dtype.arguments[0] != b"u1" or shape[1:] != (3 * SIDE**2,):
        raise ValueError(f"pixels are not uint8 rows of {3 * SIDE**2}")
    rows = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")
    return rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _load(image: np.ndarray, size: Size) -> tuple[np.ndarray, ...]:
    return (fit(Image.fromarray(np.ascontiguousarray(image)), size),)
