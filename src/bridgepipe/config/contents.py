"""What datasets hold according to their settings: splits, classes, sizes, counts, and the files to read."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Collection
from functools import cache
from pathlib import Path

from bridgepipe import names
from bridgepipe.config.builtin import (
    SPLITS,
    ColorCloud,
    DigitClasses,
    Digits,
    Patches,
    PointSet,
    SamplePhotos,
)
from bridgepipe.config.data import (
    AFHQ,
    LSUN,
    CelebAHQ,
    Cifar10,
    Folder,
    ImageNet,
    Pairs,
    Parquet,
    WebDataset,
)
from bridgepipe.config.values import (
    Strict,
)
from bridgepipe.names import ilsvrc, origins
from bridgepipe.photographs import samples


def splits_of(dataset: Strict) -> tuple[str, ...]:
    """Splits that a dataset comes in: those of its publisher where there are any."""
    if isinstance(dataset, ImageNet):
        return tuple(sorted(dataset.splits))  # in whatever order they are written
    if isinstance(dataset, AFHQ | LSUN):
        return "train", "val"
    if isinstance(dataset, Cifar10) or is_points(dataset):
        return "train", "test"
    return SPLITS


def classes_of(dataset: Strict) -> tuple[str, ...] | None:
    """Classes of a dataset's labels by number; () where there are none, None where only the data show it."""
    if isinstance(dataset, Folder | Pairs | Parquet | WebDataset):
        return None
    if isinstance(dataset, DigitClasses):
        return tuple(str(digit) for digit in dataset.classes)
    if isinstance(dataset, ImageNet):
        return _imagenet()
    if isinstance(dataset, AFHQ):
        return names.ANIMALS if dataset.domain is None else ()
    if isinstance(dataset, SamplePhotos):
        return tuple(dataset.by_class)
    known: dict[type[Strict], tuple[str, ...]] = {Digits: names.DIGITS, Cifar10: names.CIFAR10}
    return known.get(type(dataset), ())


@cache
def _imagenet() -> tuple[str, ...]:
    return tuple(ilsvrc.classes())


def attributes_of(dataset: Strict) -> tuple[str, ...] | None:
    """Attributes and classes that a boundary can separate in a dataset; None: only the data show it."""
    classes = classes_of(dataset)
    if classes is None:
        return None
    if isinstance(dataset, Digits | DigitClasses):
        computed = names.DIGIT_LABELS if isinstance(dataset, Digits) else ()
        return tuple(dict.fromkeys((*computed, *names.DIGIT_STORED, *classes)))
    stored = names.CELEBA_ATTRIBUTES if isinstance(dataset, CelebAHQ) else classes
    return (*stored, *measures_of(dataset))


def measures_of(dataset: Strict) -> tuple[str, ...]:
    """What can be measured on the pixels of a dataset's images; a class of the same name comes first."""
    if isinstance(dataset, Digits | DigitClasses):
        return names.DIGIT_MEASURES
    if is_points(dataset):
        return ()
    classes = classes_of(dataset)
    taken = folders_of(dataset) or () if classes is None else classes
    return tuple(name for name in names.PHOTO_MEASURES if name not in taken)


def size_of(dataset: Strict) -> tuple[int, int] | None:
    """Height and width of a dataset's images; None of points."""
    patches: Patches | None = getattr(dataset, "patches", None)
    size = getattr(dataset, "size", None) if patches is None else patches.size
    if is_points(dataset) or size is None:
        return None
    return (size, size) if isinstance(size, int) else size


def channels_of(dataset: Strict) -> int:
    """Numbers of a pixel, or of a point."""
    return 2 if isinstance(dataset, PointSet) else 3


def most_of(dataset: Strict, split: str, classes: Collection[str] | None = None) -> int | None:
    """Number of items in a split, or in some of its classes, or a bound; None where only the data show it."""
    if isinstance(dataset, PointSet):
        return dataset.count
    if isinstance(dataset, Digits | DigitClasses):
        digits = classes_of(dataset) if classes is None else classes
        return sum(names.DIGIT_COUNTS[split][int(digit)] for digit in digits or ())
    if isinstance(dataset, SamplePhotos):
        grid = samples.Grid(**dataset.patches.model_dump())
        wanted = dataset.by_class if classes is None else classes
        names_of = [name for label in wanted for name in dataset.by_class.get(label, ())]
        return samples.count(grid, split, names_of)
    if isinstance(dataset, LSUN):
        return dataset.limit
    if isinstance(dataset, CelebAHQ) and Path(dataset.path).is_dir():  # which may have splits of its own
        return None
    values = dataset.model_dump()
    key = (values["source"], split)
    some = 1 if values.get("domain") else None if classes is None else len(classes)
    return names.PUBLISHED_COUNTS.get(key) if some is None else _of_classes(key, some)


def _of_classes(key: tuple[str, str], count: int) -> int | None:
    return count * names.CLASS_COUNTS[key] if key in names.CLASS_COUNTS else None


def folders_of(dataset: Strict) -> set[str] | None:
    """Names of the folders in an own folder and one level deeper, its classes among them; None: not there."""
    root = Path(*paths_of(dataset)[:1])
    if isinstance(dataset, Parquet | WebDataset) or not root.is_dir():  # the classes are inside the files
        return None
    above = _folders(root)
    return {folder.name for folder in above} | {inner.name for folder in above for inner in _folders(folder)}


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            found = [Path(entry) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:  # the job that prepares the data says so
        return []
    wrapped = len(found) == 1 and found[0].name.lower() in names.WRAPPERS
    return _folders(found[0]) if wrapped else found


ATTRIBUTE_TABLES = ("metadata.csv", "metadata.jsonl")  # beside images, as Hugging Face arranges them


def columns_of(dataset: Strict) -> tuple[str, ...]:
    """Columns of the tables of attributes of an own folder, those of words among them."""
    given = getattr(dataset, "attributes", None)
    root = Path(*paths_of(dataset)[:1])
    places = [root, *_folders(root)] if given is None else []
    tables = [place / name for place in places for name in ATTRIBUTE_TABLES]
    found = (_header(table) for table in ([Path(given)] if given else tables) if table.is_file())
    return tuple(dict.fromkeys(name for names in found for name in names))


def _header(table: Path) -> list[str]:
    try:
        with open(table, encoding="utf-8-sig") as file:
            line = file.readline()
            if begins_with_count(line):
                return file.readline().split()
        if table.suffix.lower() == ".jsonl":
            return list(json.loads(line))
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter_of(table)), [])]
    except (OSError, ValueError, TypeError, csv.Error):  # the job that prepares the data says so
        return []


def begins_with_count(text: str) -> bool:
    """Whether a table is in CelebA's layout: the number of images, the attributes' names, a line an image."""
    return text.partition("\n")[0].strip().isdecimal()


def delimiter_of(table: Path) -> str:
    """What stands between the values of a table that is no JSON."""
    return "\t" if table.suffix.lower() == ".tsv" else ","


def pictures_of(dataset: Strict) -> tuple[str, ...]:
    """Source and place of the pictures, which datasets of other sizes, classes or splits may share."""
    kinds = {"digit-classes": "digits", "photo-edges": "sample-photos", "i2sb-lmdb": "imagenet"}
    values = dataset.model_dump()
    kind = kinds.get(values["source"], values["source"])
    return (kind,) if kind == "imagenet" else (kind, values.get("path", ""), values.get("category", ""))


def is_points(dataset: Strict) -> bool:
    """Whether a dataset is points, which lie in safetensors files, and not images."""
    return isinstance(dataset, PointSet | ColorCloud)


def is_paired(dataset: Strict) -> bool:
    """Whether every image has a source image that it is restored from."""
    return isinstance(dataset, Pairs) or (
        isinstance(dataset, SamplePhotos) and dataset.source == "photo-edges"
    )


def stores_of(dataset: Strict) -> tuple[str, ...]:
    """Stores that a dataset is prepared as: for each split one, and one of its sources; () for points."""
    splits = () if is_points(dataset) else splits_of(dataset)
    return (*splits, *(f"{split}-source" for split in splits)) if is_paired(dataset) else splits


def paths_of(dataset: Strict) -> list[str]:
    """Files and folders that a dataset is made from; [] when it is embedded."""
    if isinstance(dataset, LSUN):
        return [f"{dataset.path}/{dataset.category}_{split}_lmdb/data.mdb" for split in ("train", "val")]
    if isinstance(dataset, ColorCloud):
        return [] if dataset.image in ("china", "flower") else [dataset.image]
    if isinstance(dataset, Parquet):
        return [str(origins.dataset_at(dataset.path))]
    values = dataset.model_dump()
    return [values[key] for key in ("path", "subset", "attributes") if values.get(key) is not None]


def comes_apart(dataset: Strict) -> bool:
    """Whether every split is prepared from files of its own, so that one can be had without the others."""
    return isinstance(dataset, ImageNet)


def read_of(dataset: Strict, split: str | None = None) -> list[str]:
    """`paths_of`, narrowed to what a split is prepared from where splits come apart."""
    if not isinstance(dataset, ImageNet):
        return paths_of(dataset)
    splits = dataset.splits if split is None else (split,)
    files = (
        ("",) if dataset.source == "imagenet" else ("_faster_imagefolder.lmdb", "_faster_imagefolder.lmdb.pt")
    )
    subset = [] if dataset.subset is None or "val" not in splits else [dataset.subset]
    return [f"{dataset.path}/{name}{file}" for name in splits for file in files] + subset
