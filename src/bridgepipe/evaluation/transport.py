"""Optimal transport between sets of points: how far two sets are apart, how optimal a map is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
import ot
from scipy.spatial import cKDTree
from scipy.stats import kstest

from bridgepipe.errors import UserError
from bridgepipe.runtime.rng import generator

PROJECTIONS = 128
LARGEST = 2000  # points of an exact plan, whose time grows with their cube
REGULARISATION = 0.05  # of the entropic plan, in units of the mean cost
ITERATIONS = 100_000_000  # of the exact solver: 4,000 points take more than 10^5, 6,000 less than 10^6
SCALINGS = 20_000  # of the entropic one
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
        found: of the set.
        floor: mean over independent true samples.
        spread: their standard deviation.
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
class Coupling:
    """Cost of a map x_i -> y_i, beside that of the optimal one between the same two sets.

    Attributes:
        cost: mean squared distance of x_i and y_i.
        optimal: the least that any coupling of the two sets costs.
        n: pairs of the subsample.
    """

    cost: float
    optimal: float
    n: int

    @property
    def excess(self) -> float:
        """How much dearer than optimal: 0 for the optimal map; of a map that moves nothing, 0.

        It grows with n, as the optimal coupling of finite sets follows their noise: compare at one n.
        """
        return self.cost / self.optimal - 1 if self.optimal > 0 else 0.0


@dataclass(frozen=True)
class Normality:
    """How far latents are from N(0, I).

    Attributes:
        mean: largest absolute mean of an axis.
        covariance: largest absolute entry of covariance - I.
        ks_p: p-value of the Kolmogorov-Smirnov test against N(0, 1), for every axis.
        sliced_w2: sliced Wasserstein-2 distance to normal draws of the same number.
        sliced_w2_floor: that between two sets of such draws, mean of several.
        sliced_w2_floor_spread: their standard deviation.
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
    x, y = _checked(x, y)
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
    x, y = _checked(x, y)
    return _exact(ot.dist(subsample(x, n, seed, "x"), subsample(y, n, seed, "y")))


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
        seed: of the subsamples.
        regularisation: weight of the entropy in units of the mean cost; the smaller, the nearer to exact.

    Raises:
        UserError: as `sliced_w2`, or the plan does not converge.
    """
    x, y = _checked(x, y)
    return _entropic(ot.dist(subsample(x, n, seed, "x"), subsample(y, n, seed, "y")), regularisation)


def distances(x: np.ndarray, y: np.ndarray, n: int = LARGEST, seed: int = 0) -> Distances:
    """All three distances between ``[N, D]`` and ``[M, D]``.

    Raises:
        UserError: as `sliced_w2`.
    """
    x, y = _checked(x, y)
    n = min(n, len(x), len(y))
    cost = ot.dist(subsample(x, n, seed, "x"), subsample(y, n, seed, "y"))
    return Distances(sliced_w2(x, y, seed=seed), _exact(cost), _entropic(cost, REGULARISATION), n)


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
        seed: of subsamples and directions.

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


def coupling(x: np.ndarray, y: np.ndarray, n: int = LARGEST, seed: int = 0) -> Coupling:
    """Cost of the map that takes every x_i to y_i against the optimal one between the same two sets.

    Pairs are subsampled together, so an optimal map costs exactly as much as the optimal
    coupling and no map costs less.

    Raises:
        UserError: as `exact_cost`, or the numbers of points differ.
    """
    x, y = _checked(x, y)
    if len(x) != len(y):
        raise UserError(f"{len(x)} points and {len(y)} images", "coupling", "give every point its image")
    x, y = subsample(x, n, seed, "pairs"), subsample(y, n, seed, "pairs")
    cost = float(((x - y) ** 2).sum(1).mean())
    # the optimum's sum may exceed an optimal map's own by a rounding error
    return Coupling(cost, min(cost, _exact(ot.dist(x, y))), len(x))


def normality(latents: np.ndarray, seed: int = 0) -> Normality:
    """How far ``[N, D]`` is from standard normal.

    Raises:
        UserError: no points, or a single one.
    """
    z, _ = _checked(latents, latents)
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


def ot_color_map(
    source: np.ndarray,
    target: np.ndarray,
    n: int = 1000,
    seed: int = 0,
    regularisation: float | None = None,
) -> np.ndarray:
    """Colours of the source moved to the target by optimal transport (Ferradans et al. 2014).

    A plan between two subsamples sends each of its source colours to the mean of its partners;
    every other colour moves as the nearest of them does.

    Args:
        source: ``[N, D]``.
        target: ``[M, D]``.
        n: points of a subsample.
        seed: of the subsamples.
        regularisation: None for the exact plan, else as in `entropic_cost`.

    Returns:
        float64 ``[N, D]``, in the order of the source.

    Raises:
        UserError: as `exact_cost` or `entropic_cost`.
    """
    source, target = _checked(source, target)
    x, moves = ot_moves(source, target, n, seed, regularisation)
    return source + moves[cKDTree(x).query(source)[1]]


def ot_moves(
    source: np.ndarray, target: np.ndarray, n: int, seed: int, regularisation: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """A subsample of the source, and how the plan of `ot_color_map` moves each of it, ``[n, D]`` both."""
    x, y = subsample(source, n, seed, "x"), subsample(target, n, seed, "y")
    cost = ot.dist(x, y)
    plan = _optimal(cost)[0] if regularisation is None else _entropic_plan(cost, regularisation)
    return x, plan @ y / plan.sum(1, keepdims=True) - x


def mean_squared_error(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over points and axes of the squared difference of two equal-shaped sets."""
    return float(((np.asarray(x, np.float64) - np.asarray(y, np.float64)) ** 2).mean())


# shared


def subsample(points: np.ndarray, n: int, seed: int, purpose: str) -> np.ndarray:
    """At most ``n`` of the points, in order; the same places for the same (number, n, seed, purpose)."""
    if len(points) <= n:
        return points
    places = generator(seed, f"subsample {purpose}").choice(len(points), n, replace=False)
    return points[np.sort(places)]


def _checked(x: np.ndarray, y: np.ndarray) -> Sequence[np.ndarray]:
    if 0 in (len(x), len(y)) or x.shape[1:] != y.shape[1:]:
        raise UserError(
            f"sets of shapes {x.shape} and {y.shape}", "transport", "compare sets of points of one dimension"
        )
    return [np.ascontiguousarray(p, dtype=np.float64) for p in (x, y)]


def _in_order(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The optimal plan of n and m sorted numbers: i, j and share of the mass of every pair."""
    # ends of the runs of mass that stay within one number of either side, in units of 1 / (n m)
    ends = np.union1d(m * np.arange(1, n + 1), n * np.arange(1, m + 1))
    return (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)


def _exact(cost: np.ndarray) -> float:
    return max(0.0, float(_optimal(cost)[1]["cost"]))


def _optimal(cost: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """The optimal plan of a matrix of costs, and what POT says of it.

    Raises:
        UserError: the solver stopped before the optimum; POT only warns of it, and returns what it has.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd([], [], cost, numItermax=ITERATIONS, log=True)
    if log["warning"] is not None:
        what = f"the exact plan of {' x '.join(map(str, cost.shape))} points is not optimal: {log['warning']}"
        raise UserError(what, "transport", f"take fewer points, or more than {ITERATIONS} iterations")
    return plan, log


def _entropic(cost: np.ndarray, regularisation: float) -> float:
    return float((_entropic_plan(cost, regularisation) * cost).sum())


def _entropic_plan(cost: np.ndarray, regularisation: float) -> np.ndarray:
    """The entropic plan.

    Raises:
        UserError: its masses are not those of the points: it has not converged.
    """
    # sets that coincide have no cost to measure the entropy by
    weight = regularisation * (float(cost.mean()) or 1.0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        plan = ot.sinkhorn([], [], cost, weight, numItermax=SCALINGS, stopThr=1e-6)
    shares = (plan.sum(axis) * plan.shape[1 - axis] for axis in (0, 1))
    if not all(np.abs(share - 1).max() < 1e-3 for share in shares):
        what = f"the entropic plan has not converged in {SCALINGS} steps at regularisation {regularisation:g}"
        raise UserError(what, "transport", "take a larger one, or fewer points")
    return plan
