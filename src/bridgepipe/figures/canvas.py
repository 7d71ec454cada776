"""What every picture shares: style, size, atomic writing, and mosaics of images.

Matplotlib's objects on the Agg canvas, without pyplot and under its default
style, so that the bytes of a picture depend on the data alone.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bridgepipe.artifacts import atomic
from bridgepipe.datasets.images import MARK

Images = NDArray[np.uint8]

DPI = 200
CELL = 176  # pixels to which a small image is enlarged, at least
GAP = 8
LINE = 30  # pixels of a line of text
CHARACTER = 12.5  # pixels of a letter, about
INK = "#222222"
STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
}


@contextmanager
def canvas(path: str | Path, width: float, height: float, constrained: bool = True) -> Iterator[Figure]:
    """A figure of ``width`` x ``height`` inches, written to ``path`` as PNG when the block ends well."""
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained" if constrained else None)
        FigureCanvasAgg(figure)
        yield figure
        with atomic(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None, MARK: ""})


@dataclass(frozen=True)
class Cell:
    """One image, uint8 ``[H, W, C]`` with C 1 or 3, and its place in a mosaic."""

    image: Images
    row: int
    column: int
    caption: str = ""


def mosaic(
    path: str | Path, cells: Sequence[Cell], heads: Sequence[str], sides: Sequence[str], title: str
) -> None:
    """Images on whole pixels, enlarged by one whole factor: nothing is resampled.

    Args:
        path: PNG to write.
        cells: images of the grid.
        heads: a text above every column (wrapped to its width), or empty texts.
        sides: a text left of every row, or nothing.
        title: text above the figure.
    """
    tallest = max(c.image.shape[0] for c in cells)
    widest = max(c.image.shape[1] for c in cells)
    scale = max(1, math.ceil(CELL / max(tallest, widest)))
    caption = LINE if any(c.caption for c in cells) else 0
    step_x, step_y = scale * widest + GAP, scale * tallest + caption + GAP
    left = GAP + (2 * LINE if any(sides) else 0)
    width = left + step_x * len(heads)
    heads = [_wrapped(words, step_x) for words in heads]
    title = _wrapped(title, width - 6 * GAP)
    title_height = LINE * _lines(title)
    top = 2 * GAP + title_height + LINE * max(map(_lines, heads))
    height = top + step_y * (1 + max(c.row for c in cells))
    with canvas(path, width / DPI, height / DPI, constrained=False) as figure:

        def text(x: float, y: float, words: str, **how: Any) -> None:
            figure.text(x / width, 1 - y / height, words, **{"ha": "center", "va": "center", **how})

        for c in cells:
            x, y = left + step_x * c.column, top + step_y * c.row
            image = _enlarged(c.image, scale)
            h, w = image.shape[:2]
            axes = figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))
            axes.imshow(image, interpolation="none", aspect="auto")
            axes.set_axis_off()
            text(x + w / 2, y + h + LINE / 2, c.caption, fontsize=7)
        for column, words in enumerate(heads):
            text(left + step_x * column + scale * widest / 2, top - GAP / 2, words, va="bottom")
        for row, words in enumerate(sides):
            text(GAP + LINE, top + step_y * row + scale * tallest / 2, words)
        text(width / 2, GAP, title, va="top", fontsize=9, weight="bold")


def _wrapped(words: str, pixels: int) -> str:
    """Broken into as few lines as fit, of about equal length; formulas stay whole."""
    if "$" in words:
        return words
    limit = max(8, int(pixels / CHARACTER))
    fewest = len(textwrap.wrap(words, limit))
    fitting = (textwrap.wrap(words, width) for width in range(1, limit + 1))
    return "\n".join(next(lines for lines in fitting if len(lines) <= fewest))


def _lines(words: str) -> int:
    return words.count("\n") + bool(words)


def _enlarged(image: Images, scale: int) -> Images:
    """uint8 ``[H, W, 1 or 3]`` -> ``[scale H, scale W, 3]``, every pixel a square."""
    rgb = np.broadcast_to(image, (*image.shape[:2], 3))
    return rgb.repeat(scale, 0).repeat(scale, 1)
