"""Pictures of points in two dimensions and of colours in three: data in, one PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bridgepipe.datasets.colors import Space, to_space
from bridgepipe.figures.canvas import Cell, Images, canvas, mosaic
from bridgepipe.runtime.rng import generator

Points = NDArray[np.floating]

PANEL = 2.3  # inches of a square of the plane
INK_POINT = "#0072B2"
SHOWN = 4000  # colours of a cloud: more hide each other
AXES = {"rgb": ("R", "G", "B"), "lab": ("a", "b", "L")}


def scatter_map(path: str | Path, panels: Mapping[str, Points], title: str = "") -> None:
    """The same points in several places; every point keeps the colour of its place in the first panel.

    Source, latent, target and back again show what a translation does to each point.

    Args:
        path: PNG to write.
        panels: float ``[N, 2]`` by heading, row i being point i everywhere.
        title: text above the figure.
    """
    first = next(iter(panels.values()))
    reach, colours = _reach(panels), _colours_of(first)
    with canvas(path, PANEL * len(panels) + 0.1, PANEL + 0.23 + 0.2 * bool(title)) as figure:
        figure.suptitle(title, fontsize=9, weight="bold")
        for i, (head, points) in enumerate(panels.items()):
            _scatter(_plane(figure, (1, len(panels), i + 1), reach, head), points, c=colours)


def heatmap(
    path: str | Path, panels: Mapping[str, Points], title: str = "", bins: int = 120, columns: int = 6
) -> None:
    """Density of 2-D points, on one scale for all panels.

    Args:
        path: PNG to write.
        panels: float ``[N, 2]`` by heading; N may differ.
        title: text above the figure.
        bins: squares along each axis.
        columns: panels of a row.
    """
    reach, columns = _reach(panels), min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with canvas(path, PANEL * columns + 0.7, (PANEL + 0.23) * rows + 0.2 * bool(title)) as figure:
        figure.suptitle(title, fontsize=9, weight="bold")
        planes = [_plane(figure, (rows, columns, i + 1), reach, head) for i, head in enumerate(panels)]
        _densities(figure, planes, list(panels.values()), reach, bins)


def samples_and_truth(
    path: str | Path, samples: Points, truth: Points, title: str = "", bins: int | None = None
) -> None:
    """Generated or translated points beside true ones: as points above, as density below.

    Args:
        path: PNG to write.
        samples: float ``[N, 2]``.
        truth: float ``[M, 2]``; both scatter plots show the same number, the smaller one.
        title: text above the figure.
        bins: squares along each axis of the densities; None: as many as the smaller set can fill.
    """
    panels = {"Samples": samples, "Truth": truth}
    reach, shown = _reach(panels), min(len(samples), len(truth))
    bins = bins or int(np.clip(shown**0.5 / 2, 20, 120))
    with canvas(path, 2 * PANEL + 0.7, 2 * PANEL + 0.23 + 0.2 * bool(title)) as figure:
        figure.suptitle(title, fontsize=9, weight="bold")
        for i, (head, points) in enumerate(panels.items()):
            _scatter(_plane(figure, (2, 2, i + 1), reach, head), _some(points, shown), c=INK_POINT)
        planes = [_plane(figure, (2, 2, i), reach) for i in (3, 4)]
        _densities(figure, planes, [samples, truth], reach, bins)


def color_transfer(
    path: str | Path,
    rows: Sequence[Mapping[str, Images]],
    captions: Mapping[str, Sequence[str]] | None = None,
    title: str = "",
) -> None:
    """Photographs, one a row, with the colours of another by several methods.

    Args:
        path: PNG to write.
        rows: uint8 ``[H, W, 3]`` by heading, of any sizes: the photograph, the one whose colours it
            takes, and the results; the same headings in every row.
        captions: text under the image of every row, by heading.
        title: text above the figure.

    Raises:
        ValueError: the rows have different headings.
    """
    heads = list(rows[0])
    if any(list(row) != heads for row in rows):
        raise ValueError(f"rows of different headings: {[list(row) for row in rows]}")
    under = captions or {}
    cells = [
        Cell(row[head], r, c, under[head][r] if head in under else "")
        for r, row in enumerate(rows)
        for c, head in enumerate(heads)
    ]
    mosaic(path, cells, heads, [], title)


def color_clouds(
    path: str | Path, clouds: Mapping[str, NDArray[Any]], space: Space = "rgb", title: str = ""
) -> None:
    """Colours of photographs as points in three dimensions, every point in its own colour.

    Args:
        path: PNG to write.
        clouds: RGB ``[N, 3]`` in [0, 255] by heading; at most 4000 of each are drawn.
        space: colour space of the axes, one range for all panels.
        title: text above the figure.
    """
    shown = {head: _some(rgb, SHOWN) for head, rgb in clouds.items()}
    places = {head: to_space(rgb, space) for head, rgb in shown.items()}
    if space == "lab":
        places = {head: lab[:, [1, 2, 0]] for head, lab in places.items()}  # lightness upwards
    every = np.concatenate(list(places.values()))
    low, high = every.min(0), np.maximum(every.max(0), every.min(0) + 1)
    with canvas(path, 2.9 * len(clouds), 2.9 + 0.2 * bool(title)) as figure:
        figure.suptitle(title, fontsize=9, weight="bold")
        for i, head in enumerate(clouds):
            axes = _space(figure, (1, len(clouds), i + 1), AXES[space], low, high)
            axes.set_title(head, pad=-6)
            axes.scatter(*places[head].T, c=shown[head] / 255, s=3, linewidths=0, depthshade=False)


def _plane(figure: Figure, place: tuple[int, int, int], reach: float, head: str = "") -> Axes:
    """A square of the plane without ticks."""
    axes = figure.add_subplot(*place, title=head, aspect="equal")
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#BBBBBB")
    return axes


def _scatter(axes: Axes, points: Points, c: Any) -> None:
    size = float(np.clip(4000 / len(points), 0.15, 6))
    axes.scatter(points[:, 0], points[:, 1], s=size, c=c, linewidths=0)


def _densities(
    figure: Figure, planes: Sequence[Axes], sets: Sequence[Points], reach: float, bins: int
) -> None:
    """Histograms in the planes, and the bar of their common scale."""
    edges = np.linspace(-reach, reach, bins + 1)
    density = [np.histogram2d(p[:, 0], p[:, 1], edges, density=True)[0] for p in sets]
    most = max(float(np.quantile(d[d > 0], 0.99)) for d in density)
    extent = (-reach, reach, -reach, reach)
    for axes, d in zip(planes, density, strict=True):
        image = axes.imshow(d.T, origin="lower", extent=extent, cmap="BuPu", norm=PowerNorm(0.5, 0, most))
    bar = figure.colorbar(image, ax=figure.axes, label="Density", shrink=0.8, pad=0.02, extend="max")
    bar.outline.set_visible(False)  # type: ignore[operator]


def _space(figure: Figure, place: tuple[int, int, int], names: Sequence[str], low: Any, high: Any) -> Any:
    """A box of three dimensions with faint walls."""
    axes: Any = figure.add_subplot(*place, projection="3d")
    limits = {f"{d}lim": (low[i], high[i]) for i, d in enumerate("xyz")}
    axes.set(**limits, **{f"{d}label": name for d, name in zip("xyz", names, strict=True)})
    axes.set_box_aspect((1, 1, 1), zoom=0.94)
    axes.view_init(elev=22, azim=-60)
    axes.tick_params(labelsize=6, pad=-2)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.labelpad = -6
        axis.set_major_locator(MaxNLocator(4))
        axis.set_pane_color((0.96, 0.96, 0.96))
    return axes


def _some(points: NDArray[Any], most: int) -> NDArray[Any]:
    """At most so many of the points, the same ones every time."""
    if len(points) <= most:
        return points
    return points[generator(0, "shown").choice(len(points), most, replace=False)]


def _reach(panels: Mapping[str, Points]) -> float:
    """Half the width of the plane: all but stray points, with a margin."""
    return 1.08 * max(float(np.quantile(np.abs(p), 0.998)) for p in panels.values())


def _colours_of(points: Points) -> NDArray[np.float64]:
    """sRGB ``[N, 3]`` in [0, 1] that varies evenly with the place: the points as a, b of OKLab."""
    import pandas as pd

    ranks = pd.DataFrame(points).rank().to_numpy() / len(points)  # so that crowded places differ as well
    a, b = (0.30 * (ranks - 0.5)).T
    light = np.full_like(a, 0.68)
    lms = np.stack(
        [
            light + 0.3963377774 * a + 0.2158037573 * b,
            light - 0.1055613458 * a - 0.0638541728 * b,
            light - 0.0894841775 * a - 1.2914855480 * b,
        ]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(to_rgb @ lms**3, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).T
