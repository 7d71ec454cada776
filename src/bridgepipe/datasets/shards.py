"""Image datasets in a few large files: parquet as the Hugging Face hub has it, and tar shards of webdataset.

Both are read here without the libraries of those names, which leave out or join in silence what does not fit.
"""

from __future__ import annotations

import json
import logging
import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any

import numpy as np

from bridgepipe.data.listing import hidden, walk
from bridgepipe.data.store import Codec
from bridgepipe.datasets.attribute_tables import numbers
from bridgepipe.datasets.files import unsafe_place
from bridgepipe.datasets.images import SUFFIXES, Loaded, Size, height_width, load
from bridgepipe.datasets.items import FRACTIONS, Item, some, with_missing, write_splits
from bridgepipe.datasets.layout import split_of
from bridgepipe.errors import UserError, reading
from bridgepipe.names import Json

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
    """The images of a file, and the names of the classes where the file tells them."""

    rows: Sequence[Row]
    classes: Sequence[str] | None = None


def prepare_parquet(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size = 256,
    image: str | None = None,
    label: str | None = None,
    seed: int = 0,
    crop: str = "adm",
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train, val and test of parquet files with a column of images.

    Args:
        path: one file, or a folder with files of splits, named as the hub names them: in folders ``train``
            and ``test``, or ``train-00000-of-00002.parquet``. A split that is not there is cut from train.
        size: side of the square, or (height, width).
        image, label: columns; None: the only one of its kind.
        seed, crop, skip_bad: see `bridgepipe.datasets.folder.prepare`. Other columns of numbers become
            attributes.

    Raises:
        UserError: no such files, files of no known split beside others, no column or several of a kind, rows
            without a label, unreadable images.
    """
    read = partial(_parquet, image=image, label=label)
    how = (size, seed, crop, codec, skip_bad, progress)
    _prepare(Path(out_dir), "hf", Path(path), ".parquet", read, *how)


def prepare_tar(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size = 256,
    image: str | None = None,
    seed: int = 0,
    crop: str = "adm",
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train, val and test of tar shards, whose members of one key are one image with its label.

    A key ends at the first dot, as webdataset has it. ``KEY.cls`` is its class, numbers in ``KEY.json`` are
    attributes. Members need not lie side by side, and there may be fewer shards than processes.

    Args:
        path, size, seed, crop, skip_bad: see `prepare_parquet`.
        image: what follows the key in the names of images, such as ``left.png``; None: any format.

    Raises:
        UserError: no such files, files of no known split beside others, keys without an image or with two,
            without a class where others have one, compressed or damaged shards, unreadable images.
    """
    how = (size, seed, crop, codec, skip_bad, progress)
    _prepare(Path(out_dir), "webdataset", Path(path), ".tar", partial(_tar, image=image), *how)


def _prepare(
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
    """Split of every shard by its relative name; None of all where no name tells one."""
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
    found = {name: _split_of(name) for name in names}
    named = {split for split in found.values() if split is not None}
    if not named:
        return found
    if others := [name for name, split in found.items() if split is None]:
        mend = "name them or their folders train, val or test, or take them away"
        raise UserError(f"of no known split: {some(others, 'file')}", path, mend)
    if "train" not in named:
        raise UserError(f"{' and '.join(sorted(named))} there, but no train", path, "add the training split")
    return found


def _split_of(name: str) -> str | None:
    """Split by the folder or by the first word of a file, such as train-00000-of-00001.parquet."""
    *above, file = PurePosixPath(name).parts
    word = re.match(r"[A-Za-z]+(?=[-_.\d])", file)
    candidates = [split_of(folder) for folder in above] + [split_of(word[0]) if word else None]
    return next((split for split in candidates if split is not None), None)


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
    """Items of every shard; what numbers the rows tell are attributes of all."""
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


# parquet


def _parquet(file: Path, name: str, image: str | None, label: str | None) -> Shard:
    table = Parquet(file)
    with reading(file, "cannot be read as parquet", "give parquet files, such as those of the hub"):
        schema = table.open().schema_arrow
        features = _features(schema)
    images = image or _only("image", _image_columns(schema, features), file, schema.names)
    labels = [c for c, f in features.items() if f.get("_type") == "ClassLabel"]
    chosen = label or (_only("label", labels, file, schema.names) if labels else None)
    for option, column in (("image", images), ("label", chosen)):
        if column is not None and column not in schema.names:
            raise UserError(f"no column '{column}'", file, f"{option}: choose from {', '.join(schema.names)}")
    others = [c for c in schema.names if c not in (images, chosen)]
    with reading(file, "cannot be read as parquet", "give whole parquet files"):
        columns = table.open().read(columns=[*others, *([chosen] if chosen else [])]).to_pydict()
        count = table.open().metadata.num_rows
    stem = name.removesuffix(".parquet")
    rows = [
        Row(
            f"{stem}/{k:08d}",
            partial(table.image, images, k),
            columns[chosen][k] if chosen else None,
            {c: columns[c][k] for c in others if not isinstance(columns[c][k], dict | list)},
        )
        for k in range(count)
    ]
    names = features.get(chosen or "", {}).get("names")
    return Shard(rows, names)


def _features(schema: Any) -> Json:
    """What the library `datasets` has written of every column; {} where it has not made the file."""
    about = (schema.metadata or {}).get(b"huggingface")
    found = json.loads(about).get("info", {}).get("features", {}) if about else {}
    return {name: feature for name, feature in found.items() if isinstance(feature, dict)}


def _image_columns(schema: Any, features: Mapping[str, Any]) -> list[str]:
    import pyarrow.types as kinds

    pictures = [name for name, feature in features.items() if feature.get("_type") == "Image"]
    if pictures:
        return pictures
    return [
        field.name
        for field in schema
        if kinds.is_binary(field.type)
        or (kinds.is_struct(field.type) and "bytes" in {f.name for f in field.type})
    ]


def _only(option: str, columns: Sequence[str], file: Path, every: Sequence[str]) -> str:
    if len(columns) == 1:
        return columns[0]
    what = f"several columns of {option}s: {', '.join(columns)}" if columns else f"no column of {option}s"
    raise UserError(what, file, f"name it with {option}: one of {', '.join(columns or every)}")


class Parquet:
    """A parquet file whose images are read by row group, the last few of which are held."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, Lock()
        self._read = lru_cache(GROUPS)(self._group)

    def open(self) -> Any:
        try:
            from pyarrow import parquet
        except ImportError as e:
            mend = "install it: pip install 'bridgepipe[hf]'"
            raise UserError("source: hf needs the package pyarrow", "dataset.source", mend) from e
        return parquet.ParquetFile(self._file)

    def image(self, column: str, row: int) -> bytes:
        """Bytes of the image file in a row.

        Raises:
            ValueError: the row has no image.
        """
        group = int(np.searchsorted(self._ends, row, side="right"))
        with self._lock:  # threads that want one group would each read it
            values = self._read(column, group)
        value = values[row - (int(self._ends[group - 1]) if group else 0)].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if not content:
            raise ValueError("no bytes of an image in its row")
        return content

    @cached_property
    def _ends(self) -> np.ndarray:
        about = self.open().metadata
        return np.cumsum([about.row_group(k).num_rows for k in range(about.num_row_groups)])

    def _group(self, column: str, group: int) -> Any:
        return self.open().read_row_group(group, columns=[column]).column(0)


# tar


def _tar(file: Path, name: str, image: str | None) -> Shard:
    with reading(file, "no whole tar file", "give the shard again; compressed ones are to be unpacked"):
        samples = _samples(file)
    stem, rows = name.removesuffix(".tar"), []
    wrong: dict[str, list[str]] = {"no image": [], "several images": []}
    for key, fields in samples.items():
        found = [e for e in fields if (e == image if image else f".{e}".endswith(tuple(SUFFIXES)))]
        if len(found) != 1:
            wrong["several images" if found else "no image"].append(f"{key} ({', '.join(found or fields)})")
            continue
        content = json.loads(_content(file, *fields["json"])) if "json" in fields else {}
        label = _class_of(_content(file, *fields["cls"])) if "cls" in fields else None
        values = {k: v for k, v in content.items() if not isinstance(v, dict | list)}
        rows.append(Row(f"{stem}/{key}", partial(_content, file, *fields[found[0]]), label, values))
    for what, keys in wrong.items():
        if keys:
            mend = "a key ends at the first dot: rename members, or say image: which one it is"
            raise UserError(f"{what} in {some(keys, 'sample')}", file, mend)
    return Shard(rows)


def _class_of(content: bytes) -> str | int:
    text = content.decode("utf8").strip()
    return int(text) if text.lstrip("-").isdecimal() else text


def _samples(file: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Place and size of every member, by key and what follows it.

    Raises:
        ValueError: a link, a member outside, one that comes twice, or one that is cut short.
    """
    found: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    size = file.stat().st_size
    with tarfile.open(file, "r:") as archive:
        for member in archive:
            folder, _, base = member.name.rpartition("/")
            if member.isdir() or hidden(base):
                continue
            if not member.isfile() or unsafe_place(member.name):
                raise ValueError(f"a member is a link, a device or lies outside: {member.name!r}")
            if member.offset_data + member.size > size:
                raise ValueError(f"cut short in {member.name!r}")
            stem, _, rest = base.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            if rest.lower() in found[key]:
                raise ValueError(f"a member comes twice: {member.name!r}")
            found[key][rest.lower()] = member.offset_data, member.size
    if not found:
        raise ValueError("it has no members")
    return found


def _content(file: Path, start: int, size: int) -> bytes:
    with open(file, "rb") as raw:
        raw.seek(start)
        return raw.read(size)
