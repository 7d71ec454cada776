"""Colour transfer between two photographs: DDIB of their pixels, beside optimal transport (Su et al. 2023).

Pixels are points, shifted and scaled by each photograph's own statistics. That alters the squared
distance of two colours by terms that no coupling can change: plans between points are those between colours.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from bridgepipe.config.points import PointWalk
from bridgepipe.evaluation import transport
from bridgepipe.methods import ddib, ddib_points
from bridgepipe.methods.gaussian import Model

METHODS = DDIB, EXACT, SINKHORN = "DDIB", "OT", "Sinkhorn"


def transfer(
    source: Model,
    target: Model,
    a: np.ndarray,
    b: np.ndarray,
    walk: PointWalk,
    n: int,
    sinkhorn: float,
    seed: int,
    label: str = "colours",
) -> dict[str, np.ndarray]:
    """Every pixel of ``a`` with a colour of ``b``, by method: float32 ``[N, 3]`` on the scale of b.

    Args:
        source, target: models of the points of a and of b.
        a, b: pixels as points, float32 ``[N, 3]`` and ``[M, 3]``.
        walk: of DDIB.
        n: points of the plans of optimal transport.
        sinkhorn: entropic regularisation, in units of the mean cost.
        seed: of the choice of these points.
        label: of the work, for messages.
    """

    ends = ddib_points.denoisers(source, target)

    def by_ddib(x: torch.Tensor) -> list[torch.Tensor]:
        return [ddib.translate(*ends, x, walk).target.x]

    (moved,) = ddib_points.over(torch.from_numpy(a), source.device, by_ddib, label)
    found = {
        DDIB: moved.numpy(),
        EXACT: transport.ot_color_map(a, b, n, seed),
        SINKHORN: transport.ot_color_map(a, b, n, seed, sinkhorn),
    }
    return {method: np.asarray(points, np.float32) for method, points in found.items()}


def image_error(x: np.ndarray, y: np.ndarray) -> float:
    """Mean squared difference of two uint8 images, taken to [-1, 1] as the paper does."""
    return transport.mean_squared_error(x / 127.5, y / 127.5)


def measures(
    points: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
    source: np.ndarray,
    target: np.ndarray,
    seed: int,
) -> dict[str, float]:
    """Numbers of one transfer.

    ``mse``: between DDIB's picture and those of optimal transport, the paper's number. ``sliced_w2``: how far
    each palette is from the target's. ``cost``: of DDIB's map, and of the optimal coupling of the same n
    points; the excess grows with n.

    Args:
        points: of `transfer`.
        images: the same as uint8 pictures.
        source, target: both photographs as points.
        seed: of directions and subsamples.
    """
    moved = transport.coupling(source, points[DDIB], seed=seed)
    palettes = {**points, "untouched": source}
    return {
        **{f"mse_{k.lower()}": image_error(images[DDIB], images[k]) for k in (EXACT, SINKHORN)},
        **{f"sliced_w2_{k.lower()}": transport.sliced_w2(p, target, seed=seed) for k, p in palettes.items()},
        "cost": moved.cost,
        "cost_optimal": moved.optimal,
        "excess": moved.excess,
        "n": moved.n,
    }
