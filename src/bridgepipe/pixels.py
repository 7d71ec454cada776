"""The border between pixels (uint8 HWC) and what networks see (float32 CHW in [-1, 1])."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bridgepipe.finite import finite


def to_uint8(x: Tensor, variant: Literal["published", "exact"] = "exact") -> np.ndarray:
    """[B,...,C,H,W] in [-1, 1] to uint8 [B,...,H,W,C].

    Args:
        variant: ``exact`` takes the nearest level, so that `from_uint8` and back changes no pixel.
            ``published`` truncates as I2SB and DDIB do: half a level darker on average, and 63 of the 256
            levels lose one on the way there and back.

    Raises:
        NotFinite: a pixel is not a number.
    """
    levels = ((finite(x, "a pixel").float() + 1) * 127.5).clamp(0, 255)
    pixels = (levels if variant == "published" else levels.round()).to(torch.uint8)
    return pixels.movedim(-3, -1).contiguous().cpu().numpy()


def from_uint8(pixels: np.ndarray) -> Tensor:
    """uint8 [B,H,W,C] to float32 [B,C,H,W] in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return (x.float() / 127.5 - 1).contiguous()
