"""Items of a store as bytes: raw, as PNG files, or as the image files that they were read from."""

from __future__ import annotations

import io
import math
import operator
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

Codec = Literal["raw", "png", "source"]
FILES = ("JPEG", "PNG", "WEBP")  # image files that a store of codec source keeps as they came


def item_bytes(codec: str, shape: Sequence[int] | None, dtype: str | None) -> int | None:
    """Bytes of the data of every item, where all have the same.

    Raises:
        TypeError, ValueError: no shape and dtype of items.
    """
    if codec != "raw" or shape is None:
        return None
    return math.prod(map(operator.index, shape)) * np.dtype(dtype).itemsize


def encode(image: np.ndarray, codec: Codec, file: bytes | None = None) -> bytes:
    """The data of an item.

    Args:
        image: any array (raw), or uint8 ``[H, W, C]``.
        file: the image file that it was read from, which codec source takes if it has these pixels.
    """
    if codec == "raw":
        return image.tobytes()
    if codec == "source" and file is not None and _holds(file, image):
        return file
    return _to_png(image)


def _holds(file: bytes, image: np.ndarray) -> bool:
    """Whether readers of a store would find exactly these pixels in a file."""
    try:
        return np.array_equal(decode_item(file, image.shape), image)
    except (ValueError, OSError, SyntaxError):
        return False


def decode_item(data: bytes | memoryview, shape: Sequence[int]) -> np.ndarray:
    """Pixels uint8 ``[H, W, C]`` of an item that is an image file.

    Raises:
        ValueError, OSError, SyntaxError: no such file, damaged, or of another shape.
    """
    with Image.open(io.BytesIO(data), formats=FILES) as image:
        if image.size != (shape[1], shape[0]):  # nothing is decoded
            raise ValueError(f"{image.width}x{image.height} pixels of {shape[1]}x{shape[0]}")
        pixels = image.convert("RGB") if shape[2] == 3 else image  # such as grey and indexed ones
        return np.array(pixels).reshape(shape)


def _to_png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "PNG")
    return file.getvalue()
