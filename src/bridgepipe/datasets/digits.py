"""scikit-learn's 1,797 handwritten digits: real images that need no download."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bridgepipe.datasets.images import Size, height_width
from bridgepipe.datasets.items import FRACTIONS, Item, divide, write_splits
from bridgepipe.names import DIGITS, DIGITS_WITH
from bridgepipe.photographs.samples import installed

HAS_LOOP = {int(digit) for digit in DIGITS_WITH["loop"]}
CLASSES = list(DIGITS)
# a line for each: 64 levels of 0 to 16, and the digit
FILE = "sklearn/datasets/data/digits.csv.gz"
DIGEST = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"


def prepare(
    out_dir: str | Path,
    *,
    size: Size = 32,
    seed: int = 0,
    fractions: Mapping[str, float] = FRACTIONS,
    progress: bool | None = None,
) -> None:
    """Write train, val and test of the digits, white on black, RGB, with labels and attributes.

    The 8x8 images of 17 grey levels are enlarged as floats by BICUBIC interpolation, which
    gives smooth strokes, and rounded. Attributes: ``even`` and ``has_loop`` (0, 6, 8, 9: the usual
    shape encloses a region) as 0 or 1, ``ink`` (mean of the 8x8 image in [0, 1]) and ``slant``.

    Args:
        size: side of the square, or (height, width).
        seed: seed of the stratified split.
        fractions: share of each split; 0 leaves a split out.
    """
    splits = divide(digit_items(height_width(size)), fractions, seed)
    made_by = {
        "source": "digits",
        "size": list(height_width(size)),
        "seed": seed,
        "fractions": dict(fractions),
    }
    write_splits(Path(out_dir), splits, made_by, CLASSES, progress=progress)


def prepare_classes(
    out_dir: str | Path,
    *,
    classes: Sequence[int],
    size: Size = 32,
    seed: int = 0,
    fractions: Mapping[str, float] = FRACTIONS,
    progress: bool | None = None,
) -> None:
    """Write the images of some classes alone, numbered anew in their order.

    Every image is in the split that `prepare` puts it in.

    Args:
        classes: digits; the others as in `prepare`.
    """
    number = {str(digit): index for index, digit in enumerate(classes)}
    splits = {
        split: [
            replace(item, label=number[CLASSES[item.label]])
            for item in items
            if item.label is not None and CLASSES[item.label] in number
        ]
        for split, items in divide(digit_items(height_width(size)), fractions, seed).items()
    }
    made_by = {
        "source": "digit-classes",
        "classes": list(classes),
        "size": list(height_width(size)),
        "seed": seed,
        "fractions": dict(fractions),
    }
    write_splits(Path(out_dir), splits, made_by, list(number), progress=progress)


def digit_items(size: tuple[int, int]) -> list[Item]:
    """All digits in scikit-learn's order."""
    rows = np.loadtxt(gzip.decompress(installed(FILE, DIGEST, "digits")).decode().splitlines(), delimiter=",")
    images, labels = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)
    return [
        Item(
            name=f"{index:04d}",
            load=partial(_load, image, size),
            label=int(label),
            attributes={
                "even": int(label % 2 == 0),
                "has_loop": int(label in HAS_LOOP),
                "ink": float(image.mean() / 16),
                "slant": slant(image),
            },
        )
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def _load(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray]:
    return (enlarge(image, size),)


def enlarge(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``[8, 8]`` of 0..16 to uint8 ``[H, W, 3]``."""
    small = Image.fromarray((image * (255 / 16)).astype(np.float32))
    grey = np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))
    return np.repeat(grey.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def slant(image: np.ndarray) -> float:
    """Tangent of the angle by which a shape leans to the right: -mu_11 / mu_02 of its central moments."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image / image.sum()
    dx, dy = x - (weight * x).sum(), y - (weight * y).sum()
    # y points down, hence the sign.
    return float(-(weight * dx * dy).sum() / (weight * dy * dy).sum())
