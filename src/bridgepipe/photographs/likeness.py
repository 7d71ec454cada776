"""What a picture is like: the quality of a JPEG, simple measures of its content, and what a network knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

SUBSAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
JPEG_QUALITY = "jpeg_quality"  # measure of the file, beside those of its pixels
SAMPLED = 256  # side of the squares of a large picture that are measured


def jpeg_quality(image: Image.Image) -> int | None:
    """Quality of 1..100 whose tables of libjpeg are nearest to those of a file; None: it is no JPEG."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    steps = np.asarray(tables[min(tables)], np.float64)
    distance = np.abs(np.log(_steps()) - np.log(steps.clip(1))).mean(axis=1)
    return int(distance.argmin()) + 1


@cache
def _steps() -> np.ndarray:
    """Steps of the luma coefficients of every quality [100,64]."""
    # here: it loads PyTorch, which a wrong input is not to wait for
    from bridgepipe.corruptions.jpeg import quantisation

    return np.stack([quantisation(quality)[0].flatten().double().numpy() for quality in range(1, 101)])


def jpeg_in_words(image: Image.Image) -> str | None:
    """Such as "JPEG of quality about 10, 4:2:0"; None: it is no JPEG."""
    quality = jpeg_quality(image)
    if quality is None:
        return None
    grey = image.mode == "L"
    kind = None if grey else SUBSAMPLING.get(JpegImagePlugin.get_sampling(image))
    return f"JPEG of quality about {quality}" + (f", {kind}" if kind else "")


def measures(pixels: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation, mean gradient and saturation of a picture [H,W,3], on a scale of 0 to 255.

    The gradient is the mean difference of neighbours along rows and columns. The saturation is the mean
    difference of the largest and the smallest of the three channels.
    """
    sample = _sampled(pixels).astype(np.float32) * (255 / np.iinfo(pixels.dtype).max)
    grey = sample.mean(axis=-1)
    steps = [np.abs(np.diff(grey, axis=axis)) for axis in (-2, -1)]
    found = {
        "mean": grey.mean(),
        "sd": grey.std(),
        "gradient": sum(float(step.mean()) for step in steps if step.size) / 2,
        "saturation": (sample.max(axis=-1) - sample.min(axis=-1)).mean(),
    }
    return {name: round(float(value), 2) for name, value in found.items()}


def _sampled(pixels: np.ndarray) -> np.ndarray:
    """Squares [N,h,w,3] spread over a large picture, or all of a small one."""
    tops, lefts = (_spread(side) for side in pixels.shape[:2])
    height, width = (min(side, SAMPLED) for side in pixels.shape[:2])
    return np.stack([pixels[y : y + height, x : x + width] for y in tops for x in lefts])


def _spread(side: int) -> list[int]:
    if side <= SAMPLED:
        return [0]
    return sorted({round(at) for at in np.linspace(0, side - SAMPLED, min(4, -(-side // SAMPLED)))})


def ranges(pictures: Iterable[np.ndarray]) -> dict[str, list[float]]:
    """Smallest and largest value of every measure over pictures, as model cards record them."""
    found = [measures(pixels) for pixels in pictures]
    return {name: [min(m[name] for m in found), max(m[name] for m in found)] for name in found[0]}


def unlike(size: tuple[int, int], found: Mapping[str, float], trained_for: Mapping[str, Any]) -> list[str]:
    """In which measures a picture is outside what a network was trained on, in words.

    Args:
        size: height and width of the picture.
        found: measures of the picture, and its JPEG quality where it has one.
        trained_for: entry of the model card; missing values are not compared.
    """
    statistics = trained_for.get("statistics", {})
    outside = [
        f"{name.replace('_', ' ')} {value:g} (trained on {low:g} to {high:g})"
        for name, value in found.items()
        if name in statistics
        for low, high in [statistics[name]]
        if not low <= value <= high
    ]
    if "size" in trained_for:
        low, high = trained_for["size"]
        if min(size) < low or max(size) > high:
            outside.append(f"{size[1]} x {size[0]} pixels (trained on sides of {low:g} to {high:g})")
    return outside
