"""Import of the LMDB pair that I2SB's code makes of an image folder.

``{split}_faster_imagefolder.lmdb`` is an LMDB folder: key = path of an image as it was on
the machine that made it, value = the bytes of the image file. ``….lmdb.pt`` is a
torch-pickled ImageFolder; its list of (path, label) is read without running any of it.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import lmdb

from bridgepipe.data.lmdbfile import open_readonly
from bridgepipe.datasets import imagenet
from bridgepipe.datasets.files import MEMBER_BYTES
from bridgepipe.datasets.imagenet import Load
from bridgepipe.datasets.images import Loaded
from bridgepipe.datasets.items import Item, Splits
from bridgepipe.errors import UserError
from bridgepipe.names import ilsvrc
from bridgepipe.names.classes import brief

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def pairs(root: Path, splits: Sequence[str], load: Load) -> tuple[Splits, Sequence[str]]:
    """Items of I2SB's LMDB pairs, in the order of the image files that they were made from.

    Raises:
        UserError: a file is missing, truncated, or holds anything but a list of images.
    """
    listings = {split: read_listing(root / f"{split}_faster_imagefolder.lmdb.pt") for split in splits}
    names = next(iter(listings.values())).classes
    for split, listing in listings.items():
        if listing.classes != names:
            what = f"{split} has the classes {brief(listing.classes)}, {splits[0]} has {brief(names)}"
            raise UserError(what, root, "make both files from folders with the same classes")
    files = {split: _data_file(root / f"{split}_faster_imagefolder.lmdb") for split in splits}
    return {split: _items(files[split], listing, load) for split, listing in listings.items()}, names


# the stores hold the same images in the same order as those made from the image files
prepare = partial(imagenet.prepare, read=pairs)


@dataclass(frozen=True)
class Listing:
    """Content of the ``.pt`` file: (path, label) of every image, and the names of the classes."""

    samples: list[tuple[str, int]]
    classes: list[str]


def read_listing(path: str | Path) -> Listing:
    """Samples of a pickled ImageFolder, or of a plain list of (path, label).

    Raises:
        UserError: missing, damaged, or holding anything else, which is named and not run.
    """
    path = Path(path)
    try:
        with open(path, "rb") as f:
            content = _load(f)
        return _listing(content)
    except FileNotFoundError as e:
        raise UserError("no such file", path, "give the folder with I2SB's .lmdb and .lmdb.pt") from e
    except Exception as e:  # A damaged pickle raises almost anything.
        what = " ".join(str(e).split()) or type(e).__name__
        raise UserError(f"not a list of images: {what}", path, "make it again with I2SB's code") from e


class _Folder:
    """Stands for the pickled ImageFolder: keeps its state and runs nothing."""


class _Loader:
    """Stands for the loading function that a folder may name."""


class _Restricted(pickle.Unpickler):
    KNOWN = {  # noqa: RUF012
        ("torchvision.datasets.folder", "ImageFolder"): _Folder,
        ("torchvision.datasets.folder", "default_loader"): _Loader,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.KNOWN[module, name]


def _load(file: BinaryIO) -> Any:
    """The object that torch.save wrote: a zip archive with data.pkl, or four pickles in a row before 1.6."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            if archive.getinfo(name).file_size > MEMBER_BYTES:
                raise ValueError(f"{name} has more than {MEMBER_BYTES} bytes")
            return _Restricted(io.BytesIO(archive.read(name))).load()
    file.seek(0)
    if _Restricted(file).load() != LEGACY_MAGIC:
        raise ValueError("not written by torch.save")
    _protocol, _system, content = (_Restricted(file).load() for _ in range(3))
    return content


def _listing(content: Any) -> Listing:
    state = vars(content) if isinstance(content, _Folder) else {"imgs": content}
    samples = state.get("imgs", state.get("samples"))
    if not isinstance(samples, list) or not samples or not all(_is_sample(sample) for sample in samples):
        raise ValueError("no list of (path, label)")
    names = {label: PurePosixPath(path).parent.name for path, label in samples}
    classes = state.get("classes") or [names.get(label, str(label)) for label in range(max(names) + 1)]
    return _by_ilsvrc(Listing([(path, label) for path, label in samples], [str(name) for name in classes]))


def _by_ilsvrc(listing: Listing) -> Listing:
    """Numbered as ILSVRC does, which a folder of some of its classes is not; other lists stay as they are."""
    known = ilsvrc.classes()
    number = {name: index for index, name in enumerate(known)}
    used = {listing.classes[label] for _, label in listing.samples}
    if not used <= set(known):
        return listing
    return Listing([(path, number[listing.classes[label]]) for path, label in listing.samples], known)


def _is_sample(sample: Any) -> bool:
    return (
        isinstance(sample, tuple | list)
        and len(sample) == 2
        and isinstance(sample[0], str)
        and type(sample[1]) is int
        and sample[1] >= 0
    )


def _data_file(path: Path) -> Path:
    return path / "data.mdb" if path.is_dir() else path


def _items(data: Path, listing: Listing, load: Load) -> list[Item]:
    env = open_readonly(data)
    return [
        Item("/".join(PurePosixPath(path).parts[-2:]), partial(_from_lmdb, env, path, load), label)
        for path, label in listing.samples
    ]


def _from_lmdb(env: lmdb.Environment, path: str, load: Load) -> tuple[Loaded, ...]:
    with env.begin() as txn:
        data = txn.get(path.encode())
    if data is None:
        raise ValueError("not in the LMDB")
    return load(data)
