"""Lossy JPEG compression at a quality, without the entropy coding, which loses nothing."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bridgepipe.corruptions.linear import Linear
from bridgepipe.errors import UserError

# Annex K of the JPEG standard (ITU-T T.81), tables K.1 and K.2.
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# RGB to Y, Cb, Cr: rounded to four digits as published, and JFIF's own.
YCBCR = {
    "published": ((0.299, 0.587, 0.114), (-0.1687, -0.3313, 0.5), (0.5, -0.4187, -0.0813)),
    "exact": ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)),
}


def quantisation(quality: int) -> tuple[Tensor, Tensor]:
    """Steps of the luma and chroma coefficients, float32 [8,8] each, for a quality of 1..100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality

    def scaled(table: tuple[tuple[int, ...], ...]) -> Tensor:
        steps = torch.div(torch.tensor(table) * scale + 50, 100, rounding_mode="floor")
        return steps.clamp(1, 255).float()

    return scaled(LUMA), scaled(CHROMA)


def dct_matrix() -> Tensor:
    """Orthonormal DCT-II of length 8, float32 [frequency, sample]."""
    k, i = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    rows = torch.cos((2 * i + 1) * k * math.pi / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows.float()


class Jpeg:
    """JPEG with 4:2:0 chroma (colour) or luma only (one channel).

    ``published`` keeps float values throughout: pixels are not rounded before
    and neither rounded nor clipped afterwards, so the result can leave [-1, 1];
    chroma keeps the top-left pixel of every 2x2 and comes back repeated; YCbCr
    uses coefficients of four digits.

    ``exact`` is the usual baseline codec: 8-bit pixels and planes, chroma
    averaged over 2x2 and brought back by the triangle filter, JFIF's
    coefficients, sides padded by repeating the edge. It agrees with libjpeg to
    one grey level on average; single blocks differ by more where a coefficient
    lies between two quantisation steps and the integer DCT decides otherwise.

    Args:
        quality: JPEG quality, 1 to 100.
        size: height and width; as published, multiples of 16 (8 for one channel).
        variant: ``published`` or ``exact``.

    Raises:
        UserError: quality out of range, or a size that the published variant does not admit.
    """

    def __init__(
        self, quality: int, size: tuple[int, int], variant: Literal["published", "exact"] = "published"
    ) -> None:
        if not 1 <= quality <= 100:
            raise UserError(f"JPEG quality {quality}", f"jpeg-{quality}", "choose 1 (worst) to 100 (best)")
        self._exact = variant == "exact"
        if not self._exact and (size[0] % 8 or size[1] % 8):
            raise self._bad_size(quality, size)
        self._quality, self._size = quality, size
        self._luma, self._chroma = quantisation(quality)
        self._dct = dct_matrix()
        forward = torch.tensor(YCBCR[variant], dtype=torch.float64)
        self._forward, self._inverse = forward.float(), torch.linalg.inv(forward).float()

    def __call__(self, x: Tensor) -> Tensor:
        """Compressed and decompressed images [B,1|3,H,W]; may leave [-1, 1] as published."""
        return self.decode(*self.encode(x))

    @property
    def linear(self) -> Linear:
        """Rounding is taken for linear, as in DDRM's restoration of JPEG (Kawar et al. 2022)."""
        return Linear(self, lambda y: y)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Quantised coefficients, whole numbers in image layout.

        Args:
            x: images [B,3,H,W] or [B,1,H,W] in [-1, 1].

        Returns:
            Luma [B,1,H,W] and chroma [B,2,H/2,W/2]; no chroma for one channel. With
            ``exact``, sides are those of the padded image.

        Raises:
            UserError: another number of channels, or a colour image whose size is not admitted.
        """
        pixels = self._stored(self._padded((x + 1) / 2 * 255))
        if x.shape[1] == 1:
            return self._quantise(pixels - 128, self._luma), None
        planes = torch.einsum("ij,bjhw->bihw", self._forward.to(x.device), pixels)
        luma, chroma = self._stored(planes[:, :1]), self._stored(planes[:, 1:] + 128)
        return self._quantise(luma - 128, self._luma), self._quantise(
            self._halved(chroma) - 128, self._chroma
        )

    def decode(self, luma: Tensor, chroma: Tensor | None) -> Tensor:
        """Images [B,C,H,W] from the coefficients of `encode`."""
        pixels = self._stored(self._restore(luma, self._luma) + 128)
        if chroma is not None:
            colour = self._doubled(self._stored(self._restore(chroma, self._chroma) + 128)) - 128
            planes = torch.cat([pixels, colour], dim=1)
            pixels = self._stored(torch.einsum("ij,bjhw->bihw", self._inverse.to(luma.device), planes))
        return pixels[..., : self._size[0], : self._size[1]] / 255 * 2 - 1

    def _quantise(self, plane: Tensor, steps: Tensor) -> Tensor:
        dct = self._dct.to(plane.device)
        spectrum = torch.einsum("ui,bcyixj,vj->bcyuxv", dct, _blocks(plane), dct)
        return (spectrum / steps.to(plane.device)[:, None]).round().reshape(plane.shape)

    def _restore(self, coefficients: Tensor, steps: Tensor) -> Tensor:
        dct = self._dct.to(coefficients.device)
        spectrum = _blocks(coefficients) * steps.to(coefficients.device)[:, None]
        return torch.einsum("ui,bcyuxv,vj->bcyixj", dct, spectrum, dct).reshape(coefficients.shape)

    def _stored(self, values: Tensor) -> Tensor:
        return values.round().clamp(0, 255) if self._exact else values

    def _halved(self, chroma: Tensor) -> Tensor:
        return self._stored(F.avg_pool2d(chroma, 2)) if self._exact else chroma[..., ::2, ::2]

    def _doubled(self, chroma: Tensor) -> Tensor:
        if self._exact:
            return self._stored(F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False))
        return F.interpolate(chroma, scale_factor=2, mode="nearest")

    def _padded(self, pixels: Tensor) -> Tensor:
        if pixels.shape[1] not in (1, 3):
            raise UserError(
                f"{pixels.shape[1]} channels", f"jpeg-{self._quality}", "JPEG takes 1 or 3 channels"
            )
        unit = 16 if pixels.shape[1] == 3 else 8
        bottom, right = (-side % unit for side in self._size)
        if not self._exact and (bottom or right):
            raise self._bad_size(self._quality, self._size)
        return F.pad(pixels, (0, right, 0, bottom), mode="replicate")

    @staticmethod
    def _bad_size(quality: int, size: tuple[int, int]) -> UserError:
        return UserError(
            f"published JPEG cannot take {size[0]} x {size[1]} pixels",
            f"jpeg-{quality}",
            "make both sides multiples of 16 (of 8 for one channel), or set variant: exact",
        )


def _blocks(plane: Tensor) -> Tensor:
    b, c, h, w = plane.shape
    return plane.reshape(b, c, h // 8, 8, w // 8, 8)
