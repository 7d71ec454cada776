"""Every picture: data in, one PNG out. Tables beside them are in `bridgepipe.tables`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from bridgepipe.canvas import Cell, Images, canvas, mosaic
from bridgepipe.tables import table as table
from bridgepipe.tables import write_table as write_table

Points = NDArray[np.floating]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")  # Okabe and Ito
MARKERS = "osD^vPX"
LABELS = {
    "fid": "FID (lower is better)",
    "kid": "KID (lower is better)",
    "psnr": "PSNR in dB (higher is better)",
    "ssim": "SSIM (higher is better)",
    "accuracy": "Accuracy (higher is better)",
}


def comparison_grid(
    path: str | Path,
    columns: Mapping[str, Images],
    psnr: Mapping[str, Sequence[float]] | None = None,
    title: str = "",
) -> None:
    """One row per image, one column per stage, such as original, corrupted, restored.

    Args:
        path: PNG to write.
        columns: uint8 ``[N, H, W, C]`` by heading, equal N; C is 1 or 3.
        psnr: by heading, dB of each image, printed under it; columns without are left bare.
        title: printed above.

    Raises:
        ValueError: the columns do not have one number of images.
    """
    if len({len(images) for images in columns.values()}) != 1:
        raise ValueError(f"columns of different lengths: { {k: len(v) for k, v in columns.items()} }")
    cells = [
        Cell(image, row, column, f"{psnr[head][row]:.1f} dB" if psnr and head in psnr else "")
        for column, (head, images) in enumerate(columns.items())
        for row, image in enumerate(images)
    ]
    mosaic(path, cells, list(columns), [], title)


def sample_grid(path: str | Path, images: Images, columns: int = 8, title: str = "") -> None:
    """Images in reading order.

    Args:
        path: PNG to write.
        images: uint8 ``[N, H, W, C]``.
        columns: images in a row.
        title: printed above.
    """
    columns = min(columns, len(images))
    cells = [Cell(image, i // columns, i % columns) for i, image in enumerate(images)]
    mosaic(path, cells, [""] * columns, [], title)


def path_grid(
    path: str | Path, x1: Images, xs: Images, x0s: Images, steps: Sequence[int], title: str = ""
) -> None:
    """The way from x1 to the restored image: states above, predictions of the clean image below.

    Args:
        path: PNG to write.
        x1: uint8 ``[N, H, W, C]``, where the way begins.
        xs: uint8 ``[N, T, H, W, C]``, states x_n.
        x0s: uint8 ``[N, T, H, W, C]``, predictions made on the step to x_n.
        steps: the T values of n, in any order; drawn from the largest to the smallest.
        title: printed above.
    """
    order = np.argsort(-np.asarray(steps), kind="stable")
    cells = [Cell(image, 2 * i, 0) for i, image in enumerate(x1)]
    for i in range(len(x1)):
        for column, t in enumerate(order, start=1):
            cells += [Cell(xs[i, t], 2 * i, column), Cell(x0s[i, t], 2 * i + 1, column)]
    heads = [r"$x_1$", *(f"$n = {steps[t]}$" for t in order)]
    mosaic(path, cells, heads, [r"$x_n$", r"$\hat{x}_0$"] * len(x1), title)


def loss_curve(path: str | Path, steps: ArrayLike, losses: ArrayLike, title: str = "") -> None:
    """Training loss on a logarithmic scale, raw (thin) and smoothed.

    Args:
        path: PNG to write.
        steps: training steps, increasing.
        losses: one positive loss per step.
        title: printed above.
    """
    steps, losses = np.asarray(steps), np.asarray(losses)
    window = max(1, len(losses) // 50)
    smooth = pd.Series(losses).rolling(window, center=True, min_periods=1).mean()
    with canvas(path, 4.5, 2.8) as figure:
        axes = _axes(figure, title)
        axes.plot(steps, losses, color=COLOURS[0], alpha=0.35, linewidth=0.5, label="as logged")
        axes.plot(steps, smooth, color=COLOURS[0], label=f"mean of {window}")
        axes.set(yscale="log", xlabel="Training step", ylabel="Loss")
        axes.margins(x=0)
        _plain_log_ticks(axes.yaxis)
        axes.legend(loc="upper right")


def quality_against_calls(path: str | Path, table: pd.DataFrame, title: str = "") -> None:
    """Quality against network calls: a panel per metric, a line per sampler.

    Args:
        path: PNG to write.
        table: columns ``sampler``, ``nfe``, and one per metric; missing values are skipped.
        title: printed above.

    Raises:
        ValueError: a column is missing, or there is no metric.
    """
    metrics = [c for c in table.columns if c not in ("sampler", "nfe")]
    if not {"sampler", "nfe"} <= set(table.columns) or not metrics:
        raise ValueError(f"columns must be sampler, nfe and metrics, not {list(table.columns)}")
    width = max(3.6, 3.2 * len(metrics))
    with canvas(path, width, 2.9) as figure:
        for i, metric in enumerate(metrics):
            axes = _axes(figure, "", (1, len(metrics), i + 1))
            for n, (sampler, rows) in enumerate(table.groupby("sampler", sort=False)):
                known = rows.dropna(subset=[metric]).sort_values("nfe")
                colour, marker = COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]
                axes.plot(known["nfe"], known[metric], color=colour, marker=marker, label=str(sampler))
            _calls_axis(axes, sorted(table["nfe"].unique()))
            axes.set_ylabel(LABELS.get(str(metric), str(metric)))
            _log_if_wide(axes, table[metric].dropna())
        handles, names = figure.axes[0].get_legend_handles_labels()
        fitting = int(width / (0.55 + 0.065 * max(map(len, names))))
        figure.legend(handles, names, loc="outside lower center", ncols=max(1, min(len(names), fitting)))
        figure.suptitle(title, fontsize=9, weight="bold")


def spectrum_fit(path: str | Path, k: ArrayLike, power: ArrayLike, fit: ArrayLike, title: str = "") -> None:
    """Power spectrum of a dataset and the fitted law, both logarithmic.

    Args:
        path: PNG to write.
        k: spatial frequencies; zero, which a logarithmic axis cannot show, is left out.
        power: mean power at ``k``.
        fit: the law at ``k``.
        title: printed above.
    """
    order = np.argsort(k)
    x, data, law = (np.asarray(v, dtype=np.float64)[order] for v in (k, power, fit))
    data, law, x = data[x > 0], law[x > 0], x[x > 0]
    with canvas(path, 3.6, 2.9) as figure:
        axes = _axes(figure, title)
        axes.scatter(x, data, s=9, color=COLOURS[5], linewidths=0, label="data")
        axes.plot(x, law, color=COLOURS[1], label="fit")
        axes.set(xscale="log", yscale="log", xlabel=r"Spatial frequency $|k|$", ylabel="Mean power")
        _plain_log_ticks(axes.xaxis)
        axes.legend(loc="upper right")


def scatter_map(path: str | Path, panels: Mapping[str, Points], title: str = "") -> None:
    """The same points in several places; every point keeps the colour of its place in the first panel.

    Args:
        path: PNG to write.
        panels: float ``[N, 2]`` by heading, row i being point i everywhere.
        title: printed above.
    """
    first = next(iter(panels.values()))
    colours = _colours_of(first)
    size = float(np.clip(4000 / len(first), 0.15, 6))
    with canvas(path, 2.3 * len(panels) + 0.1, 2.53 + 0.2 * bool(title)) as figure:
        for axes, points in _planes(figure, panels, title):
            axes.scatter(points[:, 0], points[:, 1], s=size, c=colours, linewidths=0)


def heatmap(path: str | Path, panels: Mapping[str, Points], title: str = "", bins: int = 120) -> None:
    """Density of 2-D points, on one scale for all panels.

    Args:
        path: PNG to write.
        panels: float ``[N, 2]`` by heading; N may differ.
        title: printed above.
        bins: squares along each axis.
    """
    reach = _reach(panels)
    edges = np.linspace(-reach, reach, bins + 1)
    density = {h: np.histogram2d(p[:, 0], p[:, 1], edges, density=True)[0] for h, p in panels.items()}
    most = max(float(np.quantile(d[d > 0], 0.99)) for d in density.values())
    with canvas(path, 2.3 * len(panels) + 0.7, 2.53 + 0.2 * bool(title)) as figure:
        for (axes, _), d in zip(_planes(figure, panels, title), density.values(), strict=True):
            image = axes.imshow(
                d.T,
                origin="lower",
                extent=(-reach, reach, -reach, reach),
                cmap="BuPu",
                norm=PowerNorm(0.5, 0, most),
            )
        figure.colorbar(
            image, ax=figure.axes, label="Density", shrink=0.8, pad=0.02, extend="max"
        ).outline.set_visible(False)  # type: ignore[operator]


def _planes(figure: Figure, panels: Mapping[str, Points], title: str) -> Iterator[tuple[Axes, Points]]:
    """Square axes side by side with one range."""
    reach = _reach(panels)
    figure.suptitle(title, fontsize=9, weight="bold")
    for i, (head, points) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), i + 1, title=head, aspect="equal")
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.spines[:].set_color("#BBBBBB")
        yield axes, points


def _reach(panels: Mapping[str, Points]) -> float:
    """Half the width of the plane: all but stray points, with a margin."""
    return 1.08 * max(float(np.quantile(np.abs(p), 0.9995)) for p in panels.values())


def _colours_of(points: Points) -> NDArray[np.float64]:
    """sRGB ``[N, 3]`` in [0, 1] that varies evenly with the place: the points as a, b of OKLab."""
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


def _axes(figure: Figure, title: str, place: tuple[int, int, int] = (1, 1, 1)) -> Axes:
    axes = figure.add_subplot(*place)
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_title(title, weight="bold")
    return axes


def _calls_axis(axes: Axes, calls: Sequence[int]) -> None:
    """Logarithmic, ticked at the numbers of calls that were measured."""
    axes.set_xscale("log")
    axes.set_xlabel("Network calls")
    axes.set_xticks(list(calls), [f"{c:g}" for c in calls])
    axes.minorticks_off()


def _log_if_wide(axes: Axes, values: pd.Series) -> None:
    if len(values) and values.min() > 0 and values.max() / values.min() > 20:
        axes.set_yscale("log")
        _plain_log_ticks(axes.yaxis)


def _plain_log_ticks(axis: Any) -> None:
    """0.02, 0.05, 0.1 instead of powers of ten: most of our ranges cover one or two decades."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())
