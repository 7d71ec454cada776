"""Pictures inside a page: small files as data URIs, so that nothing else is asked for."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bridgepipe.data import lineage
from bridgepipe.data.store import ImageStore
from bridgepipe.data.subset import choose_from
from bridgepipe.errors import reading

WIDEST = 1600  # pixels of a figure
PLAIN = 200_000  # bytes up to which a figure is kept without loss
TALL = 1.5  # height by width from which a figure takes less than half of the page
TILES = 6  # images of a comparison
TILE = 384  # pixels of the longer side of an image of a comparison
TINY = 64  # pixels up to which an image is kept as it is, and shown enlarged

FIGURES = {
    "grid": "Before and after",
    "photographs": "Photographs",
    "path": "Along the sampling path",
    "strip": "Edits at growing distances",
    "map": "Where points go",
    "densities": "Densities on the way",
    "scatter": "Samples and truth",
    "transfer": "Colour transfer",
    "nfe": "Quality against network calls",
    "loss": "Training",
    "mixing": "The mixing step",
    "flips": "Flipped images against the distance",
    "spectrum": "Spectrum",
}
GRIDS = {"spd": "Samples", "ddib/classes": "Source, latent, translation, and the way back"}


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        title: words above it.
        uri: the file itself.
        width, height: size in pixels.
    """

    title: str
    uri: str
    width: int
    height: int

    @property
    def tall(self) -> bool:
        """Whether others have room beside it."""
        return self.height > TALL * self.width


@dataclass(frozen=True)
class Pair:
    """An image before and after."""

    before: Picture
    after: Picture


def figures(folder: Path, method: str) -> list[Picture]:
    """Figures in the folder of an experiment, or of its method, in the order of `FIGURES`."""
    titles = FIGURES | ({"grid": GRIDS[method]} if method in GRIDS else {})
    order = list(FIGURES)
    files = [*folder.glob("figures/*.png"), *folder.glob("*.png")]
    known = sorted(files, key=lambda f: (order.index(f.stem) if f.stem in order else len(order), f.name))
    return [figure(file, titles.get(file.stem, file.stem.replace("-", " "))) for file in known]


def figure(file: Path, title: str) -> Picture:
    """A PNG file, smaller where that takes nothing from it that a page shows."""
    with reading(file, "not a picture", "delete it, and let the next run draw it again"):
        image = Image.open(file).convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    content = _webp(image, lossless=True)
    return _picture(title, image, content if len(content) <= PLAIN else _webp(image, quality=88), "webp")


def comparison(folder: Path) -> list[Pair]:
    """Some images of an experiment before and after its restoration; none where it restores none."""
    restored, corrupted = folder / "restored.lmdb", folder / "corrupted.lmdb"
    if not (restored.is_file() and corrupted.is_file()):
        return []
    after, before = ImageStore(restored), ImageStore(corrupted)
    lineage.made_together(after, before)
    return pairs([(before[int(i)], after[int(i)]) for i in choose_from(after, TILES)])


def pairs(images: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Pair]:
    """Pairs of uint8 images [H,W,3] as pairs of pictures."""
    return [Pair(_tile("before", before), _tile("after", after)) for before, after in images]


def _tile(title: str, pixels: np.ndarray) -> Picture:
    image = Image.fromarray(pixels)
    if max(image.size) <= TINY:
        return _picture(title, image, _encoded(image, "PNG", optimize=True), "png")
    image.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    return _picture(title, image, _webp(image, quality=88), "webp")


def _picture(title: str, image: Image.Image, content: bytes, kind: str) -> Picture:
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(title, uri, image.width, image.height)


def _webp(image: Image.Image, lossless: bool = False, quality: int = 75) -> bytes:
    return _encoded(image, "WEBP", lossless=lossless, quality=quality, method=3)


def _encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    content = io.BytesIO()
    image.save(content, format=kind, **how)
    return content.getvalue()
