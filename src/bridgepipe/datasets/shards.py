"""Image datasets in a few large files, whose rows become items of splits: see `parquet` and `webdataset`."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bridgepipe.data.listing import walk
from bridgepipe.data.store import Codec
from bridgepipe.datasets.attribute_tables import numbers
from bridgepipe.datasets.images import Loaded, Size, height_width, load
from bridgepipe.datasets.items import FRACTIONS, Item, some, with_missing, write_splits
from bridgepipe.datasets.layout import splits_among
from bridgepipe.errors import UserError

GROUPS = 4  # row groups of images that are held at a time
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """An image of a shard, not read yet.

    Attributes:
        name: shard and place in it.
        read: the bytes of its file.
        label: class of the picture, by name or number; None where it has none.
        values: other values of the picture, of which numbers become attributes.
    """

    name: str
    read: Callable[[], bytes]
    label: str | int | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Shard:
    """The images of a file, and the names of the classes where the file lists them."""

    rows: Sequence[Row]
    classes: Sequence[str] | None = None


def prepare(
    out_dir: Path,
    source: str,
    path: Path,
    suffix: str,
    read: Callable[[Path, str], Shard],
    size: Size,
    seed: int,
    crop: str,
    codec: Codec,
    skip_bad: bool,
    progress: bool | None,
) -> None:
    files = _files(path, suffix)
    shards = {name: read(path / name if path.is_dir() else path, name) for name in files}
    classes = _classes(list(shards.values()), path)
    items = _items(shards, classes, size, crop, path)
    splits: dict[str | None, list[Item]] = defaultdict(list)
    for name, split in files.items():
        splits[split] += items[name]
    given = {split: found for split, found in splits.items() if split is not None}
    whole = with_missing(given or {"train": splits[None]}, FRACTIONS, seed)
    made_by = {"source": source, "size": list(height_width(size)), "crop": crop, "seed": seed}
    made_by |= {"fractions": dict(FRACTIONS)}
    write_splits(out_dir, whole, made_by, classes, codec, skip_bad, progress)


def _files(path: Path, suffix: str) -> dict[str, str | None]:
    """Split of every shard by the words of its relative name; None for all where no name says one."""
    if path.is_file():
        return {path.name: None}
    if not path.is_dir():
        raise UserError("no such file or folder", path, f"put the {suffix} files there, or correct the path")
    every = list(walk(path).files)
    names = [name for name in every if name.lower().endswith(suffix)]
    if packed := [name for name in every if re.search(rf"{re.escape(suffix)}\.\w+$", name.lower())]:
        raise UserError(f"compressed: {some(packed, 'file')}", path, f"unpack them to {suffix} files")
    if not names:
        raise UserError(f"no {suffix} files", path, f"put {suffix} files there, or take another source")
    said = {name: splits_among(name) for name in names}
    if torn := [name for name, splits in said.items() if len(splits) > 1]:
        mend = "name them or their folders after one split, or give one file as the path"
        raise UserError(f"of several splits by name: {some(torn, 'file')}", path, mend)
    found = {name: next(iter(splits), None) for name, splits in said.items()}
    named = {split for split in found.values() if split is not None}
    if not named:
        return found
    if others := [name for name, split in found.items() if split is None]:
        mend = "name them or their folders train, val or test, or take them away"
        raise UserError(f"of no known split: {some(others, 'file')}", path, mend)
    if "train" not in named:
        mend = "add the training split, or give one file as the path"
        raise UserError(f"{' and '.join(sorted(named))} there, but no train", path, mend)
    return found


def _classes(shards: Sequence[Shard], path: Path) -> list[str] | None:
    """Names of the classes of all shards; None where nothing has a label."""
    listed = [list(shard.classes) for shard in shards if shard.classes is not None]
    if any(names != listed[0] for names in listed) or (listed and len(listed) < len(shards)):
        raise UserError("files with other classes than the first", path, "give all files the same classes")
    rows = [row for shard in shards for row in shard.rows]
    if lacking := [row.name for row in rows if row.label is None]:
        if len(lacking) < len(rows):
            raise UserError(f"no class of {some(lacking)}", path, "give all images a class, or none")
        return None
    if listed:
        return listed[0]
    labels = {row.label for row in rows}
    if all(isinstance(label, int) for label in labels):
        return [str(number) for number in range(max(label for label in labels if isinstance(label, int)) + 1)]
    return sorted(map(str, labels))


def _items(
    shards: Mapping[str, Shard], classes: Sequence[str] | None, size: Size, crop: str, path: Path
) -> dict[str, list[Item]]:
    """Items of every shard; numbers in the rows become attributes of all."""
    rows = {row.name: row for shard in shards.values() for row in shard.rows}
    columns = {name: None for row in rows.values() for name in row.values}
    table = {name: {column: row.values.get(column) for column in columns} for name, row in rows.items()}
    attributes = numbers(table, path) if columns else {}

    def item(row: Row) -> Item:
        own = {column: values[row.name] for column, values in attributes.items()}
        number = None if classes is None else _number(row, classes, path)
        return Item(row.name, partial(_load, row.read, size, crop), number, own)

    return {name: [item(row) for row in shard.rows] for name, shard in shards.items()}


def _number(row: Row, classes: Sequence[str], path: Path) -> int:
    number = row.label if isinstance(row.label, int) else list(classes).index(str(row.label))
    if not 0 <= number < len(classes):
        what = f"class {number} of {row.name}, there are {len(classes)}"
        raise UserError(what, path, "give labels of the classes; -1 means that a split has none")
    return number


def _load(read: Callable[[], bytes], size: Size, crop: str) -> tuple[Loaded]:
    return load(read(), size, crop)
