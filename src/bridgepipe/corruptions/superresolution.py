"""Fourfold downsampling, returned at full size so that both ends of a bridge have one shape."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bridgepipe.corruptions.linear import separable
from bridgepipe.errors import UserError

FACTOR = 4


def bicubic_matrix(size: int) -> Tensor:
    """One axis of the antialiased bicubic downsampling, float32 [size/4, size].

    16 taps of Keys' cubic with a = -1/2 stretched by four, summing to 1; beyond
    the border the image is mirrored, its edge pixel repeated.
    """
    taps = keys((torch.arange(16, dtype=torch.float64) - 7.5) / FACTOR)
    taps /= taps.sum()
    rows = torch.arange(size // FACTOR)[:, None]
    columns = mirrored(FACTOR * rows - 6 + torch.arange(16), size)
    matrix = torch.zeros(size // FACTOR, size, dtype=torch.float64)
    return matrix.scatter_add_(1, columns, taps.expand(len(rows), -1)).float()


def mirrored(index: Tensor, size: int) -> Tensor:
    """Positions of a signal continued by half-sample symmetric reflection: ... 1 0 | 0 1 2 ..."""
    folded = index % (2 * size)
    return torch.minimum(folded, 2 * size - 1 - folded)


class SuperResolution:
    """The image seen through a quarter of its pixels: reduced, then every pixel repeated 4 x 4.

    ``pool`` takes the mean of each 4 x 4 block, ``bicubic`` the filter of
    `bicubic_matrix`. Published and exact differ in one thing: bicubic
    overshoots at edges, and ``exact`` clips the result to [-1, 1].

    Args:
        filter: ``pool`` or ``bicubic``.
        size: height and width, multiples of 4.
        variant: ``published`` or ``exact``.

    Raises:
        UserError: a side is not a multiple of 4.
    """

    def __init__(
        self,
        filter: Literal["pool", "bicubic"],
        size: tuple[int, int],
        variant: Literal["published", "exact"] = "published",
    ) -> None:
        if size[0] % FACTOR or size[1] % FACTOR:
            raise UserError(
                f"{size[0]} x {size[1]} pixels cannot be reduced by 4",
                f"sr4x-{filter}",
                "make both sides multiples of 4",
            )
        self._axes = tuple(bicubic_matrix(side) for side in size) if filter == "bicubic" else None
        self._clip = filter == "bicubic" and variant == "exact"
        # of the filter: the few pixels that ``exact`` clips agree with their clipped values
        self.linear = separable(*(_through(side, filter) for side in size))

    def __call__(self, x: Tensor) -> Tensor:
        """Images [B,C,H,W] reduced and brought back to full size."""
        return F.interpolate(self.reduce(x), scale_factor=FACTOR, mode="nearest")

    def reduce(self, x: Tensor) -> Tensor:
        """The small image [B,C,H/4,W/4]."""
        if self._axes is None:
            return F.avg_pool2d(x, FACTOR)
        rows, columns = (matrix.to(x.device) for matrix in self._axes)
        small = rows @ x @ columns.T
        return small.clamp(-1, 1) if self._clip else small


def _through(size: int, filter: str) -> Tensor:
    """One axis of the whole operator, [size, size]: reduced and repeated."""
    means = torch.eye(size // FACTOR).repeat_interleave(FACTOR, dim=1) / FACTOR
    reduced = bicubic_matrix(size) if filter == "bicubic" else means
    return reduced.repeat_interleave(FACTOR, dim=0)


def keys(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (Keys 1981, eq. 15)."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
