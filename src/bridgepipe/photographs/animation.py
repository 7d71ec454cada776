"""Files of several frames, written: animations, and the pages of a TIFF file.

The frames of an animation wait in a temporary file until it is written, so that memory does not grow with
their number; only those of a GIF are held, by Pillow, one byte a pixel.
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from PIL import Image

from bridgepipe.errors import UserError
from bridgepipe.photographs import deep, metadata

FOREVER = 0
COLOURS = (("L", "RGB"), ("LA", "RGBA"))  # modes of frames: opaque and not, grey and coloured
# Of a TIFF file: types of numbers, the bytes of each type, and tags that hold places in the file.
SHORT, LONG = 3, 4
BYTES = {1: 1, 2: 1, SHORT: 2, LONG: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
NESTED = metadata.NESTED
PLACES = (273, 324, *NESTED)


@dataclass
class Times:
    """When the frames of an animation are shown.

    Attributes:
        format: format of the file.
        durations: time that each frame is shown, in milliseconds.
        disposals: what becomes of a frame before the next, in the numbers of the format.
        plays: number of times that all are shown; 0: for ever.
        has_default: the first picture is shown only by what knows no animation (PNG).
    """

    format: str = ""
    durations: list[float] = field(default_factory=list)
    disposals: list[int] = field(default_factory=list)
    plays: int = FOREVER
    has_default: bool = False

    def add(self, image: Image.Image) -> None:
        """The frame that a file is at, decoded."""
        if not self.durations:
            self.format = image.format or ""
            self.plays = _plays(image)
            self.has_default = is_default(image)
        self.durations.append(image.info.get("duration", 0))
        self.disposals.append(getattr(image, "disposal_method", image.info.get("disposal", 0)))

    def disposals_in(self, format: str) -> list[int]:
        """Where it is another format: the number 0, which leaves a frame, in all."""
        return self.disposals if format == self.format else [0] * len(self.disposals)


def is_default(image: Image.Image) -> bool:
    """Whether a file is at a picture that is no frame of its animation (PNG)."""
    return image.format == "PNG" and image.tell() == 0 and bool(image.info.get("default_image"))


def _plays(image: Image.Image) -> int:
    """GIF counts repetitions, the others how often it is shown."""
    loop = image.info.get("loop")
    if image.format != "GIF":
        return loop or FOREVER
    return 1 if loop is None else loop + 1 if loop else FOREVER


class Spool:
    """Pictures in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, which is closed on leaving
        self._places: list[tuple[int, str, tuple[int, int]]] = []

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, image: Image.Image) -> None:
        """Append a picture."""
        self._file.seek(0, io.SEEK_END)
        self._places.append((self._file.tell(), image.mode, image.size))
        self._file.write(image.tobytes())

    def mode(self) -> str:
        """The one of L, LA, RGB and RGBA that holds them all, or that of all."""
        modes = {mode for _, mode, _ in self._places}
        if len(modes) == 1:
            return modes.pop()
        return COLOURS[any("A" in mode for mode in modes)][any("RGB" in mode for mode in modes)]

    def picture(self, number: int, mode: str) -> Image.Image:
        """One of them, in a mode."""
        start, stored, size = self._places[number]
        self._file.seek(start)
        length = size[0] * size[1] * len(Image.new(stored, (1, 1)).tobytes())
        return Image.frombytes(stored, size, self._file.read(length)).convert(mode)


class Film(Image.Image):
    """The pictures of a spool as the frames of an animation that Pillow writes, read as it asks for them."""

    def __init__(self, spool: Spool, mode: str) -> None:
        super().__init__()
        self._spool, self._wanted, self._at = spool, mode, -1
        self.n_frames, self.is_animated = len(spool), len(spool) > 1
        self.seek(0)

    def seek(self, frame: int) -> None:
        if frame >= self.n_frames:
            raise EOFError
        if frame != self._at:
            shown = self._spool.picture(frame, self._wanted)
            self.im, self._mode, self._size, self._at = shown.im, shown.mode, shown.size, frame

    def tell(self) -> int:
        return self._at


def animation(spool: Spool, times: Times, format: str, write: Callable[..., bytes]) -> bytes:
    """The file of an animation.

    Args:
        spool: frames of the animation, composed and of one size.
        times: when they are shown.
        format: GIF, PNG, WEBP or AVIF.
        write: a picture as a file, with metadata; further options are Pillow's.
    """
    mode = spool.mode()
    if format == "PNG":
        return _png(spool, mode, times, write)
    durations = [round(duration) for duration in times.durations]
    options: dict[str, Any] = {"save_all": True, "duration": durations}
    if format == "WEBP":
        options["loop"] = times.plays
    if format == "GIF":
        mode = "RGBA" if mode == "LA" else mode  # whose transparency Pillow drops
        options["disposal"] = _disposals(times, transparent=mode == "RGBA")
        if times.plays != 1:
            options["loop"] = times.plays and times.plays - 1
    return write(Film(spool, mode), **options)


def _disposals(times: Times, transparent: bool) -> list[int]:
    """Of a GIF of whole frames: what shows through one is cleared before (2), none is taken back (3)."""
    found = times.disposals_in("GIF")
    return [2 if transparent else 1 if disposal == 3 else disposal for disposal in found]


def _png(spool: Spool, mode: str, times: Times, write: Callable[..., bytes]) -> bytes:
    """An animated PNG file: the metadata of the first frame, each frame as a whole."""
    file, number, first = io.BytesIO(deep.PNG), 0, int(times.has_default)
    disposals = times.disposals_in("PNG")
    file.seek(0, io.SEEK_END)
    for k in range(len(spool)):
        picture = spool.picture(k, mode)
        chunks = list(deep.chunks(write(picture)))
        pixels = b"".join(content for kind, content in chunks if kind == b"IDAT")
        if k == 0:
            for kind, content in chunks[: [kind for kind, _ in chunks].index(b"IDAT")]:
                deep.put(file, kind, content)
            deep.put(file, b"acTL", struct.pack(">II", len(spool) - first, times.plays))
        if k >= first:
            seconds = Fraction(times.durations[k] / 1000).limit_denominator(65535)
            shown = (*picture.size, 0, 0, seconds.numerator, seconds.denominator, disposals[k], 0)
            deep.put(file, b"fcTL", struct.pack(">IIIIIHHBB", number, *shown))
            number += 1
        if k == 0:
            deep.put(file, b"IDAT", pixels)
        else:
            deep.put(file, b"fdAT", struct.pack(">I", number) + pixels)
            number += 1
    deep.put(file, b"IEND", b"")
    return file.getvalue()


def pages(files: Iterable[bytes], name: str) -> bytes:
    """A TIFF file of all pages, of files of one page each as Pillow writes them.

    Raises:
        UserError: the file would be too large for the format.
    """
    whole, link = bytearray(), 0
    for page in files:
        whole += bytes(-len(whole) % 16)
        base, moved = len(whole), bytearray(page)
        if base + len(page) >= 2**32:
            raise UserError("more than 4 GB of pages", name, "give --format png, which holds the first")
        start = struct.unpack_from("<I", moved, 4)[0]
        end = _moved(moved, start, base)
        whole += moved
        if base:
            struct.pack_into("<I", whole, link, base + start)
        link = base + end
    return bytes(whole)


def _moved(file: bytearray, start: int, base: int) -> int:
    """Add to all places that a directory of a TIFF file names; where the place of the next one stands."""
    (entries,) = struct.unpack_from("<H", file, start)
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from("<HHI", file, at)
        place = at + 8
        if count * BYTES[kind] > 4:
            (place,) = struct.unpack_from("<I", file, at + 8)
            struct.pack_into("<I", file, at + 8, place + base)
        if tag in NESTED:
            _moved(file, struct.unpack_from("<I", file, place)[0], base)
        if tag in PLACES:
            found = struct.unpack_from(f"<{count}{'H' if kind == SHORT else 'I'}", file, place)
            if kind == SHORT and count > 1:  # for which there is no room here
                place = len(file)
                file += bytes(4 * count)
                struct.pack_into("<I", file, at + 8, place + base)
            struct.pack_into("<H", file, at + 2, LONG)
            struct.pack_into(f"<{count}I", file, place, *(value + base for value in found))
    return start + 2 + 12 * entries
