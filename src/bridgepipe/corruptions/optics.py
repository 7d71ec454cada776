"""Blurs of a camera: of its motion, and of a lens out of focus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bridgepipe.corruptions.draws import Draws, Range, uniform
from bridgepipe.corruptions.linear import Linear, least_squares
from bridgepipe.corruptions.superresolution import mirrored
from bridgepipe.runtime.rng import Noise

POINTS = 4  # of a line, for every pixel of its length


@dataclass(frozen=True)
class Motion:
    """Every point becomes a straight line, of a length in pixels and of any direction."""

    length: Range

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        """The length, when it is a range, then the direction."""
        return self.length.evenly(shape[0], rng), math.pi * uniform(rng)

    def apply(self, x: Tensor, length: Tensor, angle: Tensor) -> Tensor:
        return blurred(x, lines(length, angle, self.length.high))

    def linear(self, shape: Sequence[int], length: Tensor, angle: Tensor) -> Linear | None:
        kernels = lines(length, angle, self.length.high)
        return least_squares(lambda x: blurred(x, kernels))


@dataclass(frozen=True)
class Defocus:
    """Every point becomes a disk, of a radius in pixels."""

    radius: Range

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        """The radius, when it is a range."""
        return (self.radius.evenly(shape[0], rng),)

    def apply(self, x: Tensor, radius: Tensor) -> Tensor:
        return blurred(x, disks(radius, self.radius.high))

    def linear(self, shape: Sequence[int], radius: Tensor) -> Linear | None:
        kernels = disks(radius, self.radius.high)
        return least_squares(lambda x: blurred(x, kernels))


def lines(length: Tensor, angle: Tensor, most: float) -> Tensor:
    """Kernels that sum to 1, of straight lines.

    Args:
        length, angle: length of the motion in pixels, and its angle in radians from the x axis, [B] each.
        most: the greatest length of any batch, from which the size of the kernels follows.

    Returns:
        float32 [B,K,K].
    """
    half, count = math.ceil(most / 2) + 1, POINTS * math.ceil(most)
    along = ((torch.arange(count) + 0.5) / count - 0.5) * length[:, None]
    grid = torch.arange(-half, half + 1)
    # a point of the line is shared by the pixels around it
    x, y = ((along * f(angle)[:, None])[..., None] - grid for f in (torch.cos, torch.sin))
    shares = [(1 - offset.abs()).clamp(min=0) for offset in (y, x)]
    return torch.einsum("bpi,bpj->bij", *shares) / count


def disks(radius: Tensor, most: float) -> Tensor:
    """Kernels [B,K,K] that sum to 1, of disks of radii [B] up to ``most``; edges count in part."""
    half = math.ceil(most + 0.5)
    grid = torch.arange(-half, half + 1)
    distance = torch.hypot(grid[:, None].float(), grid.float())
    covered = (radius[:, None, None] + 0.5 - distance).clamp(0, 1)
    return covered / covered.sum(dim=(1, 2), keepdim=True)


def blurred(x: Tensor, kernels: Tensor) -> Tensor:
    """Every image convolved with a kernel of its own; beyond the border the image is mirrored."""
    b, c, h, w = x.shape
    half = kernels.shape[-1] // 2
    rows, columns = (mirrored(torch.arange(-half, side + half), side).to(x.device) for side in (h, w))
    padded = x[:, :, rows][..., columns].reshape(1, b * c, h + 2 * half, w + 2 * half)
    weights = kernels.flip(1, 2).repeat_interleave(c, dim=0)[:, None].to(x.device)
    return F.conv2d(padded, weights, groups=b * c).reshape(b, c, h, w)
