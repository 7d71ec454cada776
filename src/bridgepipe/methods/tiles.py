"""Large pictures in overlapping tiles that are blended, so that memory follows the tile, not the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import lcm, prod

import numpy as np
import torch
from torch import Tensor, nn

JPEG_BLOCK = 16  # pixels between the corners of JPEG's blocks with subsampled chroma, of which tiles are made
PROBE = 1024  # pixels of the line on which `reach` is measured


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: rows top to bottom - 1, columns left to right - 1."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Tiling:
    """How a picture is divided into tiles.

    Args:
        side: pixels between the cuts, at most.
        margin: pixels beyond a cut that a tile sees, at least half of ``blend``.
        blend: pixels around a cut over which one tile fades into the next.
        align: every window begins at a multiple of it.
    """

    side: int
    margin: int
    blend: int
    align: int = JPEG_BLOCK

    def cuts(self, length: int) -> list[int]:
        """Where a side of the picture is cut, in pieces of one length; the first is 0, the last its end."""
        pieces = -(-length // self.side)
        piece = up_to(-(-length // pieces), self.align)
        return [*range(0, length, piece), length]

    def count(self, size: tuple[int, int]) -> int:
        """Tiles of a picture of a height and width."""
        return prod(len(self.cuts(length)) - 1 for length in size)

    def seen(self, start: int, stop: int, length: int) -> tuple[int, int]:
        """What a tile from cut to cut sees of a side of the picture."""
        margin = up_to(self.margin, self.align)
        return max(start - margin, 0), min(stop + margin, length)


def up_to(length: int, multiple: int) -> int:
    """The next multiple that is not smaller."""
    return -(-length // multiple) * multiple


def alignment(factor: int) -> int:
    """Multiple of pixels at which tiles of a network that halves its input to 1 / factor may begin."""
    return lcm(JPEG_BLOCK, factor)


def cut(pixels: np.ndarray, window: Window) -> np.ndarray:
    """The pixels of a window ``[B, h, w, C]``; beyond the picture ``[B, H, W, C]`` its edge is repeated."""
    height, width = pixels.shape[1:3]
    inside = pixels[:, window.top : min(window.bottom, height), window.left : min(window.right, width)]
    below, beside = max(window.bottom - height, 0), max(window.right - width, 0)
    return np.pad(inside, [(0, 0), (0, below), (0, beside), (0, 0)], mode="edge")


def blended(
    run: Callable[[Window], Tensor], size: tuple[int, int], tiling: Tiling
) -> Iterator[tuple[int, Tensor]]:
    """The result of all tiles as one picture, from top to bottom, in strips as soon as each is whole.

    Args:
        run: makes ``[B, C, h, w]`` of what a tile sees.
        size: height and width of the picture.

    Yields:
        The first row of a strip, and its pixels ``[B, C, rows, width]``.
    """
    height, width = size
    half = tiling.blend // 2
    across = list(pairwise(tiling.cuts(width)))
    carried: Tensor | None = None  # rows around the last cut, which the tiles below are to be added to
    for top, bottom in pairwise(tiling.cuts(height)):
        first, last = max(top - half, 0), min(bottom + half, height)
        strip: Tensor | None = None
        for left, right in across:
            start, stop = max(left - half, 0), min(right + half, width)
            seen = Window(*tiling.seen(top, bottom, height), *tiling.seen(left, right, width))
            found = run(seen)[..., first - seen.top : last - seen.top, start - seen.left : stop - seen.left]
            if strip is None:
                strip = found.new_zeros(*found.shape[:-2], last - first, width)
            rows = weights(top, bottom, height, half).to(found)[:, None]
            strip[..., start:stop] += found * (rows * weights(left, right, width, half).to(found))
        assert strip is not None
        if carried is not None:
            strip[..., : carried.shape[-2], :] += carried
        whole = strip.shape[-2] if bottom == height else bottom - half - first
        yield first, strip[..., :whole, :]
        carried = strip[..., whole:, :]


def weights(start: int, stop: int, length: int, half: int) -> Tensor:
    """Weight of a tile at each pixel from ``start - half`` to ``stop + half``; all tiles together are 1."""
    at = torch.arange(max(start - half, 0), min(stop + half, length)) + 0.5
    found = torch.ones(len(at))
    if start > 0 and half:
        found *= ((at - start + half) / (2 * half)).clamp(0, 1)
    if stop < length and half:
        found *= ((stop + half - at) / (2 * half)).clamp(0, 1)
    return found


@torch.no_grad()
def reach(network: nn.Module, channels: int, factor: int) -> int | None:
    """How many pixels away the input still moves an output pixel; None: the whole picture does.

    It is measured: a NaN in the input spreads to exactly the outputs that it has a part in, whatever the
    weights are. Attention and group normalisation spread it to all.

    Args:
        channels: channels of the input.
        factor: number that the sides of the input are multiples of.
    """
    parameter = next(network.parameters())
    line = torch.zeros(1, channels, 4 * factor, up_to(PROBE, factor)).to(parameter)
    places = torch.tensor([line.shape[-1] // 2 + k for k in range(factor)])
    line[..., places] = torch.nan
    # fast convolutions by transforms would spread it further
    with torch.backends.cudnn.flags(enabled=False):
        output = network(line, torch.ones(1).to(parameter))
    moved = output.isnan().any(dim=1).any(dim=1)[0].nonzero().flatten().cpu()
    if not len(moved) or moved[0] == 0 or moved[-1] == line.shape[-1] - 1:
        return None if len(moved) else 0
    # from the far end of the square of pixels, all of which the network sees as one
    return int(max(places[-1] - moved[0], moved[-1] - places[0]))
