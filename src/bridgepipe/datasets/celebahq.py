"""CelebA-HQ with its 40 attributes, as CelebAMask-HQ publishes it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from bridgepipe.data.store import Codec
from bridgepipe.datasets.attribute_tables import celeba_rows
from bridgepipe.datasets.files import Files, load, open_files
from bridgepipe.datasets.folder import is_image
from bridgepipe.datasets.images import Size, height_width
from bridgepipe.datasets.items import FRACTIONS, Item, Splits, divide, some, with_missing, write_splits
from bridgepipe.datasets.layout import splits_at_any_depth
from bridgepipe.errors import UserError

ANNOTATION = "CelebAMask-HQ-attribute-anno.txt"
MASKS = "CelebAMask-HQ-mask-anno"
GET = "run `bridgepipe fetch celebahq/archive`, or correct the dataset's path"
Attributes = dict[int, dict[str, float]]


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size = 256,
    seed: int = 0,
    crop: str = "adm",
    fractions: Mapping[str, float] = FRACTIONS,
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train, val and test of CelebA-HQ with its attributes as 0 and 1.

    The published files have no splits: a hash of (seed, name) divides the images, unless they lie in folders
    ``train``, ``val`` and ``test`` (at any depth, such as BoundaryDiffusion's ``raw_images/train/images``);
    of these, one that is not there is cut from train.

    Args:
        path: CelebAMask-HQ.zip, or a folder with images, at any depth, and the published annotation
            file. An image belongs to the line with its number, so 00007.png is 7.jpg there;
            images of the masks are passed over.
        size: side of the square, or (height, width).
        crop: one of `bridgepipe.datasets.images.CROPS`.
        fractions: share of each split; 0 leaves a split out.
        skip_bad: leave unreadable images out, instead of stopping with their list.

    Raises:
        UserError: nothing there, no annotation or a faulty one, images without a line in it,
            two images of one number, images beside the splits, unreadable images, an empty split.
    """
    made_by = {
        "source": "celebahq",
        "size": list(height_width(size)),
        "crop": crop,
        "seed": seed,
        "fractions": dict(fractions),
    }
    with open_files(Path(path), GET) as files:
        splits = _splits(_items(files, size, crop), files.where, fractions, seed)
        write_splits(Path(out_dir), splits, made_by, None, codec, skip_bad, progress)


def _splits(items: Mapping[str, Item], where: Path, fractions: Mapping[str, float], seed: int) -> Splits:
    given = splits_at_any_depth(items, where)
    if given is None:
        return divide([*items.values()], fractions, seed)
    parts = {
        split: [item for name, item in items.items() if name.startswith(folder)]
        for split, folder in given.items()
    }
    return with_missing(parts, fractions, seed)


def _items(files: Files, size: Size, crop: str) -> dict[str, Item]:
    """Items by the names of their files, in the order of their numbers."""
    attributes = _attributes(files)
    names = {name: PurePosixPath(name) for name in files.sizes}
    images = {name: _number(p.stem) for name, p in names.items() if is_image(p.name) and MASKS not in p.parts}
    if not images:
        raise UserError("no images", files.where, GET)
    if lonely := [name for name, number in images.items() if number not in attributes]:
        raise UserError(
            f"no attributes for {some(lonely)}", files.where, "name images by the numbers of the annotation"
        )
    if len(set(images.values())) < len(images):
        raise UserError("two images have one number", files.where, "give every image once")
    return {
        name: Item(
            name=names[name].name,
            load=partial(load, files, name, size, crop),
            attributes=attributes[images[name]],
            bytes=files.sizes[name],
        )
        for name in sorted(images, key=lambda name: images[name])
    }


def _number(stem: str) -> int:
    return int(stem) if stem.isdecimal() else -1


def _attributes(files: Files) -> Attributes:
    found = [name for name in files.sizes if PurePosixPath(name).name == ANNOTATION]
    if not found:
        mend = f"put {ANNOTATION} there; images without attributes are source: folder"
        raise UserError("no annotation of attributes", files.where, mend)
    where = f"{files.where}: {found[0]}"
    try:
        return parse_attributes(files.read(found[0]).decode("utf8"))
    except Exception as e:  # An archive that is damaged here raises almost anything.
        raise UserError(f"not CelebA-HQ's attributes: {e}", where, "get the published file again") from e


def parse_attributes(text: str) -> Attributes:
    """Attributes, 0 or 1, by the number of the image.

    Args:
        text: the annotation, see `attribute_tables.celeba_rows`.

    Raises:
        ValueError: anything else, with the line.
    """
    attributes: Attributes = {}
    for at, (image, values) in enumerate(celeba_rows(text), 3):
        number = _number(PurePosixPath(image).stem)
        if number < 0 or number in attributes:
            raise ValueError(f"line {at} does not begin with the number of an image, each once")
        attributes[number] = values
    return attributes
