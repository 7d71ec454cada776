"""What the page can do with a photograph."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from bridgepipe.config.runtime import Runtime
from bridgepipe.datasets import images
from bridgepipe.errors import UserError
from bridgepipe.photographs import editing, likeness
from bridgepipe.photographs.encoding import encoded
from bridgepipe.photographs.files import Photo
from bridgepipe.photographs.restoring import QUALITY, Work
from bridgepipe.web.queue import Report

JPEG_QUALITY = 95  # of results that lose something, as by `bridgepipe restore`
STRIP = 1_000_000  # pixels that are given new colours at a time


@dataclass(frozen=True)
class Made:
    """A result.

    Attributes:
        name: name that it is downloaded under.
        content: bytes of its file.
        before: what it is to be compared with, where that is not the picture itself.
        notes: what a person should know of it.
    """

    name: str
    content: bytes
    before: bytes | None = None
    notes: Sequence[str] = ()


class Options(BaseModel):
    """What a visitor chooses; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(Protocol):
    """Something to be done with pictures."""

    @property
    def options(self) -> type[Options]:
        """What a visitor chooses."""
        ...

    @property
    def pictures(self) -> int:
        """How many it needs."""
        ...

    def work(self, photos: Sequence[Photo], options: Any) -> float:
        """How much it is, in units that take the same time."""
        ...

    def run(self, photos: Sequence[Photo], options: Any, report: Report) -> Made:
        """Do it."""
        ...


class Restoration(Options):
    """How a photograph is restored, as by ``bridgepipe restore``."""

    quality: Literal["fidelity", "balanced", "detailed"] = "fidelity"
    strength: float | None = Field(None, ge=0, le=1)


@dataclass(frozen=True)
class Restore:
    """Restoration by one network.

    Args:
        base: settings of the restoration where a visitor chooses nothing.
        trained_for: entry of the network's card.
    """

    base: Work
    trained_for: Mapping[str, Any]
    options: type[Options] = Restoration
    pictures: int = 1

    def work(self, photos: Sequence[Photo], options: Restoration) -> float:
        return photos[0].work * self._asked(options).how.nfe

    def run(self, photos: Sequence[Photo], options: Restoration, report: Report) -> Made:
        (photo,) = photos
        outside = likeness.unlike(photo.shape[:2], photo.measures, self.trained_for)
        unlike = [f"Unlike what the network was trained on: {'; '.join(outside)}"] if outside else []
        content = self._asked(options).file_of(photo, report)
        return Made(str(photo.name), content, notes=[*photo.notes, *unlike])

    def _asked(self, options: Restoration) -> Work:
        how = self.base.how.model_copy(update=QUALITY[options.quality])
        return replace(self.base, how=how, strength=options.strength)


class Recolouring(Options):
    """How the colours of a photograph become those of another."""

    strength: float = Field(1.0, ge=0, le=1)


@dataclass(frozen=True)
class Recolour:
    """Translation of colours: the first picture takes those of the second."""

    options: type[Options] = Recolouring
    pictures: int = 2

    def work(self, photos: Sequence[Photo], options: Recolouring) -> float:
        return photos[0].work

    def run(self, photos: Sequence[Photo], options: Recolouring, report: Report) -> Made:
        photo, source = photos
        picture, palette = photo.read(), source.read()
        first = picture.planes[0]
        if (first == first[..., :1]).all():
            raise UserError("the photograph has no colours", photo.source, "give one in colour")
        planes = [_in_strips(first, palette.planes[0], options.strength, report)]
        planes += picture.planes[1:]  # of CMYK: black stays
        content = encoded(picture.joined(planes), picture, photo.format, JPEG_QUALITY)
        return Made(str(photo.name), content, notes=photo.notes)


class Editing(Options):
    """Along which boundary a photograph is edited, and how far."""

    boundary: str
    distance: float = Field(2.0, ge=-10, le=10)


@dataclass(frozen=True)
class Edit:
    """An edit as by ``bridgepipe edit``, at one distance.

    Args:
        boundaries: folders of trained ones, by name.
    """

    boundaries: Mapping[str, Path]
    speed: Runtime
    options: type[Options] = Editing
    pictures: int = 1
    _opened: dict[str, editing.Editor] = field(default_factory=dict)

    def work(self, photos: Sequence[Photo], options: Editing) -> float:
        if options.boundary not in self.boundaries:
            known = ", ".join(self.boundaries) or "none is trained"
            raise UserError("unknown boundary", "boundary", f"give one of: {known}")
        return 1.0

    def run(self, photos: Sequence[Photo], options: Editing, report: Report) -> Made:
        (photo,), name = photos, options.boundary
        if name not in self._opened:  # by the thread that works alone
            self._opened[name] = editing.Editor.of([self.boundaries[name]], None, self.speed)
        editor, pixels = self._opened[name], images.read_photo(photo.bytes(), str(photo.source))
        before, after = (_png(image) for image in editor.edited(str(photo.source), pixels, options.distance))
        height, width = editor.network.diffusion.shape[1:]
        notes = [f"{editor.about.attribute}, distance {options.distance:g}, at {width} x {height} pixels"]
        return Made(str(photo.name.with_suffix(".png")), after, before, notes)


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _in_strips(pixels: np.ndarray, palette: np.ndarray, strength: float, report: Report) -> np.ndarray:
    """The result of `color.recoloured`, some rows at a time."""
    from bridgepipe.methods import color  # needs solvers of optimal transport, which are slow to import

    colours = color.palette_map(_levels(pixels), _levels(palette))
    rows = max(1, STRIP // pixels.shape[1])
    found = np.empty_like(pixels)
    for top in range(0, len(pixels), rows):
        strip = pixels[top : top + rows]
        found[top : top + rows] = color.recoloured(strip, colours, strength)
        report(len(strip) / len(pixels))
    return found


def _levels(image: np.ndarray) -> np.ndarray:
    """Pixels ``[N, 3]`` in [0, 255], of a picture as small as shows its colours."""
    step = math.ceil(max(1, math.sqrt(image.shape[0] * image.shape[1] / STRIP)))
    return image[::step, ::step].reshape(-1, 3) * (255 / np.iinfo(image.dtype).max)
