"""Pictures of boundaries: where images mix, edits side by side, what flips and what stays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bridgepipe.figures.canvas import INK, Cell, Images, canvas, mosaic
from bridgepipe.figures.images import COLOURS

if TYPE_CHECKING:
    import pandas as pd

EQUAL = 60.0  # dB: images that are the same leave the scale to the others


def mixing_curve(path: str | Path, table: pd.DataFrame, t: int, title: str = "") -> None:
    """Distance of the latents to the Gaussian shell, and accuracy of boundaries, against the step.

    Args:
        path: PNG to write.
        table: rows of `boundary_mixing.MixingRow`.
        t: the chosen step, drawn as a line.
        title: text above the figure.
    """
    with canvas(path, 6.8, 3.4) as figure:
        shell, separable = (_panel(figure, k) for k in (1, 2))
        for n, (name, words) in enumerate(
            (("radius", r"radius $|z|/\sqrt{D}$"), ("spread", r"spread $|z-z'|/\sqrt{2D}$"))
        ):
            shell.plot(table["t"], table[name], color=COLOURS[n], marker="o", label=words)
        shell.axhline(1, color=INK, linewidth=0.6, linestyle=":")
        shell.set(xlabel="Step t", ylabel="Relative to the Gaussian shell")
        for n, (space, words) in enumerate((("z", "latent z"), ("h", "bottleneck h"))):
            _share(separable, table, "t", f"{space}_accuracy", COLOURS[n], words)
        separable.set(xlabel="Step t", ylabel="Accuracy (95 % interval)")
        separable.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        for axes in (shell, separable):
            axes.axvline(t, color=INK, linewidth=0.8, linestyle="--", label=f"mixing step {t}")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
        figure.suptitle(title, weight="bold", fontsize=9)


def _panel(figure: Figure, place: int) -> Axes:
    axes = figure.add_subplot(1, 2, place)
    axes.grid(True)
    axes.set_axisbelow(True)
    return axes


def _share(axes: Axes, table: pd.DataFrame, x: str, name: str, colour: str, words: str) -> None:
    """A share against a column, with its interval, and the number of its cases in the legend."""
    known = table.dropna(subset=[name])
    fewest, most = int(known[f"{name}_n"].min()), int(known[f"{name}_n"].max())
    n = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    _curve(axes, known, x, name, colour, f"{words} (n {n})")


def _curve(axes: Axes, table: pd.DataFrame, x: str, name: str, colour: str, label: str) -> None:
    """A number against a column, with its interval where there is one."""
    axes.plot(table[x], table[name], color=colour, marker="o", label=label)
    if f"{name}_low" in table:
        ends = table[f"{name}_low"], table[f"{name}_high"]
        axes.fill_between(table[x], *ends, color=colour, alpha=0.15, linewidth=0)


def strip_grid(
    path: str | Path,
    strips: Images,
    distances: Sequence[float],
    beside: dict[str, Images],
    title: str = "",
    captions: Sequence[Sequence[str]] | None = None,
) -> None:
    """A row per image: itself, then edited at every distance.

    Args:
        path: PNG to write.
        strips: uint8 ``[N, K, H, W, C]``.
        distances: ``[K]``, the headings.
        beside: what stands left of the strips, by heading: uint8 ``[N, H, W, C]``.
        title: text above the figure.
        captions: a text under every edited image, ``[N][K]``; None: none.
    """
    cells = [
        Cell(image, row, column)
        for column, images in enumerate(beside.values())
        for row, image in enumerate(images)
    ]
    for row, strip in enumerate(strips):
        for k, image in enumerate(strip):
            words = "" if captions is None else captions[row][k]
            cells.append(Cell(image, row, len(beside) + k, words))
    heads = [*beside, *(f"${d:+g}$" if d else "$0$" for d in np.round(distances, 3))]
    mosaic(path, cells, heads, [], title)


def shares(table: pd.DataFrame) -> list[str]:
    """The shares of rows of `evaluation.edits.measure`: ``flipped``, then what edits preserve."""
    counts = [str(name) for name in table.columns if re.fullmatch("preserved_.*_n", str(name))]
    return ["flipped", *(name.removesuffix("_n") for name in counts)]


def flips_against_distance(path: str | Path, table: pd.DataFrame, best: float, title: str = "") -> None:
    """Share of flipped edits with its interval, and what they keep, against the distance.

    Args:
        path: PNG to write.
        table: rows of `evaluation.edits.measure`.
        best: size of the best edit, drawn as lines on both sides.
        title: text above the figure.
    """
    with canvas(path, 6.8, 3.4) as figure:
        flipped, like = (_panel(figure, k) for k in (1, 2))
        for n, name in enumerate(shares(table)):
            _share(flipped, table, "distance", name, COLOURS[n], name.replace("preserved_", "preserved: "))
        flipped.set(
            xlabel="Distance of the edit", ylabel="Share of images (95 % interval)", ylim=(-0.03, 1.03)
        )
        flipped.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        columns = {"psnr": "image without a move", "psnr_original": "original"}
        for n, (name, words) in enumerate((k, w) for k, w in columns.items() if k in table):
            shown = table.where(table[name] < EQUAL)
            _curve(like, shown, "distance", name, COLOURS[n], f"to the {words}")
        like.set(xlabel="Distance of the edit", ylabel="PSNR in dB (95 % interval)")
        for axes in (flipped, like):
            for side in (-best, best):
                axes.axvline(side, color=INK, linewidth=0.6, linestyle=":")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
        figure.suptitle(title, weight="bold", fontsize=9)
