"""Picture files that are written: restored pictures in their format, with the metadata of what they were."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from bridgepipe.errors import UserError
from bridgepipe.photographs import deep, metadata
from bridgepipe.photographs.animation import Spool, Times, animation, is_default
from bridgepipe.photographs.pictures import Picture, Whole

ORIENTATION = 274
# What a format's writer would drop the transparency of without a word, and what it is given instead.
INSTEAD = {("GIF", "LA"): "RGBA", ("PPM", "RGBA"): "RGB"}


def encoded(image: Whole, of: Picture, format: str, quality: int, **further: Any) -> bytes:
    """A picture as a file, with the metadata of the one that it was made of.

    Args:
        format: Pillow's name of the format, one of `WRITTEN`.
        quality: quality of lossy formats; their colours are not subsampled.
        further: further keyword arguments for Pillow.
    """
    if isinstance(image, np.ndarray):
        if format in deep.AS_FILE:
            return deep.AS_FILE[format](image, lambda shown: encoded(shown, of, format, quality))
        image = deep.as_8_bits(image)
    if not further:
        image = _upright(image, of, format)
    first = INSTEAD.get((format, image.mode), image.mode)
    for mode in (first, "RGBA" if "A" in image.getbands() else "RGB", "RGB", "L"):
        file = io.BytesIO()
        try:
            options = metadata.options(of.image, format, quality, mode) | further
            _converted(image, mode, of).save(file, format, **options)
        except (OSError, KeyError, ValueError) as e:  # how plugins say that they cannot write a mode
            last = e
            continue
        return file.getvalue()
    raise UserError(f"cannot be written as {format}: {last}", of.image.format, "give --format png")


def _upright(image: Image.Image, of: Picture, format: str) -> Image.Image:
    """Turned upright, where nothing in the file will tell a viewer to do so."""
    if format in metadata.WITH_EXIF or of.image.getexif().get(ORIENTATION, 1) == 1:
        return image
    return ImageOps.exif_transpose(_turned(image, of))


def animated(frames: Iterable[tuple[Picture, Whole]], first: Picture, format: str, quality: int) -> bytes:
    """An animation as a file.

    Args:
        frames: each frame as it was, and as it is to be.
        first: the first one, of which metadata are taken.
        format, quality: see `encoded`; one of the formats that hold animations.
    """
    times = Times()
    with Spool() as spool:
        for picture, image in frames:
            assert isinstance(image, Image.Image)
            if format != "PNG" and is_default(picture.image):
                continue
            times.add(picture.image)
            whole = _upright(image, picture, format)
            is_deep = whole.mode.startswith("I") and format != "PNG"
            spool.add(_converted(whole, "L", picture) if is_deep else whole)
        return animation(spool, times, format, partial(encoded, of=first, format=format, quality=quality))


def _turned(image: Image.Image, of: Picture) -> Image.Image:
    image.getexif()[ORIENTATION] = of.image.getexif()[ORIENTATION]
    return image


def _converted(image: Image.Image, mode: str, of: Picture) -> Image.Image:
    if mode == image.mode:
        return image
    if image.mode == "CMYK" and (profile := of.image.info.get("icc_profile")):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        found = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        assert found is not None
        return found
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(
            (np.asarray(image).astype(np.float64) / 257 + 0.5).clip(0, 255).astype(np.uint8)
        )
    if "A" in image.getbands() and "A" not in mode:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert(mode)


def plain_rgb(of: Picture) -> Image.Image:
    """A picture in 8 bits as RGB, for a screen; its orientation is still to be applied."""
    found = _converted(of.image, "RGB", of)
    found.getexif()[ORIENTATION] = of.image.getexif().get(ORIENTATION, 1)
    return found
