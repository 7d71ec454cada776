"""Holes: a square in the centre, and freeform masks, read from a file or drawn. 1 = hole."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.runtime.rng import Noise, generator

RATIOS = {"freeform1020": (0.1, 0.2), "freeform2030": (0.2, 0.3), "freeform3040": (0.3, 0.4)}
FILE_KEYS = {
    "freeform1020": "10-20% freeform",
    "freeform2030": "20-30% freeform",
    "freeform3040": "30-40% freeform",
}
GENERATED_MASKS = 10_000
MOST_BYTES = 1 << 30  # of one ratio's masks; those published have 82 MB
# Distances to a stroke are smooth, so a grid of this side carries them for any image size.
COARSE = 64


class Masks(Protocol):
    """A numbered set of masks of one size."""

    def __len__(self) -> int: ...

    def take(self, indices: Sequence[int]) -> Tensor:
        """Masks with these numbers, float32 [B,1,H,W], 1 = hole."""
        ...


def fill_hole(image: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
    """``image`` with its hole (mask 1) replaced by ``noise``: what a network is given as x1."""
    return (1 - mask) * image + mask * noise


def whiten_hole(image: Tensor, mask: Tensor) -> Tensor:
    """``image`` with a white hole (+1): what a person is shown."""
    return image * (1 - mask) + mask


def numbers(count: int, batch: int, rng: Noise | None, items: Sequence[int] | None) -> list[int]:
    """Which of ``count`` masks each image gets: that of its item, else one drawn from ``rng``.

    A single mask is taken without a draw.

    Raises:
        ValueError: there is something to choose, but neither ``items`` nor ``rng``.
    """
    if count == 1:
        return [0] * batch
    if items is not None:
        return [item % count for item in items]
    if rng is None:
        raise ValueError("choosing a mask needs rng or items")
    return rng.integers(count).tolist()


class CentreMask:
    """The one mask with a hole of half the height and half the width, from a quarter on.

    Args:
        size: height and width, at least 2.

    Raises:
        UserError: no room for a hole.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        if min(size) < 2:
            raise UserError(
                f"no hole fits into {size[0]} x {size[1]} pixels", "inpaint-center", "use 2 x 2 or more"
            )
        (top, left), (height, width) = (n // 4 for n in size), (n // 2 for n in size)
        self._mask = torch.zeros(1, *size)
        self._mask[:, top : top + height, left : left + width] = 1

    def __len__(self) -> int:
        return 1

    def take(self, indices: Sequence[int]) -> Tensor:
        return self._mask.repeat(len(indices), 1, 1, 1)


class MaskFile:
    """Freeform masks of Palette's evaluation set (``imagenet_freeform_masks.npz``).

    One array of the file holds all masks of a ratio as single bits, not aligned
    to bytes between masks. It is read when the first mask is asked for and stays
    packed (82 MB for 10,000 masks of 256 x 256); a batch unpacks only its own.

    Args:
        path: the npz file.
        kind: ``freeform1020``, ``freeform2030`` or ``freeform3040``.
        size: height and width of the masks, which the file does not say.
    """

    def __init__(self, path: Path, kind: str, size: tuple[int, int] = (256, 256)) -> None:
        self._path, self._key, self._size = Path(path), FILE_KEYS[kind], size

    def __len__(self) -> int:
        return self._packed.size * 8 // math.prod(self._size)

    def take(self, indices: Sequence[int]) -> Tensor:
        """Masks with these numbers, float32 [B,1,H,W].

        Raises:
            IndexError: the file has fewer masks.
            UserError: the file cannot be read.
        """
        return torch.from_numpy(np.stack([self._unpack(int(i)) for i in indices])[:, None]).float()

    def _unpack(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"mask {index} of {len(self)} in {self._path}")
        count = math.prod(self._size)
        first, skip = divmod(index * count, 8)
        piece = self._packed[first : first + (skip + count + 7) // 8]
        return np.unpackbits(piece)[skip : skip + count].reshape(self._size)

    @cached_property
    def _packed(self) -> np.ndarray:
        try:
            packed = self._read()
        except FileNotFoundError:
            mend = "run `bridgepipe fetch i2sb/freeform-masks`, or leave the file out to draw masks"
            raise UserError("no mask file", self._path, mend) from None
        except KeyError:
            raise UserError(f"no masks named {self._key!r}", self._path, "choose another ratio") from None
        except Exception as error:  # a damaged archive raises almost anything
            what = f"unreadable mask file: {error or type(error).__name__}"
            raise UserError(" ".join(what.split()), self._path, "give the published .npz file") from error
        if packed.dtype != np.uint8 or packed.ndim != 1 or packed.size * 8 < math.prod(self._size):
            mend = "give the published .npz file, or leave the file out to draw masks"
            raise UserError(f"{self._key!r} holds no packed masks", self._path, mend)
        return packed

    def _read(self) -> np.ndarray:
        """The array of the ratio, once the archive's claims are known to fit the file."""
        with zipfile.ZipFile(self._path) as archive:
            member = archive.getinfo(f"{self._key}.npy")
            if member.file_size > MOST_BYTES:
                raise ValueError(f"{self._key!r} has {member.file_size} bytes, more than {MOST_BYTES}")
            file = io.BytesIO(archive.read(member))
        return np.lib.format.read_array(file, allow_pickle=False, max_header_size=1000)


class BrushMasks:
    """Freeform masks drawn with a brush: random strokes until the hole has the area asked for.

    Mask i is a fixed function of (size, interval, seed, i); it is drawn when it
    is first asked for and kept as bits. The hole's share of the image is uniform
    in the interval and never outside it.

    Args:
        size: height and width.
        low, high: smallest and largest share of the image, 0 < low < high < 1.
        seed: another seed is another set.
        count: number of masks.

    Raises:
        UserError: the image has too few pixels for the interval.
    """

    def __init__(
        self, size: tuple[int, int], low: float, high: float, seed: int = 0, count: int = GENERATED_MASKS
    ) -> None:
        pixels = math.prod(size)
        # The tolerance keeps 0.3 * 10 = 3.0000000000000004 from excluding three pixels of ten.
        self._fewest, self._most = math.ceil(low * pixels - 1e-9), math.floor(high * pixels + 1e-9)
        if self._fewest > self._most:
            where = f"hole of {low:.0%} to {high:.0%}"
            raise UserError(f"{size[0]} x {size[1]} pixels are too few", where, "use a larger image")
        self._size, self._seed, self._count = size, seed, count
        self._purpose = f"freeform {low:g}-{high:g}"
        self._drawn: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self._count

    def take(self, indices: Sequence[int]) -> Tensor:
        """Masks with these numbers, float32 [B,1,H,W]."""
        packed = np.stack([self._bits(int(i)) for i in indices])
        bits = np.unpackbits(packed, axis=1, count=math.prod(self._size))
        return torch.from_numpy(bits.reshape(-1, 1, *self._size)).float()

    def _bits(self, index: int) -> np.ndarray:
        if index not in self._drawn:
            random = generator(self._seed, self._purpose, index)
            area = int(random.integers(self._fewest, self._most, endpoint=True))
            self._drawn[index] = np.packbits(brush_mask(self._size, area, random))
        return self._drawn[index]


def brush_mask(size: tuple[int, int], area: int, random: np.random.Generator) -> np.ndarray:
    """A hole of exactly ``area`` pixels made of brush strokes, bool [H,W].

    Centre lines are laid whose length times a random brush width is about the
    area. The hole is the set of the ``area`` pixels nearest to them, which is
    what a brush of just the right width paints.
    """
    coarse = tuple(min(n, COARSE) for n in size)
    starts, ends = _strokes(size, area, random)
    field = _distance(size, coarse, starts, ends)
    full = F.interpolate(torch.from_numpy(field)[None, None], size=size, mode="bilinear", align_corners=True)
    distances = full.numpy().reshape(size)
    return distances <= np.partition(distances, area - 1, axis=None)[area - 1]


def _strokes(size: tuple[int, int], area: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Start and end (row, column) of each piece of one to four random strokes, float64 [S,2] each.

    A stroke that meets the border turns towards the centre.
    """
    side = math.sqrt(math.prod(size))
    width = side * random.uniform(0.05, 0.12)
    strokes = int(random.integers(1, 5))
    pieces = max(strokes, round(area / width / (0.12 * side)))
    stroke = np.arange(pieces) % strokes
    lengths = side * random.uniform(0.06, 0.18, pieces)
    turns = random.normal(0, 0.6, pieces)
    heading, place = random.uniform(0, 2 * math.pi, strokes), random.uniform(0, size, (strokes, 2))
    corner = np.array(size) - 1.0
    starts, ends = np.empty((pieces, 2)), np.empty((pieces, 2))
    for i, w in enumerate(stroke):
        heading[w] += turns[i]
        starts[i] = place[w]
        there = place[w] + lengths[i] * np.array([math.sin(heading[w]), math.cos(heading[w])])
        ends[i] = place[w] = np.clip(there, 0, corner)
        if (ends[i] != there).any():
            heading[w] = math.atan2(*(corner / 2 - ends[i]))
    return starts, ends


def _distance(
    size: tuple[int, int], grid: tuple[int, ...], starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Distance of every point of a grid that spans the image to the nearest piece, float64 [grid]."""
    rows, columns = (np.linspace(0, n - 1, points) for n, points in zip(size, grid, strict=True))
    dy = rows[None, :, None] - starts[:, 0, None, None]
    dx = columns[None, None, :] - starts[:, 1, None, None]
    along_y, along_x = np.moveaxis(ends - starts, 1, 0)[..., None, None]
    squared = np.maximum(along_y**2 + along_x**2, 1e-12)
    fraction = ((dy * along_y + dx * along_x) / squared).clip(0, 1)
    return np.hypot(dy - fraction * along_y, dx - fraction * along_x).min(0)
