"""Degradations with numbers of their own for every image: first all numbers are drawn, then they are applied.

What an image draws does not depend on the batch that it comes in, nor on what else is done to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bridgepipe.corruptions.linear import Linear
from bridgepipe.runtime.rng import Noise

Draws = tuple[Any, ...]  # tensors, each with one row for every image


class Operator(Protocol):
    """One degradation of images [B,C,H,W] in [-1, 1]."""

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        """The numbers of every image of a batch of a shape; ``rng`` may be None where nothing is drawn."""
        ...

    def apply(self, x: Tensor, *draws: Any) -> Tensor:
        """Degraded images of the same shape."""
        ...

    def linear(self, shape: Sequence[int], *draws: Any) -> Linear | None:
        """The same as a linear operator; None: it is none."""
        ...


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``; nothing is drawn where the two are equal."""

    low: float
    high: float

    def whole(self, count: int, rng: Noise | None) -> Tensor:
        """A whole number for each image, int64 [B], all of the range equally often."""
        if self.low == self.high:
            return torch.full((count,), int(self.low))
        span = int(self.high) - int(self.low) + 1
        return int(self.low) + (uniform(rng) * span).floor().clamp(max=span - 1).long()

    def evenly(self, count: int, rng: Noise | None) -> Tensor:
        """A number for each image, float32 [B], evenly over the range."""
        if self.low == self.high:
            return torch.full((count,), float(self.low))
        return self.low + (self.high - self.low) * uniform(rng)

    def by_ratio(self, count: int, rng: Noise | None) -> Tensor:
        """A number for each image, float32 [B], evenly over the logarithms of the range."""
        if self.low == self.high:
            return self.evenly(count, rng)
        return Range(math.log(self.low), math.log(self.high)).evenly(count, rng).exp()


def uniform(rng: Noise | None, *shape: int) -> Tensor:
    """Draws from [0, 1) on the CPU, of shape ``[B, *shape]``.

    Raises:
        ValueError: there is no source of randomness.
    """
    if rng is None:
        raise ValueError("every image draws numbers of its own: give rng")
    return rng.uniform(shape).cpu()


@dataclass(frozen=True)
class Chain:
    """Several degradations, one after another.

    Args:
        parts: the corruptions, in the order in which their numbers are drawn.
        shuffled: every image draws the order in which they are applied; else it is that of ``parts``.
    """

    parts: Sequence[Operator]
    shuffled: bool

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        drawn = [part.draw(shape, rng) for part in self.parts]
        steps = torch.arange(len(self.parts)).expand(shape[0], -1)
        order = uniform(rng, len(self.parts)).argsort(dim=1) if self.shuffled else steps
        return order, drawn

    def apply(self, x: Tensor, order: Tensor, drawn: Sequence[Draws]) -> Tensor:
        x = x.clone()
        for step in order.unbind(1):
            for number, (part, draws) in enumerate(zip(self.parts, drawn, strict=True)):
                mine = (step == number).nonzero().flatten()
                if len(mine):
                    x[mine] = part.apply(x[mine], *(draw[mine.to(draw.device)] for draw in draws))
        return x

    def linear(self, shape: Sequence[int], order: Tensor, drawn: Sequence[Draws]) -> Linear | None:
        return None
