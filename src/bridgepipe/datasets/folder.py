"""Any folder of images, one sub-folder per class or none."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from bridgepipe.data.listing import Tree, hidden, walk
from bridgepipe.data.store import Codec
from bridgepipe.datasets.attribute_tables import Attributes, attributes_of, is_table
from bridgepipe.datasets.images import SUFFIXES, Decode, Size, decoding, height_width, load
from bridgepipe.datasets.items import (
    FRACTIONS,
    Arrays,
    Item,
    Splits,
    divide,
    some,
    with_missing,
    write_splits,
)
from bridgepipe.datasets.layout import given_splits, refuse_sides, split_of
from bridgepipe.datasets.patches import Patches, measured
from bridgepipe.errors import UserError
from bridgepipe.names import WRAPPERS, Json
from bridgepipe.photographs.samples import Grid

Load = Callable[[Path], Arrays]
# what lies beside pictures and could be none: it is no part of the dataset
NOTES = frozenset({".txt", ".md", ".rst", ".json", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".html", ".log"})
NAMED = 8  # suffixes of one line
log = logging.getLogger(__name__)


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size = 256,
    seed: int = 0,
    crop: str = "adm",
    decode: Decode = "exact",
    patches: Mapping[str, Any] | None = None,
    attributes: str | Path | None = None,
    fractions: Mapping[str, float] = FRACTIONS,
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train, val and test of a folder of images.

    Sub-folders ``train`` and ``val`` or ``test``, in any case and by their usual other names, are
    the splits, and one that is not there is cut from train; otherwise a hash of (seed, name) divides
    every class. A folder ``images`` or ``raw_images`` around all of them, or around those of a split, is
    no class. Each real file is read once, whatever links lead to it.

    Args:
        path: images, directly or in one sub-folder per class (searched to any depth).
        size: side of the square, or (height, width).
        crop: one of `bridgepipe.datasets.images.CROPS`.
        decode: draft: JPEG files are decoded as small as twice the size allows.
        patches: arguments of `Grid`: patches of the whole images are written, in place of images that are
            resized and cropped. An image is in one split with all of its patches; one that is smaller than
            a patch counts as unreadable.
        attributes: table of attributes, CelebA's published text among others; None: ``metadata.csv`` or
            ``metadata.jsonl`` beside the images, if there is one, see `attribute_tables.attributes_of`.
        fractions: share of each split; 0 leaves a split out.
        skip_bad: leave unreadable images out, instead of stopping with their list.

    Raises:
        UserError: no images, a folder that cannot be read, unreadable images, folders that may mean
            two things, a class without pictures to train on, an empty split.
    """
    reading = partial(load, size=size, crop=crop, draft=decode == "draft")
    pictures = find(Path(path))
    splits: Mapping[str, Sequence[Item]]
    splits, classes = find_splits(pictures, reading, fractions, seed)
    how: Json = {"size": list(height_width(size)), "crop": crop, **decoding(decode)}
    if patches is not None:
        grid = Grid(**patches)
        splits = {split: _patches(items, grid) for split, items in splits.items()}
        how = {"size": [grid.size, grid.size], "stride": grid.step, "scales": list(grid.scales)}
    else:
        table = None if attributes is None else Path(attributes)
        known = attributes_of(list(pictures.sizes), pictures.root, pictures.tables, table)
        splits = {split: _with(items, known, pictures.root) for split, items in splits.items()}
    made_by = {
        "source": "folder",
        **how,
        "seed": seed,
        "fractions": dict(fractions),
        **pictures.passed_over,
    }
    write_splits(Path(out_dir), splits, made_by, classes, codec, skip_bad, progress)


def _with(items: Sequence[Item], known: Attributes, root: Path) -> Sequence[Item]:
    """Items with the attributes of their files."""
    if not known:
        return items
    return [replace(item, attributes=known[place_of(item).relative_to(root).as_posix()]) for item in items]


def place_of(item: Item) -> Path:
    """The file of an item of `items_of`."""
    assert isinstance(item.load, partial)
    return item.load.args[1] / item.load.args[2]


def _patches(items: Sequence[Item], grid: Grid) -> Patches:
    """Patches of the images that items would load whole."""
    return Patches(
        [measured(i.name, place_of(i), grid, i.label, i.bytes) for i in items],
        grid,
    )


@dataclass(frozen=True)
class Pictures:
    """The pictures below a folder.

    Attributes:
        root: folder of the images.
        sizes: bytes of every picture by its relative name, sorted; 0 of a link that leads nowhere.
        folders: every folder, also those without pictures.
        passed_over: ``{"passed_over": {suffix: count}}`` for the card, without notes; {} when nothing was.
        tables: names of the tables of attributes.
    """

    root: Path
    sizes: Mapping[str, int]
    folders: Sequence[str]
    passed_over: Mapping[str, Mapping[str, int]]
    tables: Sequence[str] = ()


def find(root: Path) -> Pictures:
    """The pictures below a folder; skipped files are reported on standard error.

    Raises:
        UserError: no such folder, one that cannot be read, or no pictures in it.
    """
    if not root.is_dir():
        raise UserError("no such folder", root, "put the images there, or correct the path")
    tree = walk(root)
    sizes = {name: status.st_size for name, status in tree.files.items() if is_image(name)}
    sizes |= {name: 0 for name in tree.dangling if is_image(name)}
    others = _others(tree)
    if not sizes:
        beside = f", only {_counted(others)}" if others else ""
        raise UserError(
            f"no images{beside}", root, "put images there (png, jpeg, tiff, webp, avif, bmp, ...)"
        )
    if others:
        log.warning("%s: passed over %s", root, _counted(others))
    if tree.repeated:
        log.warning("%s: passed over what comes twice, %s", root, some(tree.repeated, "link"))
    # A split that is a link to another one must not count as one that is not there.
    folders = tree.folders + [name for name in tree.repeated if split_of(name) is not None]
    counts = {suffix: count for suffix, count in others.items() if suffix not in NOTES}
    passed_over = {"passed_over": counts} if counts else {}
    tables = [name for name in tree.files if is_table(name)]
    return Pictures(root, dict(sorted(sizes.items())), folders, passed_over, tables)


def _others(tree: Tree) -> dict[str, int]:
    """How many files of every suffix are no pictures."""
    names = [name for name in (*tree.files, *tree.dangling) if not (is_image(name) or is_table(name))]
    counts = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)
    if tree.special:
        counts["named pipe, socket or device"] = len(tree.special)
    return dict(sorted(counts.items()))


def _counted(others: Mapping[str, int]) -> str:
    """The most frequent suffixes by name, and how many files have another."""
    most = dict(sorted(Counter(others).most_common(NAMED)))
    rest = f" and {sum(others.values()) - sum(most.values())} with {len(others) - len(most)} other suffixes"
    named = ", ".join(f"{count} {suffix}" for suffix, count in most.items())
    return named if len(most) == len(others) else named + rest


def image_names(root: Path) -> list[str]:
    """Relative paths of all image files below ``root``, sorted; hidden files and folders are left out.

    Raises:
        UserError: no such folder, one that cannot be read, or no images in it.
    """
    return list(find(root).sizes)


def is_image(name: str) -> bool:
    """A visible file with the suffix of a format that is decoded."""
    file = PurePosixPath(name)
    return not hidden(file.name) and file.suffix.lower() in SUFFIXES


def find_splits(
    pictures: Pictures, load: Load, fractions: Mapping[str, float], seed: int
) -> tuple[Splits, list[str] | None]:
    """Items of every split and the names of the classes.

    Raises:
        UserError: as `prepare`.
    """
    pictures = _unwrapped(pictures)
    given = given_splits(pictures.sizes, pictures.folders, pictures.root)
    if given is None:
        classes = classes_of(pictures)
        return divide(items_of(pictures.sizes, pictures.root, load, classes), fractions, seed), classes
    parts = {split: _unwrapped(_below(pictures, folder)) for split, folder in given.items()}
    lists = {split: classes_of(part) for split, part in parts.items()}
    if len({found is None for found in lists.values()}) > 1:
        what = "some splits have sub-folders of classes, some have none"
        raise UserError(what, pictures.root, "arrange all alike")
    classes = sorted({name for found in lists.values() for name in found or ()}) or None
    _all_in_train(classes, lists["train"], parts["train"].root)
    splits = {split: items_of(part.sizes, part.root, load, classes) for split, part in parts.items()}
    return with_missing(splits, fractions, seed), classes


def _unwrapped(pictures: Pictures) -> Pictures:
    """The pictures of the innermost folder around all of them whose name says that it is no class."""
    tops = {name.partition("/")[0] for name in (*pictures.sizes, *pictures.folders)}
    (top, *others) = sorted(tops) or [""]
    return pictures if others or top.lower() not in WRAPPERS else _unwrapped(_below(pictures, top))


def _below(pictures: Pictures, folder: str) -> Pictures:
    """The pictures of a sub-folder, by their names in it."""
    start = f"{folder}/"
    sizes = {name[len(start) :]: size for name, size in pictures.sizes.items() if name.startswith(start)}
    folders = [name[len(start) :] for name in pictures.folders if name.startswith(start)]
    return Pictures(pictures.root / folder, sizes, folders, {})


def _all_in_train(classes: Sequence[str] | None, trained: Sequence[str] | None, root: Path) -> None:
    if lacking := sorted(set(classes or ()) - set(trained or ())):
        what = f"no pictures to train on of {some(lacking, 'class')}"
        raise UserError(
            what, root, "put some there under the same name, or take the class out of val and test"
        )


def items_of(sizes: Mapping[str, int], root: Path, load: Load, classes: Sequence[str] | None) -> list[Item]:
    """Items for image files below ``root``; the first folder of a name is its class."""
    number = {name: index for index, name in enumerate(classes or ())}
    return [
        Item(
            name=name,
            load=partial(_load, load, root, name),
            label=number.get(name.partition("/")[0]),
            bytes=size,
        )
        for name, size in sizes.items()
    ]


def _load(load: Load, root: Path, name: str) -> Arrays:
    """A path for as long as it is read: those of a million files would take a gigabyte."""
    return load(root / name)


def classes_of(pictures: Pictures) -> list[str] | None:
    """Names of the sub-folders that hold images, sorted; None when the images lie in the folder itself.

    Raises:
        UserError: images in both places, a sub-folder without any, two that differ by case only, two sides,
            one folder around those of the classes.
    """
    inside = sorted({name.partition("/")[0] for name in pictures.sizes if "/" in name})
    if not inside:
        return None
    if any("/" not in name for name in pictures.sizes):
        raise UserError(
            "images both in the folder and in sub-folders",
            pictures.root,
            "move them all into one sub-folder per class, or all into the folder",
        )
    if empty := sorted({folder.partition("/")[0] for folder in pictures.folders} - set(inside)):
        what = f"no pictures in {some(empty, 'folder')}"
        mend = "a class needs pictures of a format that is read: put some there, or take the folder away"
        raise UserError(what, pictures.root, mend)
    by_case = {name.lower(): name for name in inside}
    if twice := sorted(set(inside) - set(by_case.values())):
        what = f"{twice[0]} and {by_case[twice[0].lower()]} differ by case only"
        raise UserError(what, pictures.root, "join the two classes, or rename one")
    refuse_sides(inside, pictures.root)
    below = {name.rpartition("/")[0] for name in pictures.sizes}
    if len(inside) == 1 and len(below) > 1 and inside[0] not in below:
        what = f"the only folder is {inside[0]}, which holds {some(sorted(below), 'folder')}"
        mend = f"give {pictures.root / inside[0]} as the path; if it is one class, put its pictures into it"
        raise UserError(what, pictures.root, mend)
    return inside
