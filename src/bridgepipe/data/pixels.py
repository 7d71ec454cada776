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


def to_levels(x: Tensor, dtype: np.dtype) -> np.ndarray:
    """[B,C,H,W] in [-1, 1] to the nearest level of an unsigned type, uint8 or uint16 [B,H,W,C].

    Raises:
        NotFinite: a pixel is not a number.
    """
    half = np.iinfo(dtype).max / 2
    levels = ((finite(x, "a pixel").float() + 1) * half).round().clamp(0, 2 * half)
    return levels.to(torch.int32).movedim(-3, -1).cpu().numpy().astype(dtype)


def from_levels(pixels: np.ndarray) -> Tensor:
    """uint8 or uint16 [B,H,W,C] to float32 [B,C,H,W] in [-1, 1]."""
    x = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)
    return (x / (np.iinfo(pixels.dtype).max / 2) - 1).contiguous()


def from_uint8(pixels: np.ndarray) -> Tensor:
    """uint8 [B,H,W,C] to float32 [B,C,H,W] in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return (x.float() / 127.5 - 1).contiguous()
