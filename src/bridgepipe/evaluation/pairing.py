"""Which image of one set belongs to which image of another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bridgepipe.data.subset import items_of
from bridgepipe.datasets.items import some
from bridgepipe.errors import UserError
from bridgepipe.evaluation.image_sets import Files, ImageSet


@dataclass(frozen=True)
class Pairs:
    """Numbers of images of two sets that belong together, and how that is known: by name, origin or order."""

    first: np.ndarray
    second: np.ndarray
    how: str


def pair(a: ImageSet, b: ImageSet, how: str = "auto") -> Pairs | str:
    """The image of ``b`` that each image of ``a`` is to equal, or why there are no pairs.

    Args:
        how: ``names``, ``order``, ``none``; ``auto``: by what made a store, else by names, else,
            where one of them has no names, by order. The order of a folder is that of its names, in which
            numbers count by value.

    Raises:
        UserError: there are no pairs of the kind that was asked for.
    """
    if how == "none":
        return "not asked for"
    if a.images is None or b.images is None:
        found: Pairs | str = f"{(a if a.images is None else b).path} holds no images"
    elif how == "order":
        found = _by_order(a, b)
    elif how == "auto" and (by_lineage := _by_lineage(a, b)) is not None:
        return by_lineage
    elif a.names is not None and b.names is not None:
        found = _by_name(a.names, b.names)
    else:
        found = _by_order(a, b) if how == "auto" else "one of them has no names"
    if isinstance(found, str) and how != "auto":
        raise UserError(
            f"no pairs: {found}", f"--pairs {how}", "give sets that belong together, or other pairs"
        )
    return found


def _by_lineage(a: ImageSet, b: ImageSet) -> Pairs | None:
    """Pairs of a store and the store that it was made from, by its card; None where it was not."""
    made, source = a.store, b.store
    if made is None or source is None or made.card["made_by"].get("data") != source.digest:
        return None
    items = items_of(made)
    return Pairs(np.arange(len(made)), items, "by origin") if len(items) == len(made) else None


def _by_name(first: Sequence[str], second: Sequence[str]) -> Pairs | str:
    for names, others in ((first, second), _bare(first, second)):
        number = {name: k for k, name in enumerate(others)}
        if len(number) == len(others) and all(name in number for name in names):
            return Pairs(np.arange(len(names)), np.array([number[name] for name in names]), "by name")
    lonely = [name for name in first if name not in set(second)]
    return f"no image of the same name for {some(lonely)}" if lonely else "names that come twice"


def _bare(*names: Sequence[str]) -> tuple[list[str], ...]:
    """Without folders."""
    return tuple([name.rpartition("/")[2] for name in some_names] for some_names in names)


def _by_order(a: ImageSet, b: ImageSet) -> Pairs | str:
    if a.n != b.n:
        return f"{a.n} images and {b.n}"
    second = np.empty(b.n, np.int64)
    second[_order(a)] = _order(b)
    return Pairs(np.arange(a.n), second, "in order")


def _order(one: ImageSet) -> np.ndarray:
    """Numbers of the images in their order, which a folder has by its names alone: 2.png before 10.png."""
    names = one.names if isinstance(one.images, Files) else None
    if names is None:
        return np.arange(one.n)
    return np.array(sorted(range(one.n), key=lambda k: _by_value(names[k])))


def _by_value(name: str) -> list[str | int]:
    """Text and, at every odd place, numbers, which are compared by value."""
    return [int(part) if k % 2 else part for k, part in enumerate(re.split(r"(\d+)", name))]
