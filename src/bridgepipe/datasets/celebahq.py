"""CelebA-HQ with its 40 attributes, as CelebAMask-HQ publishes it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from bridgepipe.data.store import Codec
from bridgepipe.datasets.files import Files, load, open_files
from bridgepipe.datasets.folder import is_image
from bridgepipe.datasets.images import Size, height_width
from bridgepipe.datasets.items import FRACTIONS, Item, divide, some, write_splits
from bridgepipe.datasets.layout import refuse_splits
from bridgepipe.errors import UserError

ANNOTATION = "CelebAMask-HQ-attribute-anno.txt"
MASKS = "CelebAMask-HQ-mask-anno"
GET = "run `bridgepipe fetch celebahq/archive`, or correct the dataset's path"
VALUES = {"-1": 0, "1": 1}
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

    The published files have no splits: a hash of (seed, name) divides the images.

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
            two images of one number, unreadable images, an empty split.
    """
    made_by = {
        "source": "celebahq",
        "size": list(height_width(size)),
        "crop": crop,
        "seed": seed,
        "fractions": dict(fractions),
    }
    with open_files(Path(path), GET) as files:
        splits = divide(_items(files, size, crop), fractions, seed)
        write_splits(Path(out_dir), splits, made_by, None, codec, skip_bad, progress)


def _items(files: Files, size: Size, crop: str) -> list[Item]:
    attributes = _attributes(files)
    names = {name: PurePosixPath(name) for name in files.sizes}
    images = {name: _number(p.stem) for name, p in names.items() if is_image(p.name) and MASKS not in p.parts}
    if not images:
        raise UserError("no images", files.where, GET)
    refuse_splits(images, files.where)
    if lonely := [name for name, number in images.items() if number not in attributes]:
        raise UserError(
            f"no attributes for {some(lonely)}", files.where, "name images by the numbers of the annotation"
        )
    if len(set(images.values())) < len(images):
        raise UserError("two images have one number", files.where, "give every image once")
    return [
        Item(
            name=names[name].name,
            load=partial(load, files, name, size, crop),
            attributes=attributes[images[name]],
            bytes=files.sizes[name],
        )
        for name in sorted(images, key=lambda name: images[name])
    ]


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

    The text has the number of images, the names of the attributes, and for every image a line
    ``7.jpg  -1 1 ...``.

    Raises:
        ValueError: anything else, with the line.
    """
    lines = text.splitlines()
    if len(lines) < 2 or not lines[0].strip().isdecimal():
        raise ValueError("line 1 is not the number of images")
    names, rows = lines[1].split(), [line.split() for line in lines[2:] if line.strip()]
    if not names or len(set(names)) < len(names):
        raise ValueError("line 2 is not the names of the attributes")
    if len(rows) != int(lines[0]):
        raise ValueError(f"{len(rows)} images, line 1 says {int(lines[0])}")
    attributes: Attributes = {}
    for at, (image, *values) in enumerate(rows, 3):
        number = _number(PurePosixPath(image).stem)
        if (
            number < 0
            or number in attributes
            or len(values) != len(names)
            or not VALUES.keys() >= set(values)
        ):
            raise ValueError(f"line {at} is not an image's number and {len(names)} values of -1 or 1")
        attributes[number] = {name: VALUES[value] for name, value in zip(names, values, strict=True)}
    return attributes
