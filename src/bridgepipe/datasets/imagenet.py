"""ImageNet (ILSVRC2012), arranged as one folder per class, and I2SB's subset of its validation images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from bridgepipe.datasets.folder import image_names, items_of
from bridgepipe.datasets.images import Size, decode_plain, fit, height_width
from bridgepipe.datasets.items import Item, Splits, some, write_splits
from bridgepipe.errors import UserError
from bridgepipe.store import Codec

ARRANGE = (
    "put ILSVRC2012 there as train/n01440764/*.JPEG and val/n01440764/*.JPEG, or correct the dataset's path"
)


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size = 256,
    crop: str = "torchvision",
    subset: str | Path | None = None,
    splits: Sequence[str] = ("train", "val"),
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train and val, by I2SB's rule: RGB, Resize, CenterCrop.

    Args:
        path: folder with ``train`` and ``val``, each with one sub-folder per class; ``val``
            may be flat when ``subset`` tells the classes.
        size: side of the square, or (height, width).
        crop: one of `bridgepipe.datasets.images.CROPS`.
        subset: text file with one validation image a line, in the order in which they are used:
            ``[any/folder/][class/]file [class or its index]``. I2SB's own list can be given.
        splits: which to write.

    Raises:
        UserError: ImageNet or images of the subset are missing, classes unknown, unreadable images.
    """
    root = Path(path)
    lines = read_subset(subset) if subset else None
    classes = _class_names([root / "train", root / "val"], lines)
    load = partial(load_plain, size=size, crop=crop)
    items: Splits = {}
    for split in splits:
        if not (root / split).is_dir():
            raise UserError(f"no ImageNet {split} images", root / split, ARRANGE)
        # Without sizes, so that an import of I2SB's LMDB gives the same bytes.
        items[split] = items_of(image_names(root / split), root / split, load, classes, sizes=False)
    if lines is not None and "val" in items:
        items["val"] = choose(items["val"], lines, classes, str(subset))
    check_labels(items, root)
    write_splits(Path(out_dir), items, card(size, crop), classes, codec, skip_bad, progress)


def card(size: Size, crop: str) -> dict[str, object]:
    """What a store of ImageNet says of how it was made; the same for both ways to it."""
    return {"source": "imagenet", "size": list(height_width(size)), "crop": crop}


def load_plain(source: Path | bytes, size: Size, crop: str) -> tuple[np.ndarray, ...]:
    """One image file as the published loaders read it."""
    return (fit(decode_plain(source), size, crop),)


Line = tuple[PurePosixPath, str | None]


def read_subset(path: str | Path) -> list[Line]:
    """Lines ``image [class]`` of a list; empty lines are passed over.

    Raises:
        UserError: no such file, or nothing in it.
    """
    try:
        text = Path(path).read_text(encoding="utf8")
    except (OSError, ValueError) as e:
        raise UserError("cannot read the list of validation images", path, "correct dataset.subset") from e
    fields = [line.split() for line in text.splitlines() if line.strip()]
    if not fields:
        raise UserError("the list of validation images is empty", path, "give one image a line")
    return [(PurePosixPath(words[0]), words[1] if len(words) > 1 else None) for words in fields]


def choose(items: Iterable[Item], lines: Sequence[Line], classes: Sequence[str], where: str) -> list[Item]:
    """The items of a list, in its order, with the classes that it tells.

    Raises:
        UserError: an image of the list is missing, or comes twice.
    """
    find = _finder(items)
    found = [find(image) for image, _ in lines]
    if missing := [image.name for (image, _), item in zip(lines, found, strict=True) if item is None]:
        raise UserError(f"not among the validation images: {some(missing)}", where, "correct the list")
    chosen = [item for item in found if item is not None]
    if len({item.name for item in chosen}) < len(chosen):
        raise UserError("images come twice in the list", where, "name every image once")
    number = {name: index for index, name in enumerate(classes)}
    number |= {str(index): index for index in range(len(classes))}
    return [
        replace(item, label=number.get(told or image.parent.name, item.label))
        for (image, told), item in zip(lines, chosen, strict=True)
    ]


def _finder(items: Iterable[Item]) -> Callable[[PurePosixPath], Item | None]:
    """Looks images up by class and file, or by the file alone where that is unique."""
    by_tail = {tuple(PurePosixPath(item.name).parts[-2:]): item for item in items}
    files = Counter(tail[-1] for tail in by_tail)
    by_file = {tail[-1]: item for tail, item in by_tail.items() if files[tail[-1]] == 1}
    return lambda image: by_tail.get(tuple(image.parts[-2:])) or by_file.get(image.name)


def check_labels(splits: Splits, where: Path) -> None:
    """Raises UserError when the class of an image is unknown."""
    for split, items in splits.items():
        if unknown := [item.name for item in items if item.label is None]:
            raise UserError(
                f"class unknown in {split}: {some(unknown)}",
                where,
                "arrange them in one folder per class, or give dataset.subset with lines 'class/file'",
            )


def _class_names(roots: Sequence[Path], lines: Sequence[Line] | None) -> list[str]:
    """Sub-folders of train and val; when there are none, the folders that the list names."""
    folders = {entry.name for root in roots if root.is_dir() for entry in os.scandir(root) if entry.is_dir()}
    return sorted(folders or {image.parent.name for image, _ in lines or () if image.parent.name})
