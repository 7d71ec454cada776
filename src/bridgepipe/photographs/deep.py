"""Colour of 16 bits a channel in PNG and TIFF files, which Pillow holds as 8.

Its decoders are asked twice: for the upper half of every number, and, told that the bytes lie in the other
order, for the lower half.
"""

from __future__ import annotations

import io
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from bridgepipe.datasets.images import BITS_PER_SAMPLE, PLANAR

BITS = 16
SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}  # last letter of a raw mode
WIDTH = 256  # tag of a TIFF file
ROWS = 256  # that are compressed at a time
SUB = 1  # PNG's filter: less the pixel to the left
PNG = b"\x89PNG\r\n\x1a\n"  # how such a file begins
Write = Callable[[Image.Image], bytes]  # a file as Pillow writes it, with all metadata


def levels(image: ImageFile.ImageFile, again: Callable[[], ImageFile.ImageFile]) -> np.ndarray | None:
    """The pixels of a picture, uint16 [H,W,3 or 4]; None: it is not of 16 bits in colour, or of a rarer kind.

    Args:
        image: opened and not decoded yet; it is decoded.
        again: opens the same file.
    """
    all_bits = {*map(_raw_mode, image.tile)} <= {f"{image.mode};16{order}" for order in SWAPPED}
    planar = image.format == "TIFF" and image.tag_v2.get(PLANAR) == 2  # type: ignore[attr-defined]
    if not all_bits or planar or image.mode not in ("RGB", "RGBA") or "transparency" in image.info:
        return None
    other = again()
    other.tile = [tile._replace(args=_swapped(tile.args)) for tile in other.tile]
    found = np.asarray(image).astype(np.uint16)
    found <<= 8
    found |= np.asarray(other)
    return found


def is_reduced(image: ImageFile.ImageFile, content: bytes) -> bool:
    """Whether a picture that is not decoded yet has more bits a channel than Pillow will keep.

    Args:
        image: opened image.
        content: bytes of its file.
    """
    if image.mode.startswith(("I", "F")):
        return False
    if image.format in BITS_OF:
        return BITS_OF[image.format](content) > 8
    return any(_is_above_8(tile) for tile in image.tile)


def _is_above_8(tile: Any) -> bool:
    if tile.codec_name == "ppm":
        return tile.args[-1] > 255
    if tile.codec_name == "bcn":
        return tile.args[0] == HALF_FLOATS
    return ";16" in _raw_mode(tile) or tile.codec_name == "SGI16"


def _bits_of_jpeg_2000(content: bytes) -> int:
    """Most bits of a component, from the sizes that begin the codestream."""
    at = content.find(b"\xff\x4f\xff\x51") + 42
    (components,) = struct.unpack_from(">H", content, at - 2)
    return max((content[at + 3 * k] & 0x7F) + 1 for k in range(components))


def _bits_of_avif(content: bytes) -> int:
    """Most bits of a picture in the file, from the settings of its decoder: a mark, two bytes, flags."""
    flags = [content[found.end() + 1] for found in re.finditer(rb"av1C\x81", content)]
    return max([10 if flag & 0x40 else 8 for flag in flags], default=8)


BITS_OF = {"JPEG2000": _bits_of_jpeg_2000, "AVIF": _bits_of_avif}
HALF_FLOATS = 6  # of the compressions of DDS


def _raw_mode(tile: Any) -> str:
    found = tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]
    return found if isinstance(found, str) else ""


def _swapped(args: Any) -> Any:
    if isinstance(args, str):
        return args[:-1] + SWAPPED[args[-1]]
    return (_swapped(args[0]), *args[1:])


def as_8_bits(pixels: np.ndarray) -> Image.Image:
    """A picture of the nearest levels of 8 bits."""
    return Image.fromarray(((pixels.astype(np.uint32) * 2 + 257) // 514).astype(np.uint8))


def as_png(pixels: np.ndarray, write: Write) -> bytes:
    """A PNG file: the metadata that Pillow writes for one pixel, and these pixels."""
    height, width, channels = pixels.shape
    file = io.BytesIO(PNG)
    file.seek(0, io.SEEK_END)
    for kind, content in chunks(write(Image.fromarray(np.zeros((1, 1, channels), np.uint8)))):
        if kind == b"IHDR":
            content = struct.pack(">II", width, height) + bytes([BITS]) + content[9:]
        if kind == b"IDAT":
            content = b"".join(_compressed(pixels))
        put(file, kind, content)
    return file.getvalue()


def put(file: io.BytesIO, kind: bytes, content: bytes) -> None:
    """Append a chunk to a PNG file."""
    head = kind + content
    file.write(struct.pack(">I", len(content)) + head + struct.pack(">I", zlib.crc32(head)))


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and contents of the chunks of a PNG file."""
    at = len(PNG)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _compressed(pixels: np.ndarray) -> Iterator[bytes]:
    step, packer = 2 * pixels.shape[2], zlib.compressobj()
    for top in range(0, len(pixels), ROWS):
        rows = pixels[top : top + ROWS].astype(">u2").view(np.uint8).reshape(-1, pixels.shape[1] * step)
        lines = np.full((len(rows), 1 + rows.shape[1]), SUB, np.uint8)
        lines[:, 1 : 1 + step] = rows[:, :step]
        lines[:, 1 + step :] = rows[:, step:] - rows[:, :-step]
        yield packer.compress(lines.tobytes())
    yield packer.flush()


def as_tiff(pixels: np.ndarray, write: Write) -> bytes:
    """A TIFF file: written in 8 bits at twice the width, which are the same bytes, then relabelled."""
    height, width, channels = pixels.shape
    twice = pixels.astype("<u2", copy=False).view(np.uint8).reshape(height, 2 * width, channels)
    file = bytearray(write(Image.fromarray(twice)))
    assert file[:4] == b"II*\0"  # the smallest byte first
    (start,) = struct.unpack_from("<I", file, 4)
    (entries,) = struct.unpack_from("<H", file, start)
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, _, count, value = struct.unpack_from("<HHII", file, at)
        if tag == WIDTH:
            struct.pack_into("<I", file, at + 8, width)  # a short number is the first half of it
        if tag == BITS_PER_SAMPLE:
            struct.pack_into(f"<{count}H", file, value, *[BITS] * count)
    return bytes(file)


AS_FILE = {"PNG": as_png, "TIFF": as_tiff}
