"""Separable blurs: a 9-tap box and a 5-tap Gaussian of standard deviation 10, as in DDRM."""

from __future__ import annotations

import torch
from torch import Tensor

from bridgepipe.corruptions.linear import separable
from bridgepipe.corruptions.superresolution import mirrored

SMALLEST_SINGULAR = 0.03


def uniform_kernel() -> Tensor:
    """Nine taps of 1/9, float64."""
    return torch.full((9,), 1 / 9, dtype=torch.float64)


def gaussian_kernel() -> Tensor:
    """Five taps of a Gaussian of 10 pixels, summing to 1, float64: nearly a box."""
    taps = torch.exp(-0.5 * (torch.arange(-2, 3, dtype=torch.float64) / 10) ** 2)
    return taps / taps.sum()


class ExactBlur:
    """Every channel convolved with the kernel along both axes; gain 1, no shift.

    Beyond the border the image is mirrored, its edge pixel repeated.

    Args:
        kernel: odd number of taps, symmetric, summing to 1.
        size: height and width.
    """

    def __init__(self, kernel: Tensor, size: tuple[int, int]) -> None:
        self._rows, self._columns = (exact_matrix(kernel, side) for side in size)
        self.linear = separable(self._rows, self._columns)

    def __call__(self, x: Tensor) -> Tensor:
        """Blurred images [B,C,H,W]."""
        return self._rows.to(x.device) @ x @ self._columns.to(x.device).T


class PublishedBlur:
    """The blur that the published networks were trained with; it acts on [0, 1] images.

    It differs from `ExactBlur` in four ways. (1) The matrix of one axis leaves
    out the last tap: 8 of 9, 4 of 5, so the image darkens and shifts by half a
    pixel. (2) Beyond the border there is black. (3) Singular values below 0.03
    are zeroed. (4) The matrix of the whole image, ``U diag(s) V^T`` with s the
    products of the singular values of both axes in descending order, is applied
    to pixel-major, channel-minor coefficients while s is tiled: coefficient p of
    channel c is multiplied by ``s[(C p + c) mod HW]`` instead of ``s[p]``.

    Because of (4) the order of equal products (s_i s_j = s_j s_i) shows in the
    image. Here the sort is stable: of equal products the one that comes first in
    row-major order stays first, on every device. The recorded vectors come from
    an unstable sort; given its order they are met to 2e-5, with the stable one
    photographs of 64 x 64 agree within 2e-2 on the scale of [-1, 1]. Sides that
    leave 4 modulo 8 give the box several singular values of zero, whose vectors,
    and by (4) the image, depend on the linear algebra library, by up to 3e-2.

    Args:
        kernel: odd number of taps.
        size: height and width.
        order: position (row-major) of the p-th largest product, int64 [H*W]; None
            sorts as described.
    """

    def __init__(self, kernel: Tensor, size: tuple[int, int], order: Tensor | None = None) -> None:
        (u_h, s_h, self._in_rows), (u_w, s_w, self._in_columns) = (decompose(kernel, n) for n in size)
        self._out_rows, self._out_columns = u_h, u_w
        self.products, self.order = sorted_products(s_h, s_w)
        if order is not None:
            self.order = order
        self._size = size

    def __call__(self, x: Tensor) -> Tensor:
        """Blurred images [B,C,H,W] for images in [-1, 1]."""
        return self.apply((x + 1) / 2) * 2 - 1

    def apply(self, x: Tensor) -> Tensor:
        """The linear operator itself, [B,C,H,W] -> [B,C,H,W]."""
        gain = self.gain(x.shape[1]).to(x.device)
        coefficients = self._in_rows.to(x.device) @ x @ self._in_columns.to(x.device).T
        return self._out_rows.to(x.device) @ (gain * coefficients) @ self._out_columns.to(x.device).T

    def gain(self, channels: int) -> Tensor:
        """What every coefficient is multiplied by, [C,H,W]."""
        count = len(self.order)
        rank = torch.empty_like(self.order)
        rank[self.order] = torch.arange(count)
        tiled = channels * rank + torch.arange(channels)[:, None]
        return self.products[tiled % count].view(channels, *self._size)


def exact_matrix(kernel: Tensor, size: int) -> Tensor:
    """Convolution of one axis with mirrored borders, float32 [size, size]; rows sum to 1."""
    offsets = torch.arange(len(kernel)) - len(kernel) // 2
    columns = mirrored(torch.arange(size)[:, None] + offsets, size)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, columns, kernel.expand(size, -1)).float()


def published_matrix(kernel: Tensor, size: int) -> Tensor:
    """Convolution of one axis without the last tap, black outside, float64 [size, size]."""
    half = len(kernel) // 2
    diagonals = [
        torch.full((size - abs(k),), float(kernel[k + half]), dtype=torch.float64).diag(k)
        for k in range(-half, half)
        if abs(k) < size
    ]
    return torch.stack(diagonals).sum(0)


def decompose(kernel: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """U, s and V^T of the published matrix, float32, with the smallest s zeroed.

    In float64 and then rounded, so that no library's last digits decide what ties.
    """
    u, s, vt = torch.linalg.svd(published_matrix(kernel, size))
    return u.float(), s.where(s >= SMALLEST_SINGULAR, 0).float(), vt.float()


def sorted_products(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Products of all pairs in descending order [H*W], and the row-major position of each."""
    products = torch.outer(rows, columns).flatten()
    return torch.sort(products, descending=True, stable=True)
