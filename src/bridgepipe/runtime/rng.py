"""Randomness that belongs to the item, not to the batch it happens to travel in.

Every item (an image of a dataset, a position in the training order) owns an
independent Philox stream keyed by (seed, purpose, item). Batch size, number of
partitions, device and number of processes therefore never change a result.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:  # `generator` needs none of it, and importing it takes a second
    import torch
    from torch import Tensor

MANY = 2**20  # draws that take longer than starting threads for them


class Normal(Protocol):
    """What samplers ask for; every draw has one row per item."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal draws, float32 ``[items, *shape]``."""
        ...


class Noise(Normal, Protocol):
    """What corruptions ask for, too."""

    def uniform(self, shape: Sequence[int] = ()) -> Tensor:
        """Draws from [0, 1), float32 ``[items, *shape]``."""
        ...

    def integers(self, high: int) -> Tensor:
        """One integer of [0, high) per item, int64 ``[items]``."""
        ...


def generator(seed: int, purpose: str, item: int = 0) -> np.random.Generator:
    """The stream of one item: independent for different (seed, purpose, item)."""
    key = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), item])
    return np.random.Generator(np.random.Philox(key))


def item_of(pixels: np.ndarray) -> int:
    """The item that an image is by what it shows, where no dataset numbers it: equal pixels, equal noise."""
    shape = ",".join(map(str, pixels.shape))
    return int(hashlib.sha256(shape.encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16], 16)


def _tensor(draws: np.ndarray, device: torch.device | str) -> Tensor:
    import torch

    return torch.from_numpy(draws).to(device)


class ItemNoise:
    """Streams of a batch of items, drawn on the CPU so that every device agrees.

    Args:
        seed: seed of the experiment, >= 0.
        purpose: name of what is drawn; different purposes are independent.
        items: index of every item of the batch.
        device: where the draws are returned.
    """

    def __init__(
        self,
        seed: int,
        purpose: str,
        items: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self._streams = [generator(seed, purpose, int(item)) for item in items]
        self._device = device

    def normal(self, shape: Sequence[int]) -> Tensor:
        import torch

        if len(self._streams) * math.prod(shape) < MANY:
            return self._stack(g.standard_normal(shape, dtype=np.float32) for g in self._streams)
        draws = np.empty((len(self._streams), *shape), np.float32)
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # drawing lets other threads run
            deque(pool.map(lambda g, out: g.standard_normal(out=out, dtype=np.float32), self._streams, draws))
        return _tensor(draws, self._device)

    def uniform(self, shape: Sequence[int] = ()) -> Tensor:
        return self._stack(g.random(shape, dtype=np.float32) for g in self._streams)

    def integers(self, high: int) -> Tensor:
        return self._stack(g.integers(high) for g in self._streams)

    def _stack(self, draws: Iterable[Any]) -> Tensor:
        return _tensor(np.stack([np.asarray(d) for d in draws]), self._device)


class BlockNoise:
    """Streams of blocks of consecutive items, for items so small that a stream of each would cost more.

    What an item draws depends on (seed, purpose, item) alone, as with `ItemNoise`, but differs from it.

    Args:
        seed, purpose, items, device: see `ItemNoise`.
    """

    SIZE = 1024

    def __init__(
        self,
        seed: int,
        purpose: str,
        items: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        numbers, self._row = np.divmod(np.asarray(items, dtype=np.int64), self.SIZE)
        blocks, self._block = np.unique(numbers, return_inverse=True)
        self._streams = [generator(seed, f"{purpose}-block", int(block)) for block in blocks]
        self._device = device

    def normal(self, shape: Sequence[int]) -> Tensor:
        return self._pick(g.standard_normal((self.SIZE, *shape), dtype=np.float32) for g in self._streams)

    def uniform(self, shape: Sequence[int] = ()) -> Tensor:
        return self._pick(g.random((self.SIZE, *shape), dtype=np.float32) for g in self._streams)

    def integers(self, high: int) -> Tensor:
        return self._pick(g.integers(high, size=self.SIZE) for g in self._streams)

    def _pick(self, draws: Iterable[Any]) -> Tensor:
        return _tensor(np.stack(list(draws))[self._block, self._row], self._device)


N = TypeVar("N", bound=Normal)


class FieldNoise:
    """Draws that belong to the place in a picture: a tile of it draws what the whole picture has there.

    Every block of pixels has a stream of its own for every draw.

    Args:
        seed, purpose, items, device: see `ItemNoise`.
        top, left: first row and column of what is drawn.
    """

    SIDE = 64

    def __init__(
        self,
        seed: int,
        purpose: str,
        items: Sequence[int],
        device: torch.device | str = "cpu",
        top: int = 0,
        left: int = 0,
    ) -> None:
        self._key, self._items, self._device = (seed, zlib.crc32(f"{purpose}-field".encode())), items, device
        self._corner, self._draws = (top, left), 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        """As of `Noise`; the shape ends with rows and columns."""
        self._draws += 1
        (top, left), (height, width) = self._corner, shape[-2:]
        rows, columns = (
            range(at // self.SIDE, -(-(at + n) // self.SIDE)) for at, n in ((top, height), (left, width))
        )
        size = (*shape[:-2], len(rows) * self.SIDE, len(columns) * self.SIDE)
        drawn = np.empty((len(self._items), *size), np.float32)
        for (k, item), (i, row), (j, column) in product(*map(enumerate, (self._items, rows, columns))):
            at = [slice(self.SIDE * n, self.SIDE * (n + 1)) for n in (i, j)]
            drawn[k, ..., at[0], at[1]] = self._block(item, row, column, shape[:-2])
        top, left = top - rows[0] * self.SIDE, left - columns[0] * self.SIDE
        return _tensor(drawn[..., top : top + height, left : left + width], self._device)

    def _block(self, item: int, row: int, column: int, shape: Sequence[int]) -> np.ndarray:
        key = np.random.SeedSequence([*self._key, int(item), self._draws, row, column])
        stream = np.random.Generator(np.random.Philox(key))
        return stream.standard_normal((*shape, self.SIDE, self.SIDE), dtype=np.float32)


class Replay:
    """Recorded draws, handed out in order: a run with known noise can be replayed.

    Args:
        draws: tensors ``[items, *shape]`` in the order in which they are consumed.
    """

    def __init__(self, draws: Sequence[Tensor]) -> None:
        self._draws = iter(draws)

    def normal(self, shape: Sequence[int]) -> Tensor:
        draw = next(self._draws, None)
        if draw is None:
            raise ValueError("the recorded noise is used up")
        if tuple(draw.shape[1:]) != tuple(shape):
            raise ValueError(f"recorded noise is {tuple(draw.shape[1:])}, asked for {tuple(shape)}")
        return draw

    def uniform(self, shape: Sequence[int] = ()) -> Tensor:
        return self.normal(shape)

    def integers(self, high: int) -> Tensor:
        return self.normal(()).long() % high


def repeat_seed(seed: int, repeat: int) -> int:
    """Seed of the noise of one of several repeats, independent for each; the first keeps the seed itself.

    Trainings that differ in their seed are repeats of one experiment. Would their models be given the same
    noise, the spread over the repeats would lack that of the noise.
    """
    if repeat == 0:
        return seed
    return int(np.random.SeedSequence([seed, zlib.crc32(b"repeat"), repeat]).generate_state(1, np.uint64)[0])


def as_noise(rng: N | Sequence[Tensor]) -> N | Replay:
    """A list of tensors is replayed; anything else is a source of noise already."""
    return Replay(rng) if isinstance(rng, list | tuple) else rng  # type: ignore[return-value]
