"""The mixing step: how far images must be inverted before they are edited.

At early steps latents keep the look of the images; at late ones they lie on the shell of the Gaussian, whose
radius is sqrt(D) and whose members are sqrt(2 D) apart. The paper edits where the one has become the other
and the attribute can still be told: a step is *mixed* when from there on the distance to the shell has
settled, and among mixed steps the earliest counts whose bottlenecks are as separable as the best's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import sqrt
from typing import Any

import numpy as np
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.evaluation.accuracy import Accuracy, worse
from bridgepipe.methods.boundary_fit import Readable, Rows, as_classes, cross_validated, gram
from bridgepipe.methods.boundary_latents import Latents

TOLERANCE = 0.1
LEVEL = 0.05


@dataclass(frozen=True)
class MixingRow:
    """The latents at one step.

    Attributes:
        t: index of the step.
        radius, radius_std: mean and standard deviation of |z| / sqrt(D).
        spread: root mean square of |z - z'| / sqrt(2 D) over all pairs.
        gap: |radius - 1| + |spread - 1|, the distance to the shell.
        z, h: whether a cross-validated boundary in either space puts each image on its side, bool ``[N]``.
    """

    t: int
    radius: float
    radius_std: float
    spread: float
    gap: float
    z: np.ndarray
    h: np.ndarray

    def row(self) -> dict[str, Any]:
        """Plain numbers, one column each."""
        shell = {k: getattr(self, k) for k in ("t", "radius", "radius_std", "spread", "gap")}
        return shell | Accuracy.of(self.z).values("z_accuracy") | Accuracy.of(self.h).values("h_accuracy")


@dataclass(frozen=True)
class Mixing:
    """The curve over steps, and the step to edit at."""

    rows: tuple[MixingRow, ...]
    t: int


def mixing(
    latents: Sequence[Latents],
    labels: Sequence[int] | np.ndarray | Tensor,
    *,
    tolerance: float = TOLERANCE,
    C: float = 1.0,
    folds: int = 5,
) -> Mixing:
    """The curve of the same images at several steps, see `boundary_latents.trajectory`.

    Args:
        latents: latents at ascending steps; the first should be the images themselves, t = 0.
        labels: 0 or 1 for each image.
        tolerance: see `choose`.
        C, folds: penalty of the boundaries and number of cross-validation folds.

    Raises:
        UserError: as `choose`; labels that are not 0 and 1; fewer members in a class than folds.
    """
    rows = tuple(mixing_row(one.t, one.z, one.h, labels, C, folds) for one in latents)
    return Mixing(rows, choose(rows, tolerance))


def mixing_row(
    t: int,
    z: Readable,
    h: Readable,
    labels: Sequence[int] | np.ndarray | Tensor,
    C: float = 1.0,
    folds: int = 5,
) -> MixingRow:
    """Statistics of latents z and bottlenecks h, both ``[N, ...]``, N >= 2, at index t."""
    classes = as_classes(labels, len(z))
    rows = Rows(z)
    products = gram(rows)
    radii = np.sqrt(products.diagonal() / rows.width)
    spread = sqrt(_mean_pair(products) / (2 * rows.width))
    separable = [cross_validated(p, classes, C, folds) for p in (products, gram(Rows(h)))]
    radius = float(radii.mean())
    return MixingRow(
        t, radius, float(radii.std()), spread, abs(radius - 1) + abs(spread - 1), separable[0], separable[1]
    )


def choose(rows: Sequence[MixingRow], tolerance: float = TOLERANCE) -> int:
    """The mixing step.

    1. Mixed are the steps from which on the gap differs from its last value by at most ``tolerance`` times
       the largest such difference. Its last value need not be 0: an inversion in few steps settles beside
       the shell. An ideal one differs in proportion to alpha_bar_t, so that it is mixed from
       alpha_bar = 0.1 on, which is t = 475 of the linear schedule.
    2. Of these, the earliest whose boundary in h is not worse than the best: the same images are judged at
       every step, so that those on which the two differ decide (`accuracy.worse`, at a level of 5 %). Of 200
       images one more or less moves nothing; 5 that only the best gets right do.

    Args:
        rows: the curve at ascending steps; t = 0 is never chosen.
        tolerance: relative distance to the shell, in (0, 1).

    Raises:
        UserError: no step above 0, or steps that don't ascend.
    """
    steps = [row.t for row in rows]
    if not steps or steps[-1] < 1 or steps != sorted(set(steps)):
        raise UserError(f"steps {steps[:9]}", "mixing step", "take ascending ones that end above 0")
    left = [abs(row.gap - rows[-1].gap) for row in rows]
    # the largest from each step on, so that a crossing that comes back does not count
    ahead = list(accumulate(reversed(left), max))[::-1]
    limit = tolerance * max(left)
    mixed = [row for row, most in zip(rows, ahead, strict=True) if row.t > 0 and most <= limit]
    best = max((row.h for row in mixed), key=np.count_nonzero)
    return next(row.t for row in mixed if worse(row.h, best) >= LEVEL)


def _mean_pair(products: np.ndarray) -> float:
    """Mean of |z - z'|^2 over all pairs of different rows, from their inner products."""
    n = len(products)
    trace = float(products.trace())
    return 2 * (trace / n - (float(products.sum()) - trace) / (n * (n - 1)))
