"""Optimal transport between sets of points: how far two sets are apart, how optimal a map is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass

import numpy as np

from bridgepipe.errors import UserError
from bridgepipe.evaluation.plans import (
    LARGEST,
    REGULARISATION,
    checked,
    entropic,
    exact,
    squared_distances,
    subsample,
)
from bridgepipe.runtime.rng import generator

PROJECTIONS = 128
FLOOR_DRAWS = 3  # true samples that a noise floor is measured with


@dataclass(frozen=True)
class Distances:
    """How far two sets are apart.

    Attributes:
        sliced_w2: sliced Wasserstein-2 distance of all points.
        exact_cost: least mean squared distance of a coupling, W2 squared, of a subsample.
        entropic_cost: mean squared distance of the entropic plan, of the same subsample.
        n: points of the subsample.
    """

    sliced_w2: float
    exact_cost: float
    entropic_cost: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """Distances of a set to the true one, and the noise floor: those of other true samples of its size.

    Attributes:
        found: distances of the set.
        floor: mean over independent true samples.
        spread: standard deviation over these samples.
    """

    found: Distances
    floor: Distances
    spread: Distances

    def values(self) -> dict[str, float]:
        """All, for a metric file."""
        floor = {f"{key}_floor": value for key, value in asdict(self.floor).items() if key != "n"}
        spread = {f"{key}_floor_spread": value for key, value in asdict(self.spread).items() if key != "n"}
        return {**asdict(self.found), **floor, **spread}


@dataclass(frozen=True)
class Normality:
    """How far latents are from N(0, I).

    Attributes:
        mean: largest absolute mean of an axis.
        covariance: largest absolute entry of covariance - I.
        ks_p: p-value of the Kolmogorov-Smirnov test against N(0, 1), for every axis.
        sliced_w2: sliced Wasserstein-2 distance to normal draws of the same number.
        sliced_w2_floor: distance between two sets of such draws, mean of several.
        sliced_w2_floor_spread: standard deviation of these distances.
    """

    mean: float
    covariance: float
    ks_p: tuple[float, ...]
    sliced_w2: float
    sliced_w2_floor: float
    sliced_w2_floor_spread: float


# distances


def sliced_w2(x: np.ndarray, y: np.ndarray, projections: int = PROJECTIONS, seed: int = 0) -> float:
    """Sliced Wasserstein-2 distance of ``[N, D]`` and ``[M, D]``: root mean square over random directions.

    Raises:
        UserError: no points, or of different dimensions.
    """
    x, y = checked(x, y)
    directions = generator(seed, "projections").standard_normal((x.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    i, j, mass = _in_order(len(x), len(y))
    difference = np.sort(directions.T @ x.T)[:, i] - np.sort(directions.T @ y.T)[:, j]
    return float(np.sqrt((difference**2 @ mass).mean()))


def exact_cost(x: np.ndarray, y: np.ndarray, n: int = LARGEST, seed: int = 0) -> float:
    """W2 squared between subsamples of at most ``n`` points of each set.

    Raises:
        UserError: as `sliced_w2`, or the solver does not reach the optimum.
    """
    x, y = checked(x, y)
    return exact(squared_distances(subsample(x, n, seed, "x"), subsample(y, n, seed, "y")))


def entropic_cost(
    x: np.ndarray,
    y: np.ndarray,
    n: int = LARGEST,
    seed: int = 0,
    regularisation: float = REGULARISATION,
) -> float:
    """Mean squared distance of the entropic plan between subsamples of at most ``n`` points of each set.

    Args:
        x, y: ``[N, D]`` and ``[M, D]``.
        n: points of a subsample.
        seed: seed of the subsamples.
        regularisation: weight of the entropy in units of the mean cost; the smaller, the nearer to exact.

    Raises:
        UserError: as `sliced_w2`, or the plan does not converge.
    """
    x, y = checked(x, y)
    return entropic(squared_distances(subsample(x, n, seed, "x"), subsample(y, n, seed, "y")), regularisation)


def distances(x: np.ndarray, y: np.ndarray, n: int = LARGEST, seed: int = 0) -> Distances:
    """All three distances between ``[N, D]`` and ``[M, D]``.

    Raises:
        UserError: as `sliced_w2`.
    """
    x, y = checked(x, y)
    n = min(n, len(x), len(y))
    cost = squared_distances(subsample(x, n, seed, "x"), subsample(y, n, seed, "y"))
    return Distances(sliced_w2(x, y, seed=seed), exact(cost), entropic(cost, REGULARISATION), n)


def compare(
    found: np.ndarray, true: np.ndarray, others: Sequence[np.ndarray], n: int = LARGEST, seed: int = 0
) -> Comparison:
    """Distances of generated or translated points to true ones, beside the noise floor.

    Args:
        found: ``[N, D]``.
        true: ``[M, D]`` from the target.
        others: two or more independent samples of the target, each of N points, because distances shrink as
            sets grow.
        n: points of the exact and entropic plans.
        seed: seed of the subsamples and directions.

    Raises:
        UserError: as `distances`, or the other samples are too few or of another size.
    """
    if len(others) < 2 or any(len(other) != len(found) for other in others):
        raise UserError(
            f"samples of {[len(other) for other in others]} points cannot be the noise floor of {len(found)}",
            "transport",
            "give two or more of as many true points as found ones",
        )
    floors = [astuple(distances(other, true, n, seed)) for other in others]
    return Comparison(
        distances(found, true, n, seed),
        Distances(*np.mean(floors, axis=0).tolist()),
        Distances(*np.std(floors, axis=0, ddof=1).tolist()),
    )


def normality(latents: np.ndarray, seed: int = 0) -> Normality:
    """How far ``[N, D]`` is from standard normal.

    Raises:
        UserError: no points, or a single one.
    """
    from scipy.stats import kstest

    z, _ = checked(latents, latents)
    if len(z) < 2:
        raise UserError("one point has no covariance", "latents", "give more points")
    first, *draws = (
        generator(seed, f"normal {i}").standard_normal(z.shape) for i in range(1, FLOOR_DRAWS + 2)
    )
    floors = [sliced_w2(draw, first, seed=seed) for draw in draws]
    covariance = np.atleast_2d(np.cov(z.T))
    return Normality(
        mean=float(np.abs(z.mean(0)).max()),
        covariance=float(np.abs(covariance - np.eye(z.shape[1])).max()),
        ks_p=tuple(float(kstest(axis, "norm", method="asymp").pvalue) for axis in z.T),
        sliced_w2=sliced_w2(z, first, seed=seed),
        sliced_w2_floor=float(np.mean(floors)),
        sliced_w2_floor_spread=float(np.std(floors, ddof=1)),
    )


# maps


def mean_squared_error(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over points and axes of the squared difference of two equal-shaped sets."""
    return float(((np.asarray(x, np.float64) - np.asarray(y, np.float64)) ** 2).mean())


# shared


def _in_order(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The optimal plan of n and m sorted numbers: i, j and share of the mass of every pair."""
    # ends of the runs of mass that stay within one number of either side, in units of 1 / (n m)
    ends = np.union1d(m * np.arange(1, n + 1), n * np.arange(1, m + 1))
    return (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)
