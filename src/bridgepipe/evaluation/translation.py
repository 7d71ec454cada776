"""Similarity of translations to their source, compared with that of unrelated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bridgepipe.errors import UserError
from bridgepipe.evaluation.extractors import Extractor
from bridgepipe.evaluation.features import Images, per_image
from bridgepipe.evaluation.protocol import Estimate
from bridgepipe.evaluation.restoration import quality
from bridgepipe.runtime.rng import generator


@dataclass(frozen=True)
class Likeness:
    """Similarity of images to others, one number per pair of images.

    Attributes:
        psnr: peak signal-to-noise ratio in dB.
        ssim: structural similarity.
        distance: Euclidean, between the features of an extractor.
    """

    psnr: np.ndarray
    ssim: np.ndarray
    distance: np.ndarray

    def means(self, suffix: str = "", sources: Sequence[str] | None = None) -> dict[str, float]:
        """Each mean with its 95 % interval over the pairs; sources as in `Estimate.of`."""
        found: dict[str, float] = {}
        for name, value in vars(self).items():
            found |= Estimate.of(value, sources).values(f"{name}{suffix}")
        return found

    def gains(self, other: Likeness, suffix: str, sources: Sequence[str] | None = None) -> dict[str, float]:
        """Mean of how much nearer than ``other``, pair by pair, with its 95 % interval."""
        found: dict[str, float] = {}
        for name, value in vars(self).items():
            gain = (getattr(other, name) - value) if name == "distance" else value - getattr(other, name)
            found |= Estimate.of(gain, sources).values(f"{name}_gain{suffix}")
        return found


def likeness(images: Images, sources: Images, extractor: Extractor, batch_size: int = 64) -> Likeness:
    """Each of ``images`` against the one of ``sources`` with its number, as many of both."""
    found = quality(images, sources, "translations")
    a, b = (per_image(extractor.features, x, batch_size, "features") for x in (images, sources))
    distance = (a - b).norm(dim=1).numpy().astype(np.float64)
    return Likeness(np.array(found.psnr), np.array(found.ssim), distance)


def others(count: int, seed: int = 0) -> np.ndarray:
    """For each of ``count`` items another one, all of them in turn.

    Raises:
        UserError: fewer than 2 items.
    """
    if count < 2:
        raise UserError(f"{count} translations", "likeness", "translate 2 images or more")
    order = generator(seed, "others").permutation(count)
    partner = np.empty(count, np.int64)
    partner[order] = np.roll(order, 1)
    return partner


def partners(count: int, among: int, seed: int = 0) -> np.ndarray:
    """``count`` draws of ``among`` images, each before any comes again."""
    rng = generator(seed, "partners")
    rounds = [rng.permutation(among) for _ in range(-(-count // among))]
    return np.concatenate(rounds)[:count]
