"""Sets of images as people have them: folders, stores, arrays of samples, and statistics of such sets."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bridgepipe.artifacts import digest_file, digest_of
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets.folder import image_names
from bridgepipe.datasets.images import opens, read_photo
from bridgepipe.datasets.items import some
from bridgepipe.errors import UserError, reading
from bridgepipe.names import Json

if TYPE_CHECKING:  # statistics need torch; what is no set of images is refused without it
    from bridgepipe.evaluation.extractors import Extractor
    from bridgepipe.evaluation.features import Images
    from bridgepipe.evaluation.fid import Statistics

GIVE = (
    "give a folder of images, a store (.lmdb), an NPZ or NPY file of uint8 images [N, H, W, 3], or statistics"
    " (.npz with mu and sigma, .safetensors)"
)
SAMPLES, MEAN, COVARIANCE, FEATURES = "arr_0", "mu", "sigma", "feats"  # names of ADM and of clean-fid


@dataclass(frozen=True)
class ImageSet:
    """Images, their statistics, or both.

    Attributes:
        path: where they are.
        kind: what they are, for people.
        images: uint8 ``[H, W, 3]`` by number; None where there are statistics alone.
        names: names of the images without suffix, where they have any.
        known: statistics that came with them; where the file does not tell them, the extractor is {}
            and ``n`` is 0.
    """

    path: Path
    kind: str
    images: Images | None = None
    names: Sequence[str] | None = None
    known: Statistics | None = None

    @property
    def n(self) -> int:
        """Number of images; 0 for statistics that do not record it."""
        return len(self.images) if self.images is not None else self.known.n if self.known else 0

    @property
    def store(self) -> ImageStore | None:
        return self.images if isinstance(self.images, ImageStore) else None


def open_set(path: Path) -> ImageSet:
    """What lies at a path; every file of a folder is opened, none is decoded.

    Raises:
        UserError: nothing there, nothing of these kinds, an empty set, or images that cannot be read: all of
            them are named.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return _folder(path)
    if suffix == ".safetensors":
        from bridgepipe.evaluation.fid import Statistics

        return ImageSet(path, "statistics", known=Statistics.load(path))
    if suffix in (".npz", ".npy"):
        with reading(path, "cannot be read as arrays", GIVE):
            return _arrays(path)
    if suffix == ".lmdb":
        store = ImageStore(path).of_images()
        names = store.names
        if not len(store):
            raise UserError("a store without images", path, GIVE)
        return ImageSet(path, "store", store, None if names is None else [_stem(name) for name in names])
    if not path.exists():
        raise UserError("no such file or folder", path, GIVE)
    raise UserError("no set of images", path, GIVE)


@dataclass(frozen=True)
class Files:
    """Image files of a folder, decoded when they are asked for."""

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_photo(self.root / self.names[index])

    @cached_property
    def digest(self) -> str:
        """Of the names and bytes of the files."""
        return digest_of({name: digest_file(self.root / name) for name in self.names})


@dataclass(frozen=True)
class Array:
    """uint8 images ``[N, H, W, 3]`` of a file."""

    path: Path
    values: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(self.values[index])

    @cached_property
    def digest(self) -> str:
        """Of the file."""
        return digest_file(self.path)[:16]


def _folder(path: Path) -> ImageSet:
    names = image_names(path)
    bad = [name for name in names if not opens(path / name)]
    if bad:
        raise UserError(f"cannot be read: {some(bad)}", path, "mend them, or take them out of the folder")
    return ImageSet(path, "folder", Files(path, names), [_stem(name) for name in names])


def _stem(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/")).with_suffix(""))


def _arrays(path: Path) -> ImageSet:
    if path.suffix.lower() == ".npy":
        return ImageSet(
            path, "array of images", _images(path, np.load(path, mmap_mode="r", allow_pickle=False))
        )
    with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:  # it leaves a bad file open
        names = set(file.files)
        if FEATURES in names:
            return ImageSet(path, "features", known=_of_features(path, file[FEATURES]))
        known = _of_moments(path, file) if {MEAN, COVARIANCE} <= names else None
        images = [name for name in file.files if name == SAMPLES] or [
            name for name in file.files if known is None and _is_images(path, name)
        ]
        if len(images) > 1:
            raise UserError(f"several arrays of images: {', '.join(images)}", path, f"name one {SAMPLES}")
        if images:
            found = _images(path, _mapped(path, images[0], file))
            kind = "array of images" if known is None else "array of images, with statistics"
            return ImageSet(path, kind, found, known=known)
    if known is None:
        held = ", ".join(sorted(names)) or "nothing"
        raise UserError(f"neither images nor statistics: it holds {held}", path, GIVE)
    return ImageSet(path, "statistics", known=known)


def _is_images(path: Path, name: str) -> bool:
    _, shape, dtype = _header(path, name)
    return len(shape) == 4 and dtype == np.uint8


def _header(path: Path, name: str) -> tuple[int, tuple[int, ...], np.dtype]:
    """Where the data of an array of an NPZ file begins in the decompressed member, its shape and type."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(member)
        return -1 if fortran else member.tell(), shape, dtype


def _mapped(path: Path, name: str, file: Mapping[str, np.ndarray]) -> np.ndarray:
    """An array without reading it whole, where the file is not compressed: 50,000 images can be 10 GB."""
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
    start, shape, dtype = _header(path, name)
    if member.compress_type != zipfile.ZIP_STORED or start < 0 or dtype.hasobject:
        return file[name]
    with open(path, "rb") as raw:
        raw.seek(member.header_offset)
        head = raw.read(30)  # a local header: its name and its extra field follow, then the data
    names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    return np.memmap(path, dtype, "r", member.header_offset + 30 + names + start, shape)


def _images(path: Path, values: np.ndarray) -> Array:
    if values.ndim != 4 or values.dtype != np.uint8 or values.shape[3] != 3 or not len(values):
        shape = list(values.shape)
        turned = values.ndim == 4 and values.shape[1] == 3 and values.shape[3] != 3
        mend = "turn it to [N, H, W, 3]" if turned else "give uint8 images of the shape [N, H, W, 3]"
        raise UserError(f"no images: {values.dtype} {shape}", path, mend)
    return Array(path, values)


def _of_moments(path: Path, file: Mapping[str, np.ndarray]) -> Statistics:
    import torch

    from bridgepipe.evaluation.fid import Statistics
    from bridgepipe.evaluation.frechet import refuse_no_covariance

    mu, sigma = (np.asarray(file[name], np.float64) for name in (MEAN, COVARIANCE))
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        what = f"no statistics: {MEAN} {list(mu.shape)} and {COVARIANCE} {list(sigma.shape)}"
        raise UserError(what, path, "give the mean [d] and the covariance [d, d] of features")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise UserError("a mean or covariance that is not finite", path, "make the statistics again")
    tensors = torch.from_numpy(mu), torch.from_numpy(sigma)
    refuse_no_covariance(tensors[1], path)
    none, digest = torch.empty(0, dtype=torch.int64), digest_file(path)[:16]
    return Statistics(*tensors, 0, torch.empty(0, len(mu)), {}, digest, none)


def _of_features(path: Path, values: np.ndarray) -> Statistics:
    import torch

    from bridgepipe.evaluation.fid import Statistics
    from bridgepipe.evaluation.moments import Moments

    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise UserError(
            f"no features: {list(values.shape)}", path, "give finite features [N, d] of 2 images or more"
        )
    rows = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in np.ascontiguousarray(values)]
    pictures = torch.tensor([int.from_bytes(row, "big", signed=True) for row in rows])
    moments = Moments(values.shape[1])
    moments.update(values)
    sample = torch.from_numpy(np.asarray(values, np.float32))
    return Statistics(moments.mu, moments.sigma, len(values), sample, {}, digest_file(path)[:16], pictures)


def reference_statistics(path: Path, extractor: Extractor, kernel: bool, batch_size: int = 64) -> Statistics:
    """Statistics of real images from a file: of this project, or an NPZ file of ADM's layout.

    An NPZ file tells no extractor: its statistics are taken for features of the one that is given. Of images
    without statistics they are computed.

    Args:
        kernel: whether a KID is wanted, for which moments alone are not enough.

    Raises:
        UserError: as `open_set`; statistics of another extractor; moments alone where a KID is wanted.
    """
    from bridgepipe.evaluation.extractors import describe
    from bridgepipe.evaluation.fid import Statistics, statistics

    if path.suffix.lower() == ".safetensors":
        return Statistics.load(path, {"extractor": describe(extractor)})
    found = open_set(path)
    known = None if found.known is None else replace(found.known, extractor=describe(extractor))
    if kernel and found.images is None and (known is None or not len(known.sample)):
        mend = "set evaluate.kid to false, or give the images"
        raise UserError("a reference without images, which has no KID", path, mend)
    if found.images is None:
        assert known is not None
        return known
    measured = statistics(extractor, found.images, batch_size, label="features of the reference")
    return measured if known is None else replace(measured, mu=known.mu, sigma=known.sigma)


def about(found: ImageSet) -> Json:
    """Path, kind and number of images, for people and for JSON."""
    return {"path": str(found.path), "kind": found.kind, "n": found.n or None}
