"""Pictures that were made smaller by any factor, and brought back to their size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from bridgepipe.corruptions.draws import Draws, Range
from bridgepipe.corruptions.linear import Linear, separable
from bridgepipe.corruptions.superresolution import keys, mirrored
from bridgepipe.runtime.rng import Noise


def _box(x: Tensor) -> Tensor:
    return ((x >= -0.5) & (x < 0.5)).double()


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), 0)


# name -> kernel, and half its width in pixels of the smaller picture
KERNELS = {
    "box": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "bicubic": (keys, 2.0),
    "lanczos": (_lanczos, 3.0),
}


@dataclass(frozen=True)
class Downscale:
    """Made smaller by a kernel that is widened by the factor, and larger again by the same kernel.

    Args:
        factor: number by which both sides are divided, rounded to whole pixels.
        kernel: one of `KERNELS`.
    """

    factor: Range
    kernel: str

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        """The factor, when it is a range, evenly by its logarithm."""
        return (self.factor.by_ratio(shape[0], rng),)

    def apply(self, x: Tensor, factor: Tensor) -> Tensor:
        rows, columns = self._matrices(x.shape, factor)
        return rows[:, None].to(x.device) @ x @ columns[:, None].mT.to(x.device)

    def linear(self, shape: Sequence[int], factor: Tensor) -> Linear | None:
        return separable(*self._matrices(shape, factor))

    def _matrices(self, shape: Sequence[int], factor: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = (
            torch.stack([there_and_back(side, max(round(side / f), 1), self.kernel) for f in factor.tolist()])
            for side in shape[-2:]
        )
        return rows, columns


@lru_cache(maxsize=1024)
def there_and_back(size: int, small: int, kernel: str) -> Tensor:
    """One axis made smaller and larger again, float32 [size, size]; rows sum to 1."""
    return (resizing(small, size, kernel) @ resizing(size, small, kernel)).float()


def resizing(size: int, target: int, kernel: str) -> Tensor:
    """One axis resized, float64 [target, size]; rows sum to 1, beyond the border the image is mirrored."""
    weight, radius = KERNELS[kernel]
    scale = size / target
    wide = max(scale, 1.0)
    centres = (torch.arange(target, dtype=torch.float64) + 0.5) * scale - 0.5
    first = (centres - radius * wide).ceil().long()
    index = first[:, None] + torch.arange(math.floor(2 * radius * wide) + 1)
    taps = weight((index - centres[:, None]) / wide)
    taps = taps / taps.sum(dim=1, keepdim=True)
    matrix = torch.zeros(target, size, dtype=torch.float64)
    return matrix.scatter_add_(1, mirrored(index, size), taps)
