"""Partitions that become one store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bridgepipe.data.store import ImageStore
from bridgepipe.data.storewriter import writer
from bridgepipe.errors import UserError


def gather(
    paths: Sequence[str | Path],
    out: str | Path,
    count: int | None = None,
    progress: bool | None = None,
) -> None:
    """Join partitions into one store, in the order of their global indices.

    The result has the same bytes however the items were divided.

    Args:
        paths: partitions, in any order, each written with its own ``first``.
        out: store to write.
        count: number of items that there must be; None takes what is there.
        progress: see `writer`.

    Raises:
        UserError: an index is missing or comes twice, or the partitions are not of one kind.
    """
    parts = sorted((ImageStore(path) for path in paths), key=lambda part: (part.first, len(part)))
    filled = [part for part in parts if len(part)]
    _contiguous(filled, count, out)
    _one_kind(filled, out)
    like = (filled or parts)[0].card
    with writer(
        out, like["made_by"], like["codec"], like["classes"], total=count, progress=progress
    ) as joined:
        for part in filled:
            names = part.names
            for index in range(len(part)):
                joined.put_encoded(part.encoded(index), part.card, names[index] if names else None)
        for name in like["arrays"]:
            joined.set_array(name, np.concatenate([part.array(name) for part in filled or parts[:1]]))


def _contiguous(parts: Sequence[ImageStore], count: int | None, out: str | Path) -> None:
    expected = 0
    for part in parts:
        if part.first != expected:
            what = f"items {expected} to {part.first - 1} are missing"
            if part.first < expected:
                what = f"items from {part.first} come twice"
            raise UserError(f"cannot join partitions: {what}", part.path, "give every partition once")
        expected += len(part)
    if count is not None and expected != count:
        raise UserError(
            f"cannot join partitions: {expected} items of {count}", out, "give every partition once"
        )


def _one_kind(parts: Sequence[ImageStore], out: str | Path) -> None:
    for part in parts[1:]:
        for key in ("shape", "dtype", "codec", "classes", "attributes", "made_by"):
            if part.card[key] != parts[0].card[key]:
                raise UserError(
                    f"cannot join partitions: {key} of {part.path.name} differs from {parts[0].path.name}",
                    out,
                    "delete the partitions and make them again",
                )
