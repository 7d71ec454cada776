"""What networks make of JPEG files of whole photographs that no training has seen.

Each photograph is saved as a JPEG file (4:2:0, as Pillow writes it), decoded and restored.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from skimage.metrics import structural_similarity

from bridgepipe.evaluation.restoration import Quality, psnr
from bridgepipe.runtime import running

QUALITIES = (5, 10, 20, 40)
DECODED = "JPEG"  # what the decoder of JPEG files shows, before any network
ORIGINAL = "original"
Restore = Callable[[np.ndarray], np.ndarray]  # uint8 [H,W,3] -> the same


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """What a decoder shows of a photograph [H,W,3] that was saved as a JPEG file, uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def ssim(clean: np.ndarray, image: np.ndarray) -> float:
    """Of uint8 images [H,W,3] with the Gaussian window of Wang et al. 2004, borders left out.

    `restoration.quality` counts the borders, and takes seconds for a whole photograph.
    """
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(clean, image, channel_axis=2, data_range=255, **window))


@dataclass(frozen=True)
class Comparison:
    """Photographs as JPEG files of several qualities, and as networks restore them.

    Attributes:
        names, qualities: name and JPEG quality of every file.
        images: uint8 [H,W,3] of every file, by what made them: `DECODED`, the networks, `ORIGINAL`.
    """

    names: list[str]
    qualities: list[int]
    images: dict[str, list[np.ndarray]]

    def measured(self) -> dict[str, Quality]:
        """PSNR and SSIM of every file, of all but the originals."""
        return {
            made: Quality(*([of(*pair) for pair in self._pairs(made)] for of in (psnr, ssim)))
            for made in self.images
            if made != ORIGINAL
        }

    def _pairs(self, made: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return zip(self.images[ORIGINAL], self.images[made], strict=True)

    def table(self) -> pd.DataFrame:
        """A row for each photograph and quality, then the means over the photographs for each quality."""
        measured = self.measured()
        values = {f"PSNR, {made}": found.psnr for made, found in measured.items()}
        values |= {f"SSIM, {made}": found.ssim for made, found in measured.items()}
        frame = pd.DataFrame({"photograph": self.names, "quality": self.qualities, **values})
        means = frame.groupby("quality", as_index=False)[list(values)].mean()
        means.insert(0, "photograph", f"mean of {frame['photograph'].nunique()}")
        return pd.concat([frame, means], ignore_index=True)

    def middles(self, side: int, quality: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Squares [N,side,side,3] from the middle of some photographs at one quality, by what made them."""
        rows = [k for k, name in enumerate(self.names) if name in names and self.qualities[k] == quality]
        return {
            made: np.stack([_middle(found[row], side) for row in rows]) for made, found in self.images.items()
        }


def compare(
    photographs: Mapping[str, np.ndarray],
    networks: Mapping[str, Restore],
    qualities: Sequence[int] | None = None,
) -> Comparison:
    """Restore JPEG files of photographs by each of some networks, file by file as by `running.shared`.

    Args:
        photographs: uint8 [H,W,3] by name.
        networks: networks by name.
        qualities: JPEG qualities; None: `QUALITIES`.
    """
    files = [(name, quality) for name in photographs for quality in qualities or QUALITIES]
    decoded = [as_jpeg(photographs[name], quality) for name, quality in files]

    def restored(name: str, network: Restore) -> list[np.ndarray]:
        def one(piece: Sequence[int]) -> np.ndarray:
            return network(decoded[piece[0]])[None]

        label = f"restoring by {name}"
        return [image for (image,) in running.shared(one, range(len(decoded)), 1, label, pad=False)]

    images = {DECODED: decoded, **{name: restored(name, network) for name, network in networks.items()}}
    images[ORIGINAL] = [photographs[name] for name, _ in files]
    return Comparison([name for name, _ in files], [quality for _, quality in files], images)


def _middle(pixels: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]
