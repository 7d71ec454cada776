"""Improved precision and recall (Kynkäänniemi et al. 2019): which images lie within the other set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.evaluation.accuracy import Share
from bridgepipe.evaluation.moments import float64

Sources = tuple[Sequence[str] | None, Sequence[str] | None]
K = 3
ROWS = 1000  # of a matrix of distances that is held at a time
METRIC = f"precision, recall: k = {K} nearest neighbours, up to 10,000 images of each; Wilson's 95 % interval"


def precision_and_recall(a: Tensor, b: Tensor, sources: Sources = (None, None)) -> tuple[Share, Share]:
    """Share of ``a`` within the manifold of ``b``, and of ``b`` within that of ``a``.

    A point is within a manifold when it is no further from one of its points than that point's k-th
    nearest neighbour. Neither is 1 for two samples of one distribution: the floor says what is.

    Args:
        a: features of the evaluated images, ``[n, d]``.
        b: those of the real ones, ``[m, d]``.
        sources: what the images of both were cut from, see `Share.of`.

    Raises:
        UserError: k + 1 images or fewer on a side.
    """
    if min(len(a), len(b)) <= K:
        what = f"{min(len(a), len(b))} images have no {K} neighbours each"
        raise UserError(what, "precision, recall", f"give more than {K} images on both sides")
    a, b = float64(a), float64(b)
    return _within(a, b, sources[0]), _within(b, a, sources[1])


def _within(points: Tensor, manifold: Tensor, sources: Sequence[str] | None) -> Share:
    radii = _radii(manifold)
    inside = [(torch.cdist(block, manifold) <= radii).any(1) for block in points.split(ROWS)]
    return Share.of(torch.cat(inside).numpy(), sources)


def _radii(points: Tensor) -> Tensor:
    """Distance of every point to its k-th nearest neighbour, itself not counted."""
    found = []
    for start, block in zip(range(0, len(points), ROWS), points.split(ROWS), strict=True):
        distances = torch.cdist(block, points)
        rows = torch.arange(len(block))
        distances[rows, start + rows] = torch.inf
        found.append(distances.kthvalue(K, dim=1).values)
    return torch.cat(found)
