"""Patches of the sample photographs inside installed packages, and pairs of their edges and themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridgepipe.datasets.images import decode
from bridgepipe.datasets.items import SPLITS, write_splits
from bridgepipe.datasets.patches import Layers, Patches, Picture, alone, resized
from bridgepipe.photographs.samples import SUBJECTS, Grid, Photograph, photographs

EDGE_GAIN = 1.5


def prepare(out_dir: str | Path, *, patches: Mapping[str, Any], progress: bool | None = None) -> None:
    """Write train, val and test patches; each photograph is in one split, the label is its subject.

    Args:
        patches: arguments of `Grid`.

    Raises:
        UserError: a photograph is not where its package should hold it.
    """
    _write(out_dir, "sample-photos", Grid(**patches), alone, progress, [""])


def prepare_edges(out_dir: str | Path, *, patches: Mapping[str, Any], progress: bool | None = None) -> None:
    """Write pairs: x0 (``{split}.lmdb``) a patch, x1 (``{split}-source.lmdb``) its edges, dark on white.

    Args and Raises as `prepare`.
    """

    def with_edges(pixels: np.ndarray) -> Layers:
        return pixels, edges(pixels)

    _write(out_dir, "photo-edges", Grid(**patches), with_edges, progress, ["", "-source"])


def _write(
    out_dir: str | Path,
    source: str,
    grid: Grid,
    layers_of: Callable[[np.ndarray], Layers],
    progress: bool | None,
    suffixes: list[str],
) -> None:
    made_by = {
        "source": source,
        "size": [grid.size, grid.size],
        "stride": grid.step,
        "scales": list(grid.scales),
        "licences": {
            split: {photo.name: photo.licence for photo in photographs() if photo.split == split}
            for split in SPLITS
        },
    }
    write_splits(
        Path(out_dir), patches_of(grid, layers_of), made_by, SUBJECTS, progress=progress, suffixes=suffixes
    )


def patches_of(grid: Grid, layers_of: Callable[[np.ndarray], Layers] = alone) -> dict[str, Patches]:
    """The patches of every split, see `Patches`."""
    return {
        split: Patches([_picture(photo) for photo in photographs() if photo.split == split], grid, layers_of)
        for split in SPLITS
    }


def _picture(photo: Photograph) -> Picture:
    content = photo.read()  # all of them before the first is cut

    def load() -> np.ndarray:
        return resized(np.asarray(decode(content)), 1 / photo.reduce)

    return Picture(photo.name, photo.reduced, load, SUBJECTS.index(photo.subject))


def edges(image: np.ndarray) -> np.ndarray:
    """Sobel magnitude of the smoothed luminance, uint8 ``[H, W, 3]``: 255 where the image is flat."""
    from scipy.ndimage import gaussian_filter, sobel

    grey = gaussian_filter(image @ np.array([0.299, 0.587, 0.114]), 1.0)
    strength = np.hypot(sobel(grey, 0), sobel(grey, 1))
    drawn = (255 - EDGE_GAIN * strength).round().clip(0, 255).astype(np.uint8)
    return np.repeat(drawn[..., None], 3, axis=2)
