"""What of a picture's file is not its pixels: EXIF, profile, XMP, IPTC, text, resolution, compression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

SaveOptions = dict[str, Any]  # keyword arguments of `PIL.Image.Image.save`

WITH_EXIF = {"AVIF", "JPEG", "PNG", "TIFF", "WEBP"}
LOSSY = {"AVIF", "JPEG", "WEBP"}
# Tags of a TIFF file that say how its pixels are stored, and what is written from elsewhere.
STORAGE = {254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325}
STORAGE |= {330, 338, 339, 347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532, 700, 34675}
NESTED = (0x8769, 0x8825)  # EXIF, GPS
LOSSLESS = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma")  # of TIFF


def options(image: Image.Image, format: str, quality: int, mode: str) -> SaveOptions:
    """Keyword arguments for Pillow to save a file: quality, and the metadata that the format can hold.

    Args:
        image: image that the file is made from, as it was opened.
        format: Pillow's name of the format.
        quality: quality of lossy formats.
        mode: Pillow's mode of the picture that is written.
    """
    info = image.info
    options: SaveOptions = {"quality": quality} if format in LOSSY else {}
    if "dpi" in info:
        options["dpi"] = info["dpi"]
    if format in WITH_EXIF and (exif := _exif(image)):
        options["exif"] = exif
    converted = image.mode in ("CMYK", "LAB") and mode != image.mode
    if not converted and (profile := info.get("icc_profile")):
        options["icc_profile"] = profile
    if xmp := info.get("xmp"):
        options["xmp"] = xmp
    if format in FORMATS:
        options |= FORMATS[format](image)
    return options


def _jpeg(image: Image.Image) -> SaveOptions:
    options: SaveOptions = {"subsampling": 0, "progressive": bool(image.info.get("progressive"))}
    if comment := image.info.get("comment"):
        options["comment"] = comment
    # IPTC's captions and keywords
    blocks = [data for name, data in getattr(image, "applist", ()) if name == "APP13"]
    options["extra"] = b"".join(b"\xff\xed" + (len(data) + 2).to_bytes(2, "big") + data for data in blocks)
    return options


def _png(image: Image.Image) -> SaveOptions:
    text = PngInfo()
    for key, value in getattr(image, "text", {}).items():
        if key != "XML:com.adobe.xmp":
            text.add_text(key, value)
    if xmp := image.info.get("xmp"):
        text.add_itxt("XML:com.adobe.xmp", xmp.decode("utf8", "replace") if isinstance(xmp, bytes) else xmp)
    return {"pnginfo": text}


def _tiff(image: Image.Image) -> SaveOptions:
    """Pillow takes XMP as one of the tags; what libtiff compresses can hold no EXIF and no GPS."""
    exif = _tags(image)
    if isinstance(xmp := image.info.get("xmp"), bytes):
        exif[700] = xmp
    stored = image.info.get("compression") if image.format == "TIFF" else "tiff_adobe_deflate"
    nested = any(exif.get_ifd(tag) for tag in NESTED)
    return {"exif": exif, "compression": stored if stored in LOSSLESS and not nested else None}


def _gif(image: Image.Image) -> SaveOptions:
    return {"comment": comment} if (comment := image.info.get("comment")) else {}


def _icon(image: Image.Image) -> SaveOptions:
    """All its sizes, of which the largest is restored and the others are made of it."""
    return {"sizes": sorted(image.info.get("sizes", [image.size]))}


FORMATS: dict[str, Callable[[Image.Image], SaveOptions]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "TIFF": _tiff,
    "ICO": _icon,
    "GIF": _gif,
}


def _exif(image: Image.Image) -> bytes | None:
    """As it was; of a TIFF file what does not say how its pixels are stored."""
    if image.format != "TIFF":
        return image.info.get("exif")
    exif = _tags(image)
    return exif.tobytes() if len(exif) else None


def _tags(image: Image.Image) -> Image.Exif:
    exif = image.getexif()
    for tag in NESTED:  # they are read when they are asked for, from the offsets in the file
        exif.get_ifd(tag)
    for tag in STORAGE & exif.keys():
        del exif[tag]
    return exif
