"""Colour transfer between two photographs: DDIB of their pixels, beside optimal transport (Su et al. 2023).

Pixels are points, shifted and scaled by each photograph's own statistics. That alters the squared
distance of two colours by terms that no coupling can change: plans between points are those between colours.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from bridgepipe.config.points import SolverSettings
from bridgepipe.evaluation import plans, transport
from bridgepipe.methods import ddib, ddib_points
from bridgepipe.methods.gaussian import Model

SAMPLED, SMOOTH = 1000, 0.05  # of the plan between two palettes: points, entropic regularisation
GRID, NEIGHBOURS = 33, 16  # of `palette_map`: nodes along an axis, points whose moves a node follows
METHODS = DDIB, EXACT, SINKHORN = "DDIB", "OT", "Sinkhorn"


def transfer(
    source: Model,
    target: Model,
    a: np.ndarray,
    b: np.ndarray,
    settings: SolverSettings,
    n: int,
    sinkhorn: float,
    seed: int,
    label: str = "colours",
) -> dict[str, np.ndarray]:
    """Every pixel of ``a`` with a colour of ``b``, by method: float32 ``[N, 3]`` on the scale of b.

    Args:
        source, target: models of the points of a and of b.
        a, b: pixels as points, float32 ``[N, 3]`` and ``[M, 3]``.
        settings: settings under which DDIB solves its ODEs.
        n: points of the plans of optimal transport.
        sinkhorn: entropic regularisation, in units of the mean cost.
        seed: seed that selects these points.
        label: name of the work in messages.
    """

    ends = ddib_points.denoisers(source, target)

    def by_ddib(x: torch.Tensor) -> list[torch.Tensor]:
        return [ddib.translate(*ends, x, settings).target.x]

    (moved,) = ddib_points.over(torch.from_numpy(a), source.device, by_ddib, label)
    found = {
        DDIB: moved.numpy(),
        EXACT: plans.ot_color_map(a, b, n, seed),
        SINKHORN: plans.ot_color_map(a, b, n, seed, sinkhorn),
    }
    return {method: np.asarray(points, np.float32) for method, points in found.items()}


def palette_map(source: np.ndarray, target: np.ndarray, seed: int = 0) -> np.ndarray:
    """Where every colour goes when the pixels of one photograph take the colours of another.

    The moves are those of `plans.ot_color_map`, each the mean of those of its neighbours, so that colours
    which are near each other stay so: without it, skies show steps.

    Args:
        source, target: pixels ``[N, 3]`` and ``[M, 3]`` in [0, 255].

    Returns:
        float64 ``[GRID, GRID, GRID, 3]``: the new colour at every node of a grid over [0, 255]^3.
    """
    from scipy.spatial import cKDTree

    # no exact plan depends on it, how much the entropic one smooths would
    shift = target.mean(axis=0) - source.mean(axis=0)
    x, moves = plans.ot_moves(source.astype(np.float64), target - shift, SAMPLED, seed, SMOOTH)
    axis = np.linspace(0, 255, GRID)
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    distances, nearest = cKDTree(x).query(nodes, k=range(1, min(NEIGHBOURS, len(x)) + 1))
    weights = 1 / (distances + 255 / GRID) ** 2
    mean = (moves[nearest] * weights[..., None]).sum(axis=-2) / weights.sum(axis=-1)[..., None]
    return nodes + shift + mean


def recoloured(pixels: np.ndarray, colours: np.ndarray, strength: float) -> np.ndarray:
    """Pixels [H, W, 3] of uint8 or uint16 with the colours that `palette_map` gives them.

    Args:
        strength: 0 the pixels as they are, 1 the new colours.
    """
    from scipy.ndimage import map_coordinates

    most = np.iinfo(pixels.dtype).max
    at = pixels.reshape(-1, 3).T * ((GRID - 1) / most)
    new = np.stack(
        [map_coordinates(channel, at, order=1) for channel in np.moveaxis(colours, -1, 0)], axis=-1
    )
    found = pixels + strength * (new.reshape(pixels.shape) * (most / 255) - pixels)
    return found.round().clip(0, most).astype(pixels.dtype)


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
    """Metrics of one transfer.

    ``mse``: between DDIB's picture and those of optimal transport, the paper's number. ``sliced_w2``: how far
    each palette is from the target's. ``cost``: of DDIB's map, and of the optimal coupling of the same n
    points; the excess grows with n.

    Args:
        points: result of `transfer`.
        images: the same as uint8 pictures.
        source, target: both photographs as points.
        seed: seed of the random directions and subsamples.
    """
    moved = plans.coupling(source, points[DDIB], seed=seed)
    palettes = {**points, "untouched": source}
    return {
        **{f"mse_{k.lower()}": image_error(images[DDIB], images[k]) for k in (EXACT, SINKHORN)},
        **{f"sliced_w2_{k.lower()}": transport.sliced_w2(p, target, seed=seed) for k, p in palettes.items()},
        "cost": moved.cost,
        "cost_optimal": moved.optimal,
        "excess": moved.excess,
        "n": moved.n,
    }
