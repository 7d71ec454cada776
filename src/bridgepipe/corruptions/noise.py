"""Noise of a sensor: the same everywhere (Gaussian), or growing with the light (Poisson)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bridgepipe.corruptions.draws import Draws, Range, uniform
from bridgepipe.corruptions.linear import Linear
from bridgepipe.runtime.rng import Noise


@dataclass(frozen=True)
class Gaussian:
    """Gaussian noise, cut off at black and white as in a file.

    Args:
        levels: standard deviation in grey levels of 255.
    """

    levels: Range

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        """The standard deviation, when it is a range, then the noise."""
        level = self.levels.evenly(shape[0], rng)
        if rng is None:
            raise ValueError("noise needs rng")
        return level, rng.normal(shape[1:]).cpu()

    def apply(self, x: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        added = level[:, None, None, None] / 127.5 * noise
        return (x + added.to(x.device)).clamp(-1, 1)

    def linear(self, shape: Sequence[int], *draws: Tensor) -> Linear | None:
        return None


@dataclass(frozen=True)
class Poisson:
    """Photons are counted: the variance of a pixel grows with its brightness; cut off at white.

    Args:
        photons: counted at white; fewer are noisier.
    """

    photons: Range

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        """The photons, when they are a range, evenly by their logarithm; then a seed of the counts."""
        return self.photons.by_ratio(shape[0], rng), uniform(rng, 2)

    def apply(self, x: Tensor, photons: Tensor, seeds: Tensor) -> Tensor:
        counts = torch.empty_like(x, device="cpu")
        for image, count, peak, seed in zip(x.cpu(), counts, photons, seeds, strict=True):
            high, low = (seed.double() * 2**24).long().tolist()
            own = torch.Generator().manual_seed(high << 24 | low)
            count.copy_(torch.poisson((image + 1).clamp(0, 2) / 2 * peak, generator=own))
        return (counts / photons[:, None, None, None] * 2 - 1).clamp(-1, 1).to(x.device)

    def linear(self, shape: Sequence[int], *draws: Tensor) -> Linear | None:
        return None
