"""Patches of large pictures as items of a store: a picture is decoded once, and cut as it is written."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from bridgepipe.datasets.images import DECODERS, decode
from bridgepipe.datasets.items import Item
from bridgepipe.photographs.samples import Grid, scaled

if TYPE_CHECKING:
    from bridgepipe.data.store import ImageStore

Layers = tuple[np.ndarray, ...]
ORIENTATION = 0x0112  # of EXIF; from 5 on a picture lies on its side
RECENT = 2  # decoded pictures that are held: threads work on one, and on the first patches of the next


def alone(pixels: np.ndarray) -> Layers:
    """A picture of which nothing but itself is stored."""
    return (pixels,)


@dataclass(frozen=True)
class Picture:
    """A picture that patches are cut from.

    Attributes:
        name: what the names of its patches begin with.
        size: height and width in pixels.
        load: decodes it, uint8 ``[H, W, 3]``.
        label: class of its patches.
        bytes: size of its file, for the digest of the listing.
    """

    name: str
    size: tuple[int, int]
    load: Callable[[], np.ndarray]
    label: int | None = None
    bytes: int = 0


@dataclass
class _Decoded:
    """Layers of the pictures at their scales, the most recent ones."""

    layers_of: Callable[[np.ndarray], Layers]
    _held: OrderedDict[tuple[str, float], Layers | Exception] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def cut(self, picture: Picture, scale: float, y: int, x: int, size: int) -> Layers:
        layers = self._layers(picture, scale)
        return tuple(np.ascontiguousarray(layer[y : y + size, x : x + size]) for layer in layers)

    def _layers(self, picture: Picture, scale: float) -> Layers:
        key = (picture.name, scale)
        with self._lock:
            if key not in self._held:
                while len(self._held) >= RECENT:
                    self._held.popitem(last=False)
                self._held[key] = self._decode(picture, scale)
            held = self._held[key]
        if isinstance(held, Exception):
            raise held
        return held

    def _decode(self, picture: Picture, scale: float) -> Layers | Exception:
        try:
            return self.layers_of(resized(picture.load(), scale))
        except Exception as e:  # of every patch, without decoding it again and again
            return e


def measured(name: str, path: Path, grid: Grid, label: int | None, bytes: int) -> Picture:
    """A picture in a file, of which only the size is read.

    One that has no patch or cannot be read is given the size of a patch: reading it reports what is wrong.
    """

    def load() -> np.ndarray:
        pixels = np.asarray(decode(path))
        if not grid.count(*pixels.shape[:2]):
            raise ValueError(f"{pixels.shape[0]} x {pixels.shape[1]} pixels, smaller than a patch")
        return pixels

    try:
        with Image.open(path, formats=list(DECODERS)) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION, 1) >= 5
    except Exception:  # told when it is decoded, as any picture that is damaged
        height = width = 0
        turned = False
    size = (width, height) if turned else (height, width)
    return Picture(name, size if grid.count(*size) else (grid.size, grid.size), load, label, bytes)


class Patches(Sequence[Item]):
    """The patches of pictures, by picture, scale, row and column; an item is made when it is asked for.

    Args:
        pictures: what is cut.
        grid: where patches lie.
        layers_of: makes what is stored of a picture, one array for each store; by default the picture itself.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        grid: Grid,
        layers_of: Callable[[np.ndarray], Layers] = alone,
    ) -> None:
        self.pictures = pictures
        self._grid, self._decoded = grid, _Decoded(layers_of)
        self._parts = [(picture, scale) for picture in pictures for scale in grid.scales]
        shapes = [grid.shape(*picture.size, scale) for picture, scale in self._parts]
        self._across = [across for _, across in shapes]
        self._ends = list(accumulate(down * across for down, across in shapes))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Item]:
        return (self._item(index) for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._item(i) for i in range(len(self))[index]]
        return self._item(range(len(self))[index])

    def _item(self, index: int) -> Item:
        part = bisect_right(self._ends, index)
        picture, scale = self._parts[part]
        row, column = divmod(index - (self._ends[part - 1] if part else 0), self._across[part])
        size, step = self._grid.size, self._grid.step
        y, x = row * step, column * step
        load = partial(self._decoded.cut, picture, scale, y, x, size)
        return Item(_name(picture, scale, y, x), load, picture.label, bytes=picture.bytes)


def _name(picture: Picture, scale: float, y: int, x: int) -> str:
    return f"{picture.name}-{scale:g}-{y:04d}-{x:04d}"


def by_picture(store: ImageStore) -> dict[str, list[int]] | None:
    """Indices of the patches of every picture in a store, by its name; None where items are no patches."""
    pictures = pictures_of(store)
    if pictures is None:
        return None
    found: dict[str, list[int]] = {}
    for index, name in enumerate(pictures):
        found.setdefault(name, []).append(index)
    return found


def pictures_of(images: Any, items: Iterable[int] | None = None) -> list[str] | None:
    """Name of the picture that each patch was cut from; None where the images are no patches of a store.

    Args:
        images: a store, or a subset of one.
        items: indices of patches; None: all of them.
    """
    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import Subset

    if isinstance(images, Subset):
        return pictures_of(images.images, images.items if items is None else [images.items[i] for i in items])
    if not isinstance(images, ImageStore) or "stride" not in images.card["made_by"]:
        return None
    names = images.names or []
    return [names[item].rsplit("-", 3)[0] for item in (range(len(names)) if items is None else items)]


def resized(pixels: np.ndarray, scale: float) -> np.ndarray:
    """uint8 ``[H, W, 3]`` downscaled by Lanczos' kernel, widened by the scale; unchanged at scale 1."""
    if scale == 1:
        return pixels
    height, width = scaled((pixels.shape[0], pixels.shape[1]), scale)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
