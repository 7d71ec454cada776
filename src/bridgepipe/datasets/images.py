"""Image files to uint8 arrays: decoding of every kind of file, and the published resize rules."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngInfo

from bridgepipe.artifacts import atomic
from bridgepipe.errors import reading

# What is a picture: the decoders that may open one, with the suffixes of their files. Pillow knows more,
# which are documents (EPS, by running Ghostscript), tables of numbers or films.
DECODERS: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf"),
    "QOI": (".qoi",),
    "SGI": (".sgi",),
    "PCX": (".pcx",),
}
SUFFIXES = frozenset(suffix for suffixes in DECODERS.values() for suffix in suffixes)
Size = int | tuple[int, int] | list[int]
Resampling = Image.Resampling
Decode = Literal["exact", "draft"]
Decoder = Callable[["Path | bytes", "Size | None"], Image.Image]
BITS_PER_SAMPLE, PLANAR = 258, 284  # tags of a TIFF file; planar is 2: the colours are stored apart
WHOLE = "bridgepipe whole size"  # key of the width and height of a photograph that was decoded smaller
MARK = "bridgepipe"  # key of the text in a PNG file that says what it was made of


def height_width(size: Size) -> tuple[int, int]:
    """``size`` or ``(height, width)`` as (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def decode(source: Path | bytes, least: Size | None = None) -> Image.Image:
    """An upright 8-bit RGB image from a file of one of `DECODERS`, whatever its suffix.

    EXIF rotation is applied, transparency is laid on white, 16-bit grey is scaled
    by 1/257, and of an animation the first frame is taken.

    Args:
        least: a JPEG file is decoded at a half, a quarter or an eighth of its size where that is twice this
            size or more; `whole_size` tells that of the photograph. None: files are decoded whole.

    Raises:
        Exception: whatever the decoder raises; ValueError where pixels have no defined range.
    """
    with Image.open(_opened(source), formats=list(DECODERS)) as image:
        check_decodable(image)
        return _to_rgb(_upright(_loaded(image, least)))


def read_photo(source: Path | bytes, name: str = "") -> np.ndarray:
    """A person's image as uint8 ``[H, W, 3]``, see `decode`; ``name`` is for messages where it is no path.

    Raises:
        UserError: missing, unreadable, or not an image.
    """
    where = source if isinstance(source, Path) else name
    with reading(where, "cannot be read as an image", "give a picture (png, jpeg, tiff, webp, bmp, ...)"):
        return np.array(decode(source))


def opens(file: Path) -> bool:
    """Whether a file begins as a picture does; nothing is decoded."""
    return size_of(file) is not None


def size_of(file: Path) -> tuple[int, int] | None:
    """Width and height that the head of a file tells; None of what is no picture."""
    try:
        with Image.open(file, formats=list(DECODERS)) as image:
            return image.size
    except Exception:  # decoders raise almost anything
        return None


def write_png(path: Path, pixels: np.ndarray, made_of: str = "") -> None:
    """Write uint8 ``[H, W, 3]`` as PNG, atomically, with a mark that `made_of` reads.

    It is one of many: the caller syncs their folder after the last.
    """
    text = PngInfo()
    text.add_text(MARK, made_of)
    with atomic(path, one_of_many=True) as temporary:
        Image.fromarray(pixels).save(temporary, format="png", pnginfo=text)


def made_of(path: Path) -> str | None:
    """What a picture was made of, as `write_png` recorded it; None for a file from elsewhere."""
    try:
        with Image.open(path) as image:
            return image.info.get(MARK) if image.format == "PNG" else None
    except Exception:  # damaged, or no picture
        return None


def is_ours(path: Path) -> bool:
    """Whether a file is a picture that bridgepipe wrote, which it may replace."""
    return made_of(path) is not None


def decode_plain(source: Path | bytes, least: Size | None = None) -> Image.Image:
    """As the published loaders do: RGB by Pillow's rule, without rotation or background.

    Args:
        least: size for a smaller decoding, see `decode`.

    Raises:
        Exception: as `decode`.
    """
    with Image.open(_opened(source), formats=list(DECODERS)) as image:
        check_decodable(image)
        _has_range(image)
        return _rgb(_loaded(image, least))


def whole_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the photograph, of which the image may be a smaller version."""
    return image.info.get(WHOLE, image.size)


def _loaded(image: ImageFile, least: Size | None) -> Image.Image:
    """The pixels of an open file, see `decode`."""
    whole = image.size
    side = None if least is None else 2 * max(height_width(least))  # rotation may follow
    drafted = None if side is None else image.draft(None, (side, side))
    image.load()
    if drafted is None or image.size == whole:
        return image
    # The decoder rounds sizes up, so that the last column and row may lie beyond the photograph in part.
    seen = drafted[1]
    size = (int(seen[2]), int(seen[3]))
    smaller = image if size == image.size else image.resize(size, Resampling.BICUBIC, seen)
    smaller.info[WHOLE] = whole
    return smaller


def _upright(image: Image.Image) -> Image.Image:
    width, height = image.size
    ImageOps.exif_transpose(image, in_place=True)
    if WHOLE in image.info and image.size != (width, height):
        image.info[WHOLE] = image.info[WHOLE][::-1]
    return image


def check_decodable(image: Any) -> None:
    """Refuse what Pillow (13.0.0) decodes to noise without a word, before it is decoded.

    Raises:
        ValueError: TIFF, uncompressed, more than 8 bits a channel, the colours one after the other.
    """
    apart = image.format == "TIFF" and image.tag_v2.get(PLANAR) == 2
    if apart and max(image.tag_v2.get(BITS_PER_SAMPLE, (8,))) > 8 and image.tile[0].codec_name == "raw":
        raise ValueError("an uncompressed TIFF file of 16 bits whose colours are stored apart")


def _opened(source: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _to_rgb(image: Image.Image) -> Image.Image:
    _has_range(image)
    if image.mode.startswith("I"):
        return Image.fromarray(_16_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    """Converted where it has to be: copies take half of the time that a large photograph is prepared in."""
    return image if image.mode == "RGB" else image.convert("RGB")


def _has_range(image: Image.Image) -> None:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range")


def _16_to_8_bits(values: np.ndarray) -> np.ndarray:
    """Nearest of v / 257, so that 65535 becomes 255."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit pixels have no defined range")
    return ((values.astype(np.int64) + 128) // 257).astype(np.uint8)


def resize_adm(image: Image.Image, height: int, width: int) -> Image.Image:
    """The rule of ADM and DDIB: halve by BOX while twice the size or more, BICUBIC, centre crop."""
    w, h = whole_size(image)
    while w >= 2 * width and h >= 2 * height:
        w, h = w // 2, h // 2
        if w < image.width or h < image.height:  # the decoder has not halved it
            image = image.resize((w, h), Resampling.BOX)
    scale = max(width / image.width, height / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Resampling.BICUBIC)
    return _crop(image, (image.height - height) // 2, (image.width - width) // 2, height, width)


def resize_torchvision(image: Image.Image, height: int, width: int) -> Image.Image:
    """The rule of I2SB, torchvision's Resize and CenterCrop: BILINEAR, long side rounded down."""
    w, h = whole_size(image)
    if w * height <= h * width:
        w, h = width, width * h // w
    else:
        w, h = height * w // h, height
    image = image.resize((w, h), Resampling.BILINEAR)
    return _crop(image, round((h - height) / 2), round((w - width) / 2), height, width)


def stretch(image: Image.Image, height: int, width: int) -> Image.Image:
    """The rule of BoundaryDiffusion's image editing: LANCZOS to the size, nothing cropped."""
    return image.resize((width, height), Resampling.LANCZOS)


CROPS: dict[str, Callable[[Image.Image, int, int], Image.Image]] = {
    "adm": resize_adm,
    "torchvision": resize_torchvision,
    "stretch": stretch,
}


def decoding(decode: Decode) -> dict[str, str]:
    """What the card of a store says of decoding: nothing of what is the default."""
    return {} if decode == "exact" else {"decode": decode}


class Loaded(NamedTuple):
    """Pixels uint8 ``[H, W, 3]``, and the content of the file that they were made from."""

    pixels: np.ndarray
    file: bytes


def load(
    source: Path | bytes,
    size: Size,
    crop: str,
    decoded: Decoder = decode,
    draft: bool = False,
) -> tuple[Loaded]:
    """One image file for a store: decoded, resized and cropped, as the only array of an item.

    Args:
        draft: decode JPEG files as small as twice the size allows, see `decode`.
    """
    file = source if isinstance(source, bytes) else source.read_bytes()
    return (Loaded(fit(decoded(file, size if draft else None), size, crop), file),)


def fit(image: Image.Image, size: Size, crop: str = "adm") -> np.ndarray:
    """Resize and crop an RGB image to uint8 ``[H, W, 3]`` by one of `CROPS`."""
    return np.array(CROPS[crop](image, *height_width(size)))


def _crop(image: Image.Image, top: int, left: int, height: int, width: int) -> Image.Image:
    return image.crop((left, top, left + width, top + height))
