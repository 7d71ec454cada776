"""Subsets of images: which ones, and a view of them.

The first images of a folder are all of one class, so whatever takes fewer than there are draws them here: by
chance, as many of every class as there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bridgepipe.artifacts import digest_of
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.names.classes import Label, brief, number_of
from bridgepipe.runtime.rng import generator

if TYPE_CHECKING:
    from torch import Tensor

    from bridgepipe.data.store import ImageStore

SEED = 0
ITEM = "item"  # array of a store: the number of each item in what it was made from
Indices = NDArray[np.int64]


def choose(
    count: int | None, total: int, labels: Sequence[int] | np.ndarray | None = None, seed: int = SEED
) -> Indices:
    """Ascending numbers of a subset of ``total`` items, balanced over their classes.

    The classes give one item each in turn, as long as they have any, so that their shares differ by one item
    at most unless a class runs out. A smaller subset is part of every larger one.

    Args:
        count: size of the subset; None, or more than there are: all of them.
        total: number of items.
        labels: class of every item; None: they have no classes.
        seed: seed of the choice, >= 0.
    """
    if count is None or count >= total:
        return np.arange(total)
    order = generator(seed, "subset", total).permutation(total)
    if labels is not None:
        order = order[np.argsort(_turns(np.asarray(labels)[order]), kind="stable")]
    return np.sort(order[:count])


def _turns(labels: np.ndarray) -> Indices:
    """For every item the number of items of its class before it."""
    by_class = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    turns = np.empty(len(labels), np.int64)
    turns[by_class] = np.arange(len(labels)) - np.repeat(first, sizes)
    return turns


def choose_from(store: Any, count: int | None, items: Sequence[int] | np.ndarray | None = None) -> Indices:
    """`choose` of the images of a store, or of those of them that are ``items``, by the store's labels."""
    among = np.arange(len(store)) if items is None else np.asarray(items, np.int64)
    labels = None if store.labels is None else store.labels[among]
    return among[choose(count, len(among), labels)]


def describe(count: int, total: int, seed: int = SEED) -> Json:
    """What `choose` took, for a card or a protocol."""
    how = "all" if count >= total else f"by chance, as many of every class, seed {seed}"
    return {"of": total, "chosen": how}


def items_of(store: Any) -> Indices:
    """Index of each item of a store in its source; 0, 1, 2, ... where the store does not record it."""
    return store.array(ITEM) if ITEM in store.card["arrays"] else np.arange(len(store))


class Subset:
    """The ``items`` of ``images``, in the order of ``items``; read when they are asked for."""

    def __init__(self, images: Any, items: Sequence[int] | np.ndarray) -> None:
        self.images, self.items = images, [int(item) for item in items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.images[self.items[index]]

    def batch(self, indices: Sequence[int]) -> Tensor:
        """`ImageStore.batch` of items of this subset."""
        return self.images.batch([self.items[int(i)] for i in indices])

    @property
    def digest(self) -> str:
        """Of the images and of their choice."""
        return digest_of({"images": self.images.digest, "items": self.items})


def items_of_class(images: ImageStore, label: Label, count: int | None = None) -> list[int]:
    """Items of a class of a store; all of a store without classes, or without a label.

    Args:
        label: the name of the class; a number counts in the list of the store, if no class is called so.

    Raises:
        UserError: the class is empty, or none of the store's.
    """
    if images.labels is None or label is None:
        return choose_from(images, count).tolist()
    names = images.classes
    listed = names is None or str(label) in names or (isinstance(label, int) and label < len(names))
    number = number_of(label, names, images.path) if listed else None
    found = [] if number is None else np.flatnonzero(images.labels == number).tolist()
    if not found:
        has = f" (it has {brief(names)})" if names else ""
        raise UserError(f"no images of class '{label}'{has}", images.path, "take another class or split")
    return choose_from(images, count, found).tolist()
