"""Datasets: each source is one function that writes a store for each of its splits."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridgepipe.datasets import (
    afhq,
    celebahq,
    cifar10,
    colors,
    digits,
    folder,
    i2sb_lmdb,
    imagenet,
    lsun,
    pairs,
    parquet,
    photos,
    points,
    webdataset,
)
from bridgepipe.errors import UserError

SOURCES: dict[str, Callable[..., None]] = {
    "digits": digits.prepare,
    "digit-classes": digits.prepare_classes,
    "sample-photos": photos.prepare,
    "photo-edges": photos.prepare_edges,
    "folder": folder.prepare,
    "hf": parquet.prepare,
    "webdataset": webdataset.prepare,
    "pairs": pairs.prepare,
    "imagenet": imagenet.prepare,
    "i2sb-lmdb": i2sb_lmdb.prepare,
    "cifar10": cifar10.prepare,
    "celebahq": celebahq.prepare,
    "afhq": afhq.prepare,
    "lsun": lsun.prepare,
    "points": points.prepare,
    "colors": colors.prepare,
}


def prepare(source: str, out_dir: str | Path, **arguments: Any) -> None:
    """Write the stores of a source.

    Args:
        source: one of `SOURCES`.
        out_dir: receives ``{split}.lmdb`` and, for pairs, ``{split}-source.lmdb``.
        arguments: those of the source's own function.

    Raises:
        UserError: unknown source, or as the source's function says.
        TypeError: an argument that the source does not know.
    """
    if source not in SOURCES:
        near = difflib.get_close_matches(source, SOURCES, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(SOURCES)}"
        raise UserError(f"unknown source {source!r}", "dataset", hint)
    SOURCES[source](out_dir, **arguments)
