"""Scratches of an old print or film: thin, long, mostly upright, a little bent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bridgepipe.corruptions.draws import Draws, Range, uniform
from bridgepipe.corruptions.inpaint import whiten_hole
from bridgepipe.corruptions.linear import Linear
from bridgepipe.runtime.rng import Noise

NUMBERS = 6  # that a scratch draws: place (2), direction, length, width, bend


@dataclass(frozen=True)
class Scratches:
    """White scratches.

    Args:
        count: scratches per image.
    """

    count: Range

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        """The count, when it is a range, then six numbers of each scratch, of the most there may be."""
        return self.count.whole(shape[0], rng), uniform(rng, int(self.count.high), NUMBERS)

    def apply(self, x: Tensor, count: Tensor, numbers: Tensor) -> Tensor:
        return whiten_hole(x, self.mask(x.shape, count, numbers).to(x.device))

    def linear(self, shape: Sequence[int], *draws: Tensor) -> Linear | None:
        return None

    def mask(self, shape: Sequence[int], count: Tensor, numbers: Tensor) -> Tensor:
        """Where the scratches are, float32 [B,1,H,W], 1 = scratched."""
        height, width = shape[-2:]
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        mask = torch.zeros(shape[0], 1, height, width)
        for scratch in range(numbers.shape[1]):
            top, left, turn, long, wide, bend = numbers[:, scratch, :, None, None].unbind(1)
            angle = (turn - 0.5) * 0.8  # from upright, in radians
            dx, dy = x - left * width, y - top * height
            along = dy * angle.cos() + dx * angle.sin()
            across = dx * angle.cos() - dy * angle.sin()
            length = (0.2 + 0.8 * long) * height
            bent = across - (bend - 0.5) * 0.3 * along.square() / height
            thick = 0.5 + wide * max(height, width) / 256
            there = (bent.abs() < thick) & (along.abs() < length / 2) & (scratch < count[:, None, None])
            mask[:, 0] = torch.maximum(mask[:, 0], there.float())
        return mask
