"""Pictures of images and curves: data in, one PNG out. Those of points are in `bridgepipe.figures.points`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from bridgepipe.evaluation.tables import table as table
from bridgepipe.evaluation.tables import write_table as write_table
from bridgepipe.figures.canvas import Cell, Images, canvas, mosaic

if TYPE_CHECKING:  # only curves are tables
    import pandas as pd

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")  # Okabe and Ito
SEEDS = ("noise seed", "network seed")
# columns of a study that are no quality, or belong to one
BESIDE = ("sampler", "nfe", *SEEDS, "n", "n real", "reference", "protocol")
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
        psnr: PSNR of each image in dB, by heading, printed under it; columns without are left bare.
        title: text above the figure.

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
        title: text above the figure.
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
        title: text above the figure.
    """
    order = np.argsort(-np.asarray(steps), kind="stable")
    cells = [Cell(image, 2 * i, 0) for i, image in enumerate(x1)]
    for i in range(len(x1)):
        for column, t in enumerate(order, start=1):
            cells += [Cell(xs[i, t], 2 * i, column), Cell(x0s[i, t], 2 * i + 1, column)]
    heads = [r"$x_1$", *(f"$n = {steps[t]}$" for t in order)]
    mosaic(path, cells, heads, [r"$x_n$", r"$\hat{x}_0$"] * len(x1), title)


SMOOTHED = 5  # logged losses in a mean, at least


def loss_curve(
    path: str | Path,
    steps: ArrayLike,
    losses: ArrayLike,
    title: str = "",
    validation: pd.DataFrame | None = None,
) -> None:
    """Training loss on a logarithmic scale, raw (thin) and smoothed.

    Args:
        path: PNG to write.
        steps: training steps, increasing.
        losses: one positive loss per step.
        title: text above the figure.
        validation: columns ``step``, ``loss``, which is drawn beside the training's, and one per metric, each
            in a panel of its own.
    """
    import pandas as pd

    steps, losses = np.asarray(steps), np.asarray(losses)
    window = max(SMOOTHED, len(losses) // 50)
    smooth = pd.Series(losses).rolling(window, center=True, min_periods=1).mean()
    found = pd.DataFrame(columns=["step", "loss"]) if validation is None else validation
    panels = found.columns.drop("step")
    with canvas(path, 4.5 * len(panels), 3.0) as figure:
        figure.set_layout_engine("constrained", wspace=0.06)  # labels keep clear of the panel before them
        axes = _axes(figure, title, (1, len(panels), 1))
        axes.plot(steps, losses, color=COLOURS[0], alpha=0.35, linewidth=0.5, label="as logged")
        axes.plot(steps, smooth, color=COLOURS[0], label=f"mean of {window}")
        if len(found):
            axes.plot(found["step"], found["loss"], "o-", color=COLOURS[1], label="validation", clip_on=False)
        axes.set(yscale="log", xlabel="Training step", ylabel="Loss")
        axes.margins(x=0)
        _plain_log_ticks(axes.yaxis)
        figure.legend(loc="outside lower left", ncols=3)  # no corner is free of every curve
        for number, name in enumerate(panels.drop("loss"), start=2):
            panel = _axes(figure, "Validation", (1, len(panels), number))
            panel.plot(found["step"], found[name], "o-", color=COLOURS[1], clip_on=False)
            panel.set(xlabel="Training step", ylabel=LABELS.get(name, name), xlim=axes.get_xlim())


def quality_against_calls(path: str | Path, table: pd.DataFrame, title: str = "") -> None:
    """Quality against network calls: a panel per metric, a line per sampler.

    Args:
        path: PNG to write.
        table: columns ``sampler``, ``nfe``, and one per metric; missing values are skipped. The columns
            ``low of METRIC`` and ``high of METRIC`` are the ends of its interval, ``n`` is the number of
            images of every row, and its seeds are shown with its line, or above when all have the same.
            ``FID real`` is the floor of ``FID``, drawn dotted; protocols are not drawn.
        title: text above the figure.

    Raises:
        ValueError: a column is missing, or there is no metric.
    """
    ends = ("low of ", "high of ")
    metrics = [
        c for c in table.columns if c not in BESIDE and not str(c).startswith(ends) and " real" not in str(c)
    ]
    images = f", n {table['n'].iloc[0]}" if "n" in table else ""
    if not {"sampler", "nfe"} <= set(table.columns) or not metrics:
        raise ValueError(f"columns must be sampler, nfe and metrics, not {list(table.columns)}")
    seeds = {sampler: _seeds(rows) for sampler, rows in table.groupby("sampler", sort=False)}
    shared = set(seeds.values()).pop() if len(set(seeds.values())) == 1 else None
    width = max(3.6, 3.2 * len(metrics))
    with canvas(path, width, 2.9) as figure:
        for i, metric in enumerate(metrics):
            axes = _axes(figure, "", (1, len(metrics), i + 1))
            for n, (sampler, rows) in enumerate(table.groupby("sampler", sort=False)):
                known = rows.dropna(subset=[metric]).sort_values("nfe")
                colour, marker = COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]
                line = "--" if n >= len(COLOURS) else "-"  # the colours begin again
                label = str(sampler) if shared is not None else f"{sampler} ({seeds[sampler]})"
                axes.plot(known["nfe"], known[metric], line, color=colour, marker=marker, label=label)
                if f"low of {metric}" in known:
                    low, high = (known[f"{end}{metric}"] for end in ends)
                    axes.fill_between(known["nfe"], low, high, color=colour, alpha=0.1, linewidth=0)
            if str(metric).startswith("FID") and (floor := str(metric).replace("FID", "FID real")) in table:
                axes.axhline(table[floor].median(), color="0.5", ls=":", label="real images")
            _calls_axis(axes, table["nfe"])
            axes.set_ylabel(f"{LABELS.get(str(metric), metric)}{images}")
            _log_if_wide(axes, table[metric].dropna())
        drawn = [line for axes in figure.axes for line in zip(*axes.get_legend_handles_labels(), strict=True)]
        lines = {name: handle for handle, name in reversed(drawn)}
        names, handles = list(lines)[::-1], list(lines.values())[::-1]
        fitting = int(width / (0.55 + 0.065 * max(map(len, names))))
        figure.legend(handles, names, loc="outside lower center", ncols=max(1, min(len(names), fitting)))
        figure.suptitle(": ".join(filter(None, (title, shared))), fontsize=9, weight="bold")


def _seeds(rows: pd.DataFrame) -> str:
    """What the rows were drawn with, in words; "" where they do not say."""
    found = {name: rows[name].dropna().unique() for name in SEEDS if name in rows}
    return ", ".join(
        f"{name} {'/'.join(f'{s:g}' for s in seeds)}" for name, seeds in found.items() if len(seeds)
    )


def spectrum_fit(
    path: str | Path,
    k: ArrayLike,
    power: ArrayLike,
    fit: ArrayLike,
    title: str = "",
    pictures: Sequence[tuple[ArrayLike, ArrayLike]] = (),
    natural: float = 2.0,
) -> None:
    """Power spectrum of a dataset and the fitted law, both logarithmic.

    Args:
        path: PNG to write.
        k: spatial frequencies; zero, which a logarithmic axis cannot show, is left out.
        power: mean power at ``k``.
        fit: the law at ``k``.
        title: text above the figure.
        pictures: frequencies and power of each photograph, drawn beside the law of natural images.
        natural: exponent of that law.
    """
    order = np.argsort(k)
    x, data, law = (np.asarray(v, dtype=np.float64)[order] for v in (k, power, fit))
    data, law, x = data[x > 0], law[x > 0], x[x > 0]
    with canvas(path, 3.6, 2.9) as figure:
        axes = _axes(figure, title)
        for i, line in enumerate(pictures):
            axes.plot(*line, color="0.6", linewidth=0.5, label="" if i else "each photograph")
        axes.scatter(x, data, s=9, color=COLOURS[5], linewidths=0, label="data")
        axes.plot(x, law, color=COLOURS[1], label="fit")
        if pictures:
            line = data[0] * (x[0] / x) ** natural
            axes.plot(x, line, "--", color=COLOURS[2], label=f"natural images, $1/|k|^{{{natural:g}}}$")
        axes.set(xscale="log", yscale="log", xlabel=r"Spatial frequency $|k|$", ylabel="Mean power")
        _plain_log_ticks(axes.xaxis)
        axes.legend(loc="lower left" if pictures else "upper right")


def _axes(figure: Figure, title: str, place: tuple[int, int, int] = (1, 1, 1)) -> Axes:
    axes = figure.add_subplot(*place)
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_title(title, weight="bold")
    return axes


def _calls_axis(axes: Axes, measured: pd.Series) -> None:
    """Logarithmic, ticked at the numbers of calls that were measured; of close ones at the most frequent."""
    calls: list[int] = []
    for c in measured.value_counts().index:
        if all(max(c, other) >= 1.25 * min(c, other) for other in calls):
            calls.append(c)
    axes.set_xscale("log")
    axes.set_xlabel("Network calls")
    axes.set_xticks(calls, [f"{c:g}" for c in calls])
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
