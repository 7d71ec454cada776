"""Picture files of people: what a network restores of them, and everything else, which stays as it was."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageFile, UnidentifiedImageError

from bridgepipe.datasets.images import check_decodable
from bridgepipe.errors import reading
from bridgepipe.photographs import deep
from bridgepipe.photographs.frames import ALONE, Frames

Planes = list[np.ndarray]  # images [H, W, 3], uint8 or uint16
Whole = Image.Image | np.ndarray  # the array is colour of 16 bits a channel, [H, W, 3 or 4]
Join = Callable[[Sequence[np.ndarray]], Whole]
# Opened by an outside program, or by none.
NEVER = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
# Formats that can hold any picture that can be opened; one that is of none of these becomes PNG.
WRITTEN = {"AVIF", "BMP", "DDS", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI"} | {
    "SGI",
    "TGA",
    "TIFF",
    "WEBP",
}
WRITTEN_AS = {"MPO": "JPEG"}
SUFFIX = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}
# Formats that hold all bits of pictures of more than 8 a channel, by the first letter of Pillow's mode.
DEEP = {"I": {"JPEG2000", "PNG", "PPM", "TIFF"}, "F": {"PPM", "TIFF"}, "R": set(deep.AS_FILE)}


@dataclass(frozen=True)
class Picture:
    """A picture taken apart.

    Attributes:
        image: image as it was decoded, neither turned nor converted, until another frame of its file is read.
        planes: what a network restores, images [H, W, 3] of uint8 or uint16: one, or two of CMYK.
        joined: the picture of planes of this shape, with what no network touches: its alpha channel.
        is_reduced: whether its file has more bits a channel than are here.
        frames: number of frames in its file.
    """

    image: Image.Image
    planes: Planes
    joined: Join
    is_reduced: bool = False
    frames: Frames = ALONE

    @property
    def format(self) -> str:
        """Name of its format, or of the one that it is written in instead."""
        name = self.image.format or "PNG"
        name = WRITTEN_AS.get(name, name)
        if name in WRITTEN:
            return name
        return "TIFF" if self.frames.kind == "pages" and self.frames.count > 1 else "PNG"

    @property
    def work(self) -> int:
        """Pixels that a network is to see."""
        return self.image.width * self.image.height * len(self.planes)

    @property
    def kept_in(self) -> set[str]:
        """Formats that hold all its bits."""
        if self.is_reduced:
            return set()
        return DEEP[self.image.mode[0]] if self.planes[0].dtype == np.uint16 else WRITTEN

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.height, self.image.width


def read(source: Path | bytes, name: str = "") -> Picture:
    """Open a file of any format that Pillow decodes by itself; of several frames the first.

    Raises:
        UserError: missing, unreadable, or not a picture.
    """
    return next(read_all(source, name))


def read_all(source: Path | bytes, name: str = "") -> Iterator[Picture]:
    """All frames of a file, one after the other; of the image of each nothing is left when the next is read.

    Raises:
        UserError: as `read`.
    """
    name = name or str(source)
    with _reading(name):
        content = source.read_bytes() if isinstance(source, Path) else source
        image = _opened(content)
        frames = Frames.of(image)
    for number in range(frames.restorable):
        with _reading(name):
            picture = replace(_picture(image, content, number, frames), frames=frames)
        yield picture


def _picture(image: ImageFile.ImageFile, content: bytes, number: int, frames: Frames) -> Picture:
    def again() -> ImageFile.ImageFile:
        other = _opened(content)
        other.seek(number)
        return other

    if number:
        image.seek(number)
    check_decodable(image)
    is_reduced = deep.is_reduced(image, content)
    is_alone = frames.count == 1 or frames.kind == "pages"
    if is_reduced and is_alone and (levels := deep.levels(image, again)) is not None:
        return Picture(image, *_deep_colour(levels))
    image.load()
    return Picture(image, *_taken_apart(image), is_reduced)


def size_of(content: bytes, name: str) -> tuple[int, int, int]:
    """Width, height and number of frames from a file's header, before its pixels are decoded.

    Raises:
        UserError: as `read`.
    """
    with _reading(name):
        image = _opened(content)
        return (*image.size, Frames.of(image).restorable)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    what, mend = "cannot be read as an image", "give a picture (png, jpeg, tiff, webp, bmp, ...)"
    with reading(name, what, mend), _any_size():
        yield


def _opened(content: bytes) -> ImageFile.ImageFile:
    Image.init()
    formats = [kind for kind in Image.OPEN if kind not in NEVER]
    try:
        return Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError:  # its own words name the buffer
        raise ValueError("its format is unknown") from None


@contextmanager
def _any_size() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _deep_colour(levels: np.ndarray) -> tuple[Planes, Join]:
    colours, alpha = levels[..., :3], levels[..., 3:]
    colourless = bool((colours == colours[..., :1]).all())

    def joined(planes: Sequence[np.ndarray]) -> np.ndarray:
        found = _three(_one(planes[0])) if colourless else planes[0]
        return np.concatenate([found, alpha], axis=-1) if alpha.size else found

    return [colours], joined


def _taken_apart(image: Image.Image) -> tuple[Planes, Join]:
    mode = image.mode
    if mode == "CMYK":
        return _inks(image)
    if mode.startswith("I;16"):
        return [_three(np.asarray(image).astype(np.uint16))], lambda p: Image.fromarray(_one(p[0]))
    if mode in ("I", "F"):
        return _of_any_range(np.asarray(image))
    image = _plain(image)
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    grey = image.mode[0] == "L"
    pixels = np.asarray(image.getchannel(0) if grey else image.convert("RGB") if alpha else image)
    colourless = not grey and bool((pixels == pixels[..., :1]).all())

    def joined(planes: Sequence[np.ndarray]) -> Image.Image:
        found = _one(planes[0]) if grey or colourless else planes[0]
        made = Image.fromarray(_three(found) if colourless else found)
        if alpha is not None:
            made.putalpha(alpha)
        return made

    return [_three(pixels) if grey else pixels], joined


def _plain(image: Image.Image) -> Image.Image:
    """In 8 bits as L, LA, RGB or RGBA; the rarer modes are converted to the nearest of these."""
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        found = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        assert found is not None
        return found
    if image.mode in ("1", "L") or (image.mode in ("La", "LA", "PA") and _is_grey(image)):
        return image.convert("LA" if image.has_transparency_data else "L")
    if image.mode == "P" and _is_grey(image):
        return image.convert("RGBA").convert("LA") if image.has_transparency_data else image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _is_grey(image: Image.Image) -> bool:
    if image.mode not in ("P", "PA"):
        return True
    colours = np.frombuffer(bytes(image.getpalette("RGB") or []), np.uint8).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _inks(image: Image.Image) -> tuple[Planes, Join]:
    """Cyan, magenta and yellow as a coloured picture, black as a grey one: CMYK and its profile stay."""
    light = 255 - np.asarray(image)

    def joined(planes: Sequence[np.ndarray]) -> Image.Image:
        inks = np.concatenate([planes[0], _one(planes[1])[..., None]], axis=-1)
        return Image.frombytes("CMYK", image.size, (255 - inks).tobytes())

    return [np.ascontiguousarray(light[..., :3]), _three(light[..., 3])], joined


def _of_any_range(values: np.ndarray) -> tuple[Planes, Join]:
    """Integers of 32 bits or floating-point numbers, from the least to the greatest as 16 bits."""
    if not np.isfinite(values).all():
        raise ValueError("a pixel is not a finite number")
    low, high = float(values.min()), float(values.max())
    if values.dtype != np.float32 and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    span = (high - low) or 1.0
    levels = np.rint((values.astype(np.float64) - low) * (65535 / span)).astype(np.uint16)

    def joined(planes: Sequence[np.ndarray]) -> Image.Image:
        found = _one(planes[0]).astype(np.float64) * (span / 65535) + low
        found = found if values.dtype == np.float32 else np.rint(found)
        return Image.fromarray(found.astype(values.dtype))

    return [_three(levels)], joined


def _three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def _one(plane: np.ndarray) -> np.ndarray:
    """Mean of the channels, to the nearest level."""
    return ((plane.astype(np.uint32).sum(axis=-1) * 2 + 3) // 6).astype(plane.dtype)
