"""The pixels of one photograph as a cloud of points in three dimensions, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from bridgepipe.datasets import points
from bridgepipe.datasets.images import decode
from bridgepipe.errors import UserError
from bridgepipe.photographs.samples import photographs
from bridgepipe.runtime.rng import generator

Space = Literal["rgb", "lab"]
EMBEDDED = ("china", "flower")
SMALLEST = 8
# IEC 61966-2-1: linear sRGB to CIE XYZ; its white is D65
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
FROM_XYZ = np.linalg.inv(TO_XYZ)
WHITE = TO_XYZ.sum(1)
DELTA = 6 / 29  # of the CIE definition of Lab


@dataclass(frozen=True)
class Scaling:
    """The affine map from colours c of a space to the points x that a network sees: x = (c - shift) / scale.

    One scale serves all three axes, so that optimal transport between scaled clouds is
    optimal transport between the colours.

    Attributes:
        space: colour space: rgb in [0, 255], or CIE Lab of D65 (L in [0, 100]).
        shift: mean colour of the photograph.
        scale: root mean square, over the axes, of the standard deviations.
    """

    space: Space
    shift: tuple[float, float, float]
    scale: float

    @staticmethod
    def fitted(image: np.ndarray, space: Space) -> Scaling:
        """The map under which the pixels of uint8 ``[H, W, 3]`` have mean 0 and mean variance 1."""
        colours = to_space(image.reshape(-1, 3), space)
        red, green, blue = colours.mean(0).tolist()
        # an image of one colour has nothing to scale
        return Scaling(space, (red, green, blue), float(np.sqrt(colours.var(0).mean())) or 1.0)

    @staticmethod
    def of(card: Mapping[str, Any]) -> Scaling:
        """The map that the card of a file of colours describes."""
        made_by = card["made_by"]
        return Scaling(made_by["space"], tuple(made_by["shift"]), made_by["scale"])

    def to_points(self, rgb: np.ndarray) -> np.ndarray:
        """RGB ``[..., 3]`` in [0, 255] to float32 ``[N, 3]``, in reading order."""
        colours = to_space(rgb.reshape(-1, 3), self.space)
        return ((colours - np.array(self.shift)) / self.scale).astype(np.float32)

    def to_colours(self, points: np.ndarray) -> np.ndarray:
        """Points ``[N, 3]`` to colours of the space, float64 ``[N, 3]``."""
        return points.astype(np.float64) * self.scale + np.array(self.shift)

    def to_image(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Points ``[H * W, 3]`` in reading order to uint8 ``[H, W, 3]``, rounded and clipped.

        Raises:
            UserError: there are not H * W points.
        """
        return as_image(self.to_colours(points), self.space, size)


def prepare(
    out_dir: str | Path, *, image: str, space: Space = "rgb", size: int | None = None, seed: int = 0
) -> None:
    """Write every pixel of a photograph as a point: ``test.safetensors`` and ``train.safetensors``.

    ``test`` has the pixels as they are, in reading order. ``train`` has the same pixels, each with
    uniform noise of one level of its 256, so that the cloud has a density.
    The card keeps the size of the image and the `Scaling`.

    Args:
        image: ``china`` or ``flower`` (scikit-learn's sample photographs), or an image file.
        space: colour space in which the points lie.
        size: longer side in pixels, to which a larger image is reduced; None: as it is.
        seed: seed of the noise, >= 0.

    Raises:
        UserError: unknown space, unreadable image, or a size below 8.
    """
    if space not in get_args(Space):
        raise UserError(f"unknown space {space!r}", "colors", f"choose from {', '.join(get_args(Space))}")
    pixels = load(image, size)
    scaling = Scaling.fitted(pixels, space)
    noise = generator(seed, "dequantise").random(pixels.shape) - 0.5
    made_by = {
        "source": "colors",
        "image": image,
        "space": space,
        "size": list(pixels.shape[:2]),
        "shift": list(scaling.shift),
        "scale": scaling.scale,
        "seed": seed,
    }
    for split, rgb in (("train", pixels + noise), ("test", pixels)):
        path = Path(out_dir) / f"{split}.safetensors"
        points.save(path, scaling.to_points(rgb), {**made_by, "split": split})


def load(image: str | Path, size: int | None = None) -> np.ndarray:
    """A photograph as uint8 ``[H, W, 3]``, reduced so that its longer side is ``size`` at most.

    Raises:
        UserError: unreadable image, or a size below 8.
    """
    if size is not None and size < SMALLEST:
        raise UserError(f"a size of {size} pixels is too small", image, f"use {SMALLEST} or more")
    photo = _opened(image)
    factor = 1.0 if size is None else min(1.0, size / max(photo.size))
    if factor < 1:
        photo = photo.resize([max(1, round(side * factor)) for side in photo.size], Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    return np.array(photo)


def _opened(image: str | Path) -> Image.Image:
    if image in EMBEDDED:
        return decode(next(photo for photo in photographs() if photo.name == image).read())
    try:
        return decode(Path(image))
    except (OSError, ValueError) as e:
        hint = f"give an image file, or one of {', '.join(EMBEDDED)}"
        raise UserError(f"cannot read the image: {getattr(e, 'strerror', None) or e}", image, hint) from e


def as_image(colours: np.ndarray, space: Space, size: tuple[int, int]) -> np.ndarray:
    """Colours ``[H * W, 3]`` of a space to uint8 ``[H, W, 3]``, rounded and clipped.

    Raises:
        UserError: there are not H * W colours.
    """
    if len(colours) != size[0] * size[1]:
        raise UserError(
            f"{len(colours)} points", f"image of {size[0]} x {size[1]}", "give one for every pixel"
        )
    return from_space(colours, space).round().clip(0, 255).astype(np.uint8).reshape(*size, 3)


def to_space(rgb: np.ndarray, space: Space) -> np.ndarray:
    """sRGB ``[N, 3]`` in [0, 255] to colours of a space, float64."""
    return rgb.astype(np.float64) if space == "rgb" else rgb_to_lab(rgb / 255)


def from_space(colours: np.ndarray, space: Space) -> np.ndarray:
    """Colours of a space ``[N, 3]`` to sRGB in [0, 255], float64, not clipped."""
    return colours if space == "rgb" else 255 * lab_to_rgb(colours)


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB ``[..., 3]`` in [0, 1] to CIE Lab of D65 (CIE 15): L in [0, 100]; float64."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0.0) + 0.055) / 1.055) ** 2.4)
    t = linear @ TO_XYZ.T / WHITE
    x, y, z = np.moveaxis(np.where(t > DELTA**3, np.cbrt(t), t / (3 * DELTA**2) + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """CIE Lab of D65 ``[..., 3]`` to sRGB, float64; outside [0, 1] where a screen has no such colour."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    linear = (np.where(f > DELTA, f**3, 3 * DELTA**2 * (f - 4 / 29)) * WHITE) @ FROM_XYZ.T
    curved = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curved)
