"""Kernel distance between two sets of features (Binkowski et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.evaluation.moments import Array, float64
from bridgepipe.evaluation.protocol import Estimate


def kid(
    x: Array,
    y: Array,
    pictures: tuple[Tensor, Tensor] | None = None,
    sources: Sequence[str] | None = None,
) -> Estimate:
    """Kernel distance: unbiased squared maximum mean discrepancy under the kernel ``(x.y/d + 1)^3``.

    All pairs of different images are used, where clean-fid averages over random subsets of at most 1,000: the
    same expectation, with less noise. The standard error is the jackknife's over ``x``.

    Args:
        x: features of the evaluated images, ``[n, d]``, n >= 2.
        y: those of the reference, ``[m, d]``, m >= 2.
        pictures: what each of both shows, int64 ``[n]`` and ``[m]``: pairs that show the same, such as a
            restored image and its original, depend on each other and are left out. None: all are independent.
        sources: what each of ``x`` was cut from; the error is then over these, as in `Estimate.of`.

    Raises:
        UserError: fewer than 2 vectors, or no two of them that are independent.
    """
    x, y = float64(x), float64(y)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        what = f"a kernel distance needs at least 2 images, there are {min(n, m)}"
        raise UserError(what, "kid", "give more images")
    between, partners = _row_sums(x, y, pictures)
    if partners.sum() == 0:
        raise UserError("all images show the same", "kid", "give more images")
    within, _ = _row_sums(x, x, None)
    real = (_row_sums(y, y, None)[0].sum() - _diagonal(y).sum()) / (m * (m - 1))
    within = within - _diagonal(x)
    value = within.sum() / (n * (n - 1)) + real - 2 * between.sum() / partners.sum()
    if n == 2:
        return Estimate(value.item(), None)
    rest = (partners.sum() - partners).clamp(min=1)
    without = (within.sum() - 2 * within) / ((n - 1) * (n - 2)) - 2 * (between.sum() - between) / rest
    if sources is not None:  # of the jackknife's pseudo-values
        return replace(Estimate.of((n - 1) * (value - without).numpy(), sources), value=value.item())
    spread = (without - without.mean()).square().sum() * (n - 1) / n
    return Estimate(value.item(), math.sqrt(spread.item()))


def _row_sums(
    x: Tensor, y: Tensor, pictures: tuple[Tensor, Tensor] | None, rows: int = 1000
) -> tuple[Tensor, Tensor]:
    """For every x_i the sum of the kernel over the y_j that show something else, and their number."""
    sums, counts = [], []
    for start in range(0, len(x), rows):
        block = _kernel(x[start : start + rows], y)
        if pictures is None:
            other = torch.ones(len(block), 1, dtype=torch.float64).expand_as(block)
        else:
            other = (pictures[0][start : start + rows, None] != pictures[1]).double()
        sums.append((block * other).sum(1))
        counts.append(other.sum(1))
    return torch.cat(sums), torch.cat(counts)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _diagonal(x: Tensor) -> Tensor:
    """The kernel of every vector with itself."""
    return (x.square().mean(1) + 1) ** 3
