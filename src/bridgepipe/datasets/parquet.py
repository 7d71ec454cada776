"""Image datasets of the Hugging Face hub, in parquet files.

They are read without the library `datasets`, which leaves out or joins in silence what does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from bridgepipe.data.store import Codec
from bridgepipe.datasets import shards
from bridgepipe.datasets.images import Size
from bridgepipe.datasets.shards import Row, Shard
from bridgepipe.errors import UserError, reading
from bridgepipe.names import Json
from bridgepipe.names.origins import dataset_at

GROUPS = 4  # row groups of images that are held at a time


def prepare(
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
        path: ``hf:datasets/OWNER/NAME``, which has been fetched, one file, or a folder with files of splits,
            named as the hub names them: a word of the file or its folder is the split, as in
            ``train-00000-of-00002.parquet``, ``test/0.parquet`` and ``mnist_test.parquet``. A split that is
            not there is cut from train.
        size: side of the square, or (height, width).
        image, label: columns; None: the only one of its kind.
        seed, crop, skip_bad: see `bridgepipe.datasets.folder.prepare`. Other columns of numbers become
            attributes.

    Raises:
        UserError: no such files, files of several splits or of none beside others, no column or several of a
            kind, rows without a label, unreadable images.
    """
    read = partial(_shard, image=image, label=label)
    how = (size, seed, crop, codec, skip_bad, progress)
    shards.prepare(Path(out_dir), "hf", dataset_at(str(path)), ".parquet", read, *how)


def _shard(file: Path, name: str, image: str | None, label: str | None) -> Shard:
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
