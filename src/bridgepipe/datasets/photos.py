"""Patches of the sample photographs inside installed packages, and pairs of their edges and themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bridgepipe.datasets.images import decode
from bridgepipe.datasets.items import SPLITS, write_splits
from bridgepipe.datasets.patches import Layers, Patches, Picture, alone, resized
from bridgepipe.photographs.samples import Grid, Photograph, by_subject, photographs

EDGE_GAIN = 1.5
Classes = Mapping[str, Sequence[str]]


def prepare(
    out_dir: str | Path,
    *,
    patches: Mapping[str, Any],
    classes: Classes | None = None,
    progress: bool | None = None,
) -> None:
    """Write train, val and test patches; each photograph is in one split, and has one label.

    Args:
        patches: arguments of `Grid`.
        classes: names of the photographs of each class, the others are left out; None: all, by their subject.

    Raises:
        UserError: a photograph is not where its package should hold it.
    """
    _write(out_dir, "sample-photos", Grid(**patches), classes, alone, progress, [""])


def prepare_edges(
    out_dir: str | Path,
    *,
    patches: Mapping[str, Any],
    classes: Classes | None = None,
    progress: bool | None = None,
) -> None:
    """Write pairs: x0 (``{split}.lmdb``) a patch, x1 (``{split}-source.lmdb``) its edges, dark on white.

    Args and Raises as `prepare`.
    """

    def with_edges(pixels: np.ndarray) -> Layers:
        return pixels, edges(pixels)

    _write(out_dir, "photo-edges", Grid(**patches), classes, with_edges, progress, ["", "-source"])


def _write(
    out_dir: str | Path,
    source: str,
    grid: Grid,
    classes: Classes | None,
    layers_of: Callable[[np.ndarray], Layers],
    progress: bool | None,
    suffixes: list[str],
) -> None:
    label_of = _labels(classes)
    made_by = {
        "source": source,
        "size": [grid.size, grid.size],
        "stride": grid.step,
        "scales": list(grid.scales),
        "licences": {
            split: {photo.name: photo.licence for photo in _of(split, label_of)} for split in SPLITS
        },
    }
    splits, names = patches_of(grid, layers_of, classes), list(by_subject() if classes is None else classes)
    write_splits(Path(out_dir), splits, made_by, names, progress=progress, suffixes=suffixes)


def patches_of(
    grid: Grid, layers_of: Callable[[np.ndarray], Layers] = alone, classes: Classes | None = None
) -> dict[str, Patches]:
    """The patches of every split, see `Patches`; ``classes`` as in `prepare`."""
    label_of = _labels(classes)
    return {
        split: Patches(
            [_picture(photo, label_of[photo.name]) for photo in _of(split, label_of)], grid, layers_of
        )
        for split in SPLITS
    }


def _labels(classes: Classes | None) -> dict[str, int]:
    named = by_subject() if classes is None else classes
    return {name: label for label, of_class in enumerate(named.values()) for name in of_class}


def _of(split: str, names: Collection[str]) -> list[Photograph]:
    return [photo for photo in photographs() if photo.split == split and photo.name in names]


def _picture(photo: Photograph, label: int) -> Picture:
    content = photo.read()  # all of them before the first is cut

    def load() -> np.ndarray:
        return resized(np.asarray(decode(content)), 1 / photo.reduce)

    return Picture(photo.name, photo.reduced, load, label)


def edges(image: np.ndarray) -> np.ndarray:
    """Sobel magnitude of the smoothed luminance, uint8 ``[H, W, 3]``: 255 where the image is flat."""
    from scipy.ndimage import gaussian_filter, sobel

    grey = gaussian_filter(image @ np.array([0.299, 0.587, 0.114]), 1.0)
    strength = np.hypot(sobel(grey, 0), sobel(grey, 1))
    drawn = (255 - EDGE_GAIN * strength).round().clip(0, 255).astype(np.uint8)
    return np.repeat(drawn[..., None], 3, axis=2)
