"""Lossy files: images saved by Pillow's own libjpeg and libwebp and read again, in memory.

The same versions of Pillow and of its libraries give the same bytes on every machine; other versions may
differ by single levels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bridgepipe.corruptions.draws import Draws, Range, uniform
from bridgepipe.corruptions.linear import Linear
from bridgepipe.errors import UserError
from bridgepipe.runtime.rng import Noise

BLOCK = 8  # pixels between the lines of JPEG's grid


@dataclass(frozen=True)
class FileCodec:
    """A picture after it has been a file: 8 bits, rounded, quality by quality.

    Args:
        name: name of the corruption, for messages.
        format: format of the file.
        quality: 1..100, or the range that every image draws its own from.
        whole_colour: a JPEG keeps all of its colours (4:4:4), instead of half in each direction (4:2:0).
        twice: the picture has been such a file before, at a quality of its own from the same range, and
            was cropped in between: its first grid of blocks lies anywhere.
        by_ratio: qualities are drawn evenly over their logarithms: as many from 5 to 10 as from 20 to 40.
    """

    name: str
    format: Literal["JPEG", "WEBP"]
    quality: Range
    whole_colour: bool = False
    twice: bool = False
    by_ratio: bool = False

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        """The quality, when it is a range; with ``twice`` the first one, and where the first grid lay."""
        quality = self._drawn(shape[0], rng)
        if not self.twice:
            return (quality,)
        first, (down, across) = self._drawn(shape[0], rng), (uniform(rng, 2) * BLOCK).long().unbind(1)
        return quality, first, down, across

    def apply(self, x: Tensor, quality: Tensor, *before: Tensor) -> Tensor:
        """Images [B,1|3,H,W] in [-1, 1] as their files show them, on the 256 levels.

        Raises:
            UserError: another number of channels.
        """
        if x.shape[1] not in (1, 3):
            raise UserError(f"{x.shape[1]} channels", self.name, f"{self.format} takes 1 or 3 channels")
        pixels = ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(1, -1).cpu().numpy()
        if before:
            rows = zip(pixels, *(numbers.tolist() for numbers in before), strict=True)
            pixels = np.stack([self._cropped(*row) for row in rows])
        saved = np.stack([self._saved(*row) for row in zip(pixels, quality.tolist(), strict=True)])
        return (torch.from_numpy(saved).to(x.device).movedim(-1, 1).float() / 127.5 - 1).contiguous()

    def linear(self, shape: Sequence[int], quality: Tensor, *before: Tensor) -> Linear | None:
        """JPEG's, whose rounding is taken for linear (Kawar et al. 2022): saving twice changes little."""
        if before or self.format != "JPEG":
            return None
        return Linear(lambda x: self.apply(x, quality), lambda y: y)

    def _drawn(self, count: int, rng: Noise | None) -> Tensor:
        if not self.by_ratio:
            return self.quality.whole(count, rng)
        return self.quality.by_ratio(count, rng).round().long()

    def _cropped(self, image: np.ndarray, quality: int, down: int, across: int) -> np.ndarray:
        """uint8 [H,W,C] as a part of a file whose first block begins so many pixels above and left of it."""
        padded = np.pad(image, ((down, 0), (across, 0), (0, 0)), mode="edge")
        return self._saved(padded, quality)[down:, across:]

    def _saved(self, image: np.ndarray, quality: int) -> np.ndarray:
        """uint8 [H,W,C] through a file."""
        file = io.BytesIO()
        colours = "4:4:4" if self.whole_colour else "4:2:0"
        settings: dict[str, str | int] = {"subsampling": colours} if self.format == "JPEG" else {"method": 4}
        grey = image.shape[2] == 1
        Image.fromarray(image[..., 0] if grey else image).save(file, self.format, quality=quality, **settings)
        with Image.open(file, formats=[self.format]) as decoded:
            pixels = np.asarray(decoded.convert("L") if grey else decoded)
        return pixels[..., None] if grey else pixels
