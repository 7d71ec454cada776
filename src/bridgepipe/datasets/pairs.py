"""Paired images: two folders matched by name, or two halves of one image side by side."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from bridgepipe.data.store import Codec
from bridgepipe.datasets.folder import Pictures, find, find_splits
from bridgepipe.datasets.images import Size, decode, fit, height_width
from bridgepipe.datasets.items import FRACTIONS, some, write_splits
from bridgepipe.errors import UserError

Layout = Literal["folders", "side-by-side"]


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size,
    seed: int = 0,
    layout: Layout = "folders",
    reverse: bool = False,
    crop: str = "adm",
    fractions: Mapping[str, float] = FRACTIONS,
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write targets x0 to ``{split}.lmdb`` and sources x1 to ``{split}-source.lmdb``, in one order.

    Args:
        path: folder; with layout ``folders`` it holds ``A`` (sources) and ``B`` (targets), whose images have
            the same names up to the suffix; with ``side-by-side`` (pix2pix, edges2shoes): images
            whose left half is the source. Splits and classes as in `bridgepipe.datasets.folder.prepare`,
            below ``A`` and ``B`` or below ``path``.
        reverse: B or the right half is the source.
        skip_bad: leave unreadable and unequal pairs out, instead of stopping with their list.

    Raises:
        UserError: images without a partner, partners of different size, odd widths, and as for folders.
    """
    root = Path(path)
    finish = partial(_fit_pair, size=size, crop=crop, reverse=reverse)
    if layout == "folders":
        pictures, partner = matched(root)
        splits, classes = find_splits(
            pictures, lambda file: finish(decode(file), decode(partner[file])), fractions, seed
        )
    else:
        pictures = find(root)
        splits, classes = find_splits(pictures, lambda file: finish(*_halves(decode(file))), fractions, seed)
    made_by = {
        "source": "pairs",
        "layout": layout,
        "reverse": reverse,
        "size": list(height_width(size)),
        "crop": crop,
        "seed": seed,
        "fractions": dict(fractions),
        **pictures.passed_over,
    }
    write_splits(Path(out_dir), splits, made_by, classes, codec, skip_bad, progress, suffixes=["", "-source"])


def matched(root: Path) -> tuple[Pictures, dict[Path, Path]]:
    """The sources below ``A``, and for the file of each that of its target below ``B``.

    Raises:
        UserError: no such folders, no images, or images without a partner.
    """
    first, second = _sides(root)
    return first, _match(first, second)


def _sides(root: Path) -> tuple[Pictures, Pictures]:
    first, second = root / "A", root / "B"
    for side in (first, second):
        if not side.is_dir():
            mend = (
                "put sources into A/ and targets into B/, with any splits below; or set layout: side-by-side"
            )
            raise UserError("no such folder", side, mend)
    if first.samefile(second):
        raise UserError("A and B are one folder", root, "give the targets a folder of their own")
    return find(first), find(second)


def _match(first: Pictures, second: Pictures) -> dict[Path, Path]:
    """Files of the second folder by the file of the first that has the same name."""
    ours, theirs = _by_stem(first), _by_stem(second)
    lonely = [
        *(f"{first.root.name}/{ours[stem]}" for stem in sorted(set(ours) - set(theirs))),
        *(f"{second.root.name}/{theirs[stem]}" for stem in sorted(set(theirs) - set(ours))),
    ]
    if lonely:
        mend = "give every image of A an image of the same name in B"
        raise UserError(f"no partner for {some(lonely)}", first.root.parent, mend)
    return {first.root / ours[stem]: second.root / theirs[stem] for stem in ours}


def _by_stem(pictures: Pictures) -> dict[str, str]:
    by_stem = {name.rpartition(".")[0]: name for name in pictures.sizes}
    if twice := sorted(set(pictures.sizes) - set(by_stem.values())):
        mend = "give every image a name of its own"
        raise UserError(f"the same name with two suffixes: {some(twice)}", pictures.root, mend)
    return by_stem


def _halves(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    width, height = image.size
    if width % 2:
        raise ValueError(f"width {width} is odd")
    return image.crop((0, 0, width // 2, height)), image.crop((width // 2, 0, width, height))


def _fit_pair(
    source: Image.Image, target: Image.Image, size: Size, crop: str, reverse: bool
) -> tuple[np.ndarray, ...]:
    if source.size != target.size:
        raise ValueError("{}x{} and {}x{} pixels".format(*source.size, *target.size))
    if reverse:
        source, target = target, source
    return fit(target, size, crop), fit(source, size, crop)
