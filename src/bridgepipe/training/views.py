"""Data augmentation: flips, rotations and colours, drawn for every position in the training order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bridgepipe.runtime.rng import ItemNoise

CONTRAST = (0.7, 1.2)  # factor of every colour
BRIGHTNESS = 0.2  # added to all colours, at most, in units of [-1, 1]


@dataclass(frozen=True)
class Views:
    """What is done to every image of a batch, and to the other half of its pair.

    Attributes:
        flipped: whether each image is mirrored left to right, bool [b,1,1,1]; None: none is.
        turned: quarter turns of each, int64 [b]; None: none.
        recoloured: order of the colours int64 [b,3], factor of each [b,3,1,1] and brightness [b,1,1,1];
            None: colours stay.
    """

    flipped: Tensor | None = None
    turned: Tensor | None = None
    recoloured: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Images ``[b, C, H, W]`` in [-1, 1] as they are seen; those given may be changed."""
        if self.flipped is not None:
            rows = self.flipped.flatten()
            # one by one, an image stays in the processor's cache; a GPU takes them together
            together = images.device.type != "cpu"
            for some in [rows] if together else rows.nonzero().flatten().tolist():
                images[some] = images[some].flip(-1)
        if self.turned is not None:
            images = torch.stack(
                [image.rot90(int(turns), (-2, -1)) for image, turns in zip(images, self.turned, strict=True)]
            )
        if self.recoloured is not None:
            order, factor, brightness = self.recoloured
            rows = torch.arange(len(images), device=images.device)[:, None]
            images = (images[rows, order] * factor + brightness).clamp(-1, 1)
        return images


AS_STORED = Views()


def draw(
    seed: int,
    positions: Sequence[int],
    device: torch.device,
    *,
    flip: bool = False,
    turn: bool = False,
    colours: float = 0.0,
) -> Views:
    """The views of some positions of the order of a training.

    Args:
        seed: seed of the training.
        positions: places in the training, whose views are drawn.
        device: device of the images.
        flip: mirror half of the images left to right.
        turn: mirror half of them, and turn each by 0 to 3 quarters: the eight symmetries of a square.
        colours: share of the images that have their three colours in any order, each with a contrast of
            its own, and a brightness.
    """
    noise = ItemNoise(seed, "flip", positions, device)
    flipped = noise.integers(2).bool().view(-1, 1, 1, 1) if flip or turn else None
    turned = ItemNoise(seed, "turn", positions, device).integers(4) if turn else None
    return Views(flipped, turned, _recoloured(seed, positions, device, colours) if colours else None)


def _recoloured(
    seed: int, positions: Sequence[int], device: torch.device, share: float
) -> tuple[Tensor, Tensor, Tensor]:
    drawn = ItemNoise(seed, "colours", positions, device).uniform((8,))
    chosen = drawn[:, :1] < share
    order = torch.where(chosen, drawn[:, 1:4].argsort(dim=1), torch.arange(3, device=device))
    low, high = CONTRAST
    factor = torch.where(chosen, low + (high - low) * drawn[:, 4:7], 1.0)
    brightness = torch.where(chosen, BRIGHTNESS * (2 * drawn[:, 7:] - 1), 0.0)
    return order, factor[..., None, None], brightness[..., None, None]
