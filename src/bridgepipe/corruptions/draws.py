"""Numbers of a degradation: fixed, or drawn for every image from a range of its own randomness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bridgepipe.rng import Noise


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``; nothing is drawn where the two are equal."""

    low: float
    high: float

    def whole(self, count: int, rng: Noise | None) -> list[int]:
        """A whole number for each image, all of the range equally often."""
        if self.low == self.high:
            return [int(self.low)] * count
        span = int(self.high) - int(self.low) + 1
        return (int(self.low) + (self._uniform(rng) * span).floor().clamp(max=span - 1).long()).tolist()

    def evenly(self, count: int, rng: Noise | None) -> Tensor:
        """A number for each image, float32 [B], evenly over the range."""
        if self.low == self.high:
            return torch.full((count,), float(self.low))
        return self.low + (self.high - self.low) * self._uniform(rng)

    def by_ratio(self, count: int, rng: Noise | None) -> Tensor:
        """A number for each image, float32 [B], evenly over the logarithms of the range."""
        return Range(math.log(self.low), math.log(self.high)).evenly(count, rng).exp()

    @staticmethod
    def _uniform(rng: Noise | None) -> Tensor:
        if rng is None:
            raise ValueError("a range needs rng: every image draws its own number")
        return rng.uniform().cpu()
