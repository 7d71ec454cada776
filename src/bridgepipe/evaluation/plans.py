"""Plans of optimal transport between two samples: exact, and with entropy.

POT takes longer to load than PyTorch, so only what makes a plan does.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridgepipe.errors import UserError
from bridgepipe.runtime.rng import generator

LARGEST = 2000  # points of an exact plan, whose time grows with their cube
REGULARISATION = 0.05  # of the entropic plan, in units of the mean cost
ITERATIONS = 100_000_000  # of the exact solver: 4,000 points take more than 10^5, 6,000 less than 10^6
SCALINGS = 20_000  # of the entropic one


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


def coupling(x: np.ndarray, y: np.ndarray, n: int = LARGEST, seed: int = 0) -> Coupling:
    """Cost of the map that takes every x_i to y_i against the optimal one between the same two sets.

    Pairs are subsampled together, so an optimal map costs exactly as much as the optimal
    coupling and no map costs less.

    Raises:
        UserError: as `exact_cost`, or the numbers of points differ.
    """
    x, y = checked(x, y)
    if len(x) != len(y):
        raise UserError(f"{len(x)} points and {len(y)} images", "coupling", "give every point its image")
    x, y = subsample(x, n, seed, "pairs"), subsample(y, n, seed, "pairs")
    cost = float(((x - y) ** 2).sum(1).mean())
    # the optimum's sum may exceed an optimal map's own by a rounding error
    return Coupling(cost, min(cost, exact(squared_distances(x, y))), len(x))


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
        source: source points ``[N, D]``.
        target: target points ``[M, D]``.
        n: points of a subsample.
        seed: seed of the subsamples.
        regularisation: None for the exact plan, else as in `entropic_cost`.

    Returns:
        float64 ``[N, D]``, in the order of the source.

    Raises:
        UserError: as `exact_cost` or `entropic_cost`.
    """
    from scipy.spatial import cKDTree

    source, target = checked(source, target)
    x, moves = ot_moves(source, target, n, seed, regularisation)
    return source + moves[cKDTree(x).query(source)[1]]


def ot_moves(
    source: np.ndarray, target: np.ndarray, n: int, seed: int, regularisation: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """A subsample of the source, and how the plan of `ot_color_map` moves each of it, ``[n, D]`` both."""
    x, y = subsample(source, n, seed, "x"), subsample(target, n, seed, "y")
    cost = squared_distances(x, y)
    plan = _optimal(cost)[0] if regularisation is None else _entropic_plan(cost, regularisation)
    return x, plan @ y / plan.sum(1, keepdims=True) - x


def subsample(points: np.ndarray, n: int, seed: int, purpose: str) -> np.ndarray:
    """At most ``n`` of the points, in order; the same places for the same (number, n, seed, purpose)."""
    if len(points) <= n:
        return points
    places = generator(seed, f"subsample {purpose}").choice(len(points), n, replace=False)
    return points[np.sort(places)]


def checked(x: np.ndarray, y: np.ndarray) -> Sequence[np.ndarray]:
    if 0 in (len(x), len(y)) or x.shape[1:] != y.shape[1:]:
        raise UserError(
            f"sets of shapes {x.shape} and {y.shape}", "transport", "compare sets of points of one dimension"
        )
    return [np.ascontiguousarray(p, dtype=np.float64) for p in (x, y)]


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Between all of ``[N, D]`` and all of ``[M, D]``: ``[N, M]``."""
    import ot

    return np.asarray(ot.dist(x, y))


def exact(cost: np.ndarray) -> float:
    return max(0.0, float(_optimal(cost)[1]["cost"]))


def _optimal(cost: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """The optimal plan of a matrix of costs, and what POT says of it.

    Raises:
        UserError: the solver stopped before the optimum; POT only warns of it, and returns what it has.
    """
    import ot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd([], [], cost, numItermax=ITERATIONS, log=True)
    if log["warning"] is not None:
        what = f"the exact plan of {' x '.join(map(str, cost.shape))} points is not optimal: {log['warning']}"
        raise UserError(what, "transport", f"take fewer points, or more than {ITERATIONS} iterations")
    return plan, log


def entropic(cost: np.ndarray, regularisation: float) -> float:
    return float((_entropic_plan(cost, regularisation) * cost).sum())


def _entropic_plan(cost: np.ndarray, regularisation: float) -> np.ndarray:
    """The entropic plan.

    Raises:
        UserError: the masses of the plan are not those of the points: it has not converged.
    """
    import ot

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
