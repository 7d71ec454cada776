"""Patches of scikit-learn's two sample photographs, and pairs of their edges and themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from bridgepipe.datasets.items import Item, Splits, write_splits
from bridgepipe.errors import UserError
from bridgepipe.names import PHOTOS

# Fractions (top, bottom, left, right) of a photograph: no pixel belongs to two splits.
REGIONS = {"train": (0, 1, 0, 0.7), "val": (0, 0.5, 0.7, 1), "test": (0.5, 1, 0.7, 1)}
EDGE_GAIN = 1.5
Layers = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def prepare(
    out_dir: str | Path, *, size: int = 64, stride: int | None = None, progress: bool | None = None
) -> None:
    """Write train, val and test patches; the label says which photograph.

    Args:
        size: side of a patch, at most 192.
        stride: pixels between patches; None: a quarter of the size for train, half for val and test.

    Raises:
        UserError: the patches are larger than a region.
    """
    _write(out_dir, "photos", _patches(size, stride, _plain), size, stride, progress, [""])


def prepare_edges(
    out_dir: str | Path, *, size: int = 64, stride: int | None = None, progress: bool | None = None
) -> None:
    """Write pairs: x0 (``{split}.lmdb``) a patch, x1 (``{split}-source.lmdb``) its edges, dark on white.

    Args and Raises as `prepare`.
    """
    _write(
        out_dir, "photo-edges", _patches(size, stride, _with_edges), size, stride, progress, ["", "-source"]
    )


def _write(
    out_dir: str | Path,
    source: str,
    splits: Splits,
    size: int,
    stride: int | None,
    progress: bool | None,
    suffixes: list[str],
) -> None:
    made_by = {"source": source, "size": [size, size], "stride": stride}
    write_splits(Path(out_dir), splits, made_by, PHOTOS, progress=progress, suffixes=suffixes)


def edges(image: np.ndarray) -> np.ndarray:
    """Sobel magnitude of the smoothed luminance, uint8 ``[H, W, 3]``: 255 where the image is flat."""
    from scipy.ndimage import gaussian_filter, sobel

    grey = gaussian_filter(image @ np.array([0.299, 0.587, 0.114]), 1.0)
    strength = np.hypot(sobel(grey, 0), sobel(grey, 1))
    drawn = (255 - EDGE_GAIN * strength).round().clip(0, 255).astype(np.uint8)
    return np.repeat(drawn[..., None], 3, axis=2)


def _plain(region: np.ndarray) -> tuple[np.ndarray, ...]:
    return (region,)


def _with_edges(region: np.ndarray) -> tuple[np.ndarray, ...]:
    return (region, edges(region))


def _patches(size: int, stride: int | None, layers_of: Layers) -> Splits:
    from sklearn.datasets import load_sample_image

    photos = [load_sample_image(f"{name}.jpg") for name in PHOTOS]
    splits: Splits = {}
    for split in REGIONS:
        step = stride or max(size // (4 if split == "train" else 2), 1)
        splits[split] = []
        for label, photo in enumerate(photos):
            top, left, region = _region(photo, split, size)
            # Edges are drawn region by region, so that none of them knows a pixel of another split.
            layers = layers_of(region)
            splits[split] += [
                Item(
                    f"{PHOTOS[label]}-{top + y:03d}-{left + x:03d}", partial(_cut, layers, y, x, size), label
                )
                for y in range(0, region.shape[0] - size + 1, step)
                for x in range(0, region.shape[1] - size + 1, step)
            ]
    return splits


def _region(photo: np.ndarray, split: str, size: int) -> tuple[int, int, np.ndarray]:
    top, bottom, left, right = REGIONS[split]
    height, width = photo.shape[:2]
    y0, y1, x0, x1 = int(top * height), int(bottom * height), int(left * width), int(right * width)
    if size > min(y1 - y0, x1 - x0):
        raise UserError(
            f"patches of {size} pixels do not fit",
            f"{split} region of {x1 - x0} x {y1 - y0} pixels",
            f"set size to at most {min(y1 - y0, x1 - x0)}",
        )
    return y0, x0, photo[y0:y1, x0:x1]


def _cut(layers: tuple[np.ndarray, ...], y: int, x: int, size: int) -> tuple[np.ndarray, ...]:
    return tuple(np.ascontiguousarray(layer[y : y + size, x : x + size]) for layer in layers)
