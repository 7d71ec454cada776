"""Any folder of images, one sub-folder per class or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bridgepipe.datasets.images import Size, decode, fit, height_width
from bridgepipe.datasets.items import FRACTIONS, SPLITS, Item, Splits, divide, write_splits
from bridgepipe.errors import UserError
from bridgepipe.store import Codec

Load = Callable[[Path], tuple[np.ndarray, ...]]


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size,
    seed: int = 0,
    crop: str = "adm",
    fractions: Mapping[str, float] = FRACTIONS,
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train, val and test of a folder of images.

    With sub-folders ``train`` and ``val`` or ``test`` these are the splits, and one that
    is not there is cut from train; otherwise a hash of (seed, name) divides every class.

    Args:
        path: images, directly or in one sub-folder per class (searched to any depth).
        size: side of the square, or (height, width).
        crop: one of `bridgepipe.datasets.images.CROPS`.
        fractions: share of each split; 0 leaves a split out.
        skip_bad: leave unreadable images out, instead of stopping with their list.

    Raises:
        UserError: no images, unreadable images, images both beside and in sub-folders, an empty split.
    """
    load = partial(load_file, size=size, crop=crop)
    splits, classes = find_splits(Path(path), load, fractions, seed)
    made_by = {
        "source": "folder",
        "size": list(height_width(size)),
        "crop": crop,
        "seed": seed,
        "fractions": dict(fractions),
    }
    write_splits(Path(out_dir), splits, made_by, classes, codec, skip_bad, progress)


def load_file(path: Path, size: Size, crop: str) -> tuple[np.ndarray, ...]:
    """One image file as uint8 ``[H, W, 3]``."""
    return (fit(decode(path), size, crop),)


def find_splits(
    root: Path, load: Load, fractions: Mapping[str, float], seed: int
) -> tuple[Splits, list[str] | None]:
    """Items of every split and the names of the classes.

    Raises:
        UserError: as `prepare`.
    """
    names = image_names(root)
    folders = {name.partition("/")[0] for name in names}
    if not {"train", "val"} <= folders and not {"train", "test"} <= folders:
        classes = classes_of(names, root)
        return divide(items_of(names, root, load, classes), fractions, seed), classes
    if others := sorted(folders - set(SPLITS)):
        raise UserError(f"beside the splits there is {others[0]}", root, "move it into one of them")
    return _given_splits({split: root / split for split in SPLITS if split in folders}, load, fractions, seed)


def _given_splits(
    roots: Mapping[str, Path], load: Load, fractions: Mapping[str, float], seed: int
) -> tuple[Splits, list[str] | None]:
    names = {split: image_names(root) for split, root in roots.items()}
    lists = {split: classes_of(names[split], root) for split, root in roots.items()}
    if len({found is None for found in lists.values()}) > 1:
        parent = roots["train"].parent
        raise UserError(
            "some splits have sub-folders of classes, some have none", parent, "arrange all alike"
        )
    classes = sorted({name for found in lists.values() for name in found or ()}) or None
    splits = {split: items_of(names[split], root, load, classes) for split, root in roots.items()}
    missing = {split: share for split, share in fractions.items() if split not in splits}
    rest = {"train": 1 - sum(missing.values()), **missing}
    return {**divide(splits.pop("train"), rest, seed), **splits}, classes


def items_of(
    names: Sequence[str], root: Path, load: Load, classes: Sequence[str] | None, sizes: bool = True
) -> list[Item]:
    """Items for image files below ``root``; the first folder of a name is its class."""
    number = {name: index for index, name in enumerate(classes or ())}
    return [
        Item(
            name=name,
            load=partial(load, root / name),
            label=number.get(name.partition("/")[0]),
            bytes=(root / name).stat().st_size if sizes else 0,
        )
        for name in names
    ]


def classes_of(names: Sequence[str], root: Path) -> list[str] | None:
    """Names of the sub-folders that hold images, sorted; None when the images lie in ``root`` itself.

    Raises:
        UserError: images in both places.
    """
    inside = sorted({name.partition("/")[0] for name in names if "/" in name})
    if inside and any("/" not in name for name in names):
        raise UserError(
            "images both in the folder and in sub-folders",
            root,
            "move them all into one sub-folder per class, or all into the folder",
        )
    return inside or None


def image_names(root: Path) -> list[str]:
    """Relative paths of all image files below ``root``, sorted; hidden files and folders are left out.

    Raises:
        UserError: no such folder, or no images in it.
    """
    if not root.is_dir():
        raise UserError("no such folder", root, "put the images there, or correct the path")
    names, others = [], 0
    for folder, inner, files in os.walk(root, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for file in files:
            if is_image(file):
                names.append((Path(folder) / file).relative_to(root).as_posix())
            else:
                others += 1
    if not names:
        beside = f", only {others} other files" if others else ""
        raise UserError(f"no images{beside}", root, "put images there (png, jpeg, tiff, webp, bmp, ...)")
    return sorted(names)


def is_image(file: str) -> bool:
    """A visible file with a suffix that Pillow reads."""
    return not file.startswith(".") and Path(file).suffix.lower() in Image.registered_extensions()
