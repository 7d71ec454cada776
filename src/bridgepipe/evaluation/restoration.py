"""How close restored images are to the originals, and how close the corrupted ones were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bridgepipe.errors import UserError
from bridgepipe.evaluation.features import Images
from bridgepipe.evaluation.protocol import Estimate
from bridgepipe.runtime import running

# The PSNR of two equal images is infinite, which neither a mean nor JSON can hold.
PSNR_OF_EQUAL_IMAGES = 100.0
WINDOW = 11  # pixels of a side of SSIM's Gaussian window; borders are padded by reflection
SMALLEST_SIDE = WINDOW // 2 + 1
C1, C2 = pow(0.01 * 255, 2), pow(0.03 * 255, 2)
BATCH = 64  # images that a process takes at a time


@dataclass(frozen=True)
class Quality:
    """PSNR in dB and SSIM of every image, in order."""

    psnr: list[float]
    ssim: list[float]

    def values(self, suffix: str = "", sources: Sequence[str] | None = None) -> dict[str, float]:
        """Both means, each with its 95 % interval where it can be told; sources as in `Estimate.of`."""
        found: dict[str, float] = {}
        for name, values in (("psnr", self.psnr), ("ssim", self.ssim)):
            found |= Estimate.of(values, sources).values(f"{name}{suffix}")
        return found


@dataclass(frozen=True)
class Restoration:
    """Quality of the restored images beside that of the corrupted ones: what was gained."""

    restored: Quality
    corrupted: Quality

    def means(self, sources: Sequence[str] | None = None) -> dict[str, float]:
        """The four means and the two gains, image by image, each with its interval, for a metric file."""
        restored, corrupted = self.restored, self.corrupted
        gains = {
            "psnr_gain": np.subtract(restored.psnr, corrupted.psnr),
            "ssim_gain": np.subtract(restored.ssim, corrupted.ssim),
        }
        found = restored.values("", sources) | corrupted.values("_corrupted", sources)
        for name, gain in gains.items():
            found |= Estimate.of(gain, sources).values(name)
        return found


def restoration(restored: Images, corrupted: Images, originals: Images) -> Restoration:
    """`quality` of restored and of corrupted images against the same originals."""
    return Restoration(
        quality(restored, originals, "restored images"), quality(corrupted, originals, "corrupted images")
    )


def quality(images: Images, originals: Images, label: str = "images") -> Quality:
    """PSNR and SSIM of each of ``images``, on uint8 values (data range 255), sizes may vary.

    Several processes share the images, and each returns the whole.

    Args:
        images: restored or corrupted images, uint8 HWC arrays of at least 6 pixels a side.
        originals: the images that they should be, in the same order.
        label: name of the images in messages and in the progress bar.

    Raises:
        UserError: no images, or number or size differ, or an image is too small for SSIM.
    """
    if len(images) != len(originals) or len(images) == 0:
        raise UserError(
            f"{len(images)} images against {len(originals)} originals", label, "give every image its original"
        )

    def run(piece: Sequence[int]) -> np.ndarray:
        return np.array([_of_pair(images[i], originals[i], f"{label}, number {i}") for i in piece])

    found = np.concatenate(running.shared_by_all(run, range(len(images)), BATCH, label, pad=False))
    return Quality(found[:, 0].tolist(), found[:, 1].tolist())


def _of_pair(image: np.ndarray, original: np.ndarray, where: str) -> tuple[float, float]:
    if image.shape != original.shape:
        raise UserError(
            f"size {image.shape}, its original has {original.shape}", where, "compare images of the same size"
        )
    if min(image.shape[:2]) < SMALLEST_SIDE:
        raise UserError(
            f"size {image.shape} is too small for SSIM",
            where,
            f"use images of {SMALLEST_SIDE} pixels or more",
        )
    return psnr(image, original), _ssim(image, original)


def psnr(image: np.ndarray, original: np.ndarray) -> float:
    """Of uint8 images of one shape, in dB; 100 of equal ones."""
    error = np.square(image.astype(np.float64) - original).mean()
    return min(PSNR_OF_EQUAL_IMAGES, float(10 * np.log10(255**2 / error))) if error else PSNR_OF_EQUAL_IMAGES


def _ssim(image: np.ndarray, original: np.ndarray) -> float:
    """Mean structural similarity (Wang et al. 2004, equation 13), its constants those of the paper.

    To the last bit what torchmetrics finds, whose import takes three times as long as that of PyTorch.
    """
    # float64 [1,C,H,W]: variances are differences of large squares
    x, y = (
        F.pad(torch.from_numpy(np.array(v)).permute(2, 0, 1)[None].double(), [WINDOW // 2] * 4, "reflect")
        for v in (image, original)
    )
    channels = x.shape[1]
    weights = _window().expand(channels, 1, WINDOW, WINDOW)
    means = F.conv2d(torch.cat((x, y, x * x, y * y, x * y)), weights, groups=channels)
    mean_x, mean_y, square_x, square_y, product = means.split(1)
    var_x = (square_x - mean_x.pow(2)).clamp(min=0)
    var_y = (square_y - mean_y.pow(2)).clamp(min=0)
    both = mean_x * mean_y
    above = (2 * both + C1) * (2 * (product - both) + C2)
    below = (mean_x.pow(2) + mean_y.pow(2) + C1) * (var_x + var_y + C2)
    return float((above / below).reshape(1, -1).mean(-1))


@cache
def _window() -> Tensor:
    """Gaussian weights of standard deviation 1.5, float64 ``[11, 11]``, their sum 1."""
    weights = torch.exp(-(torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2).div(1.5).pow(2) / 2)
    along = (weights / weights.sum())[None]
    return along.T @ along
