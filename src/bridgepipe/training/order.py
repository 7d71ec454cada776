"""The order of the training data: an endless sequence of shuffled epochs, a function of the seed alone."""

from __future__ import annotations

from functools import lru_cache

from numpy.typing import NDArray

from bridgepipe.runtime.rng import generator


def order(seed: int, count: int, position: int) -> int:
    """Index of the item at ``position`` of the endless shuffled sequence over ``count`` items."""
    return int(_permutation(seed, count, position // count)[position % count])


@lru_cache(maxsize=8)  # two epochs at most meet in one batch of a data set that is larger than it
def _permutation(seed: int, count: int, epoch: int) -> NDArray:
    return generator(seed, "order", epoch).permutation(count)
