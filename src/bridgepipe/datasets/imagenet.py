"""ImageNet (ILSVRC2012), arranged as one folder per class, and I2SB's subset of its validation images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from bridgepipe.data.store import Codec
from bridgepipe.datasets.folder import find, items_of
from bridgepipe.datasets.images import Decode, Loaded, Size, decode_plain, decoding, height_width, load
from bridgepipe.datasets.items import Item, Splits, some, write_splits
from bridgepipe.errors import UserError
from bridgepipe.names import ilsvrc
from bridgepipe.names.classes import Label, number_of

Load = Callable[[Any], tuple[Loaded, ...]]  # of a file, or of its bytes
Read = Callable[[Path, Sequence[str], Load], tuple[Splits, Sequence[str]]]
ARRANGE = (
    "put ILSVRC2012 there as train/n01440764/*.JPEG and val/n01440764/*.JPEG, or correct the dataset's path"
)


def folders(root: Path, splits: Sequence[str], load: Load) -> tuple[Splits, Sequence[str]]:
    """Items of the folders of splits, and the names of the 1,000 classes."""
    names = ilsvrc.classes()
    for split in splits:
        if not (root / split).is_dir():
            raise UserError(f"no ImageNet {split} images", root / split, ARRANGE)
    return {split: _items(root / split, load, names) for split in splits}, names


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size = 256,
    crop: str = "torchvision",
    decode: Decode = "exact",
    classes: Sequence[Label] | None = None,
    subset: str | Path | None = None,
    splits: Sequence[str] = ("train", "val"),
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
    read: Read = folders,
) -> None:
    """Write train and val, by I2SB's rule: RGB, Resize, CenterCrop. Classes are numbered as ILSVRC does.

    Args:
        path: folder with ``train`` and ``val``, each with one sub-folder per class, named by its WordNet id;
            all or some of the 1,000. ``val`` may be flat: the published labels give the classes.
        size: side of the square, or (height, width).
        crop: one of `bridgepipe.datasets.images.CROPS`.
        decode: draft: files are decoded as small as twice the size allows.
        classes: names or numbers of those whose images are written, numbered as before; None: all.
        subset: text file with one validation image a line, in the order in which they are used:
            ``[any/folder/][class/]file [class or its index]``. I2SB's own list can be given.
        splits: splits that are written.
        read: function that lists the items of splits below ``path``, and their classes.

    Raises:
        UserError: ImageNet or images of the subset are missing, classes unknown, unreadable images.
    """
    root = Path(path)
    lines = read_subset(subset) if subset else None
    items, names = read(root, splits, partial(load_plain, size=size, crop=crop, draft=decode == "draft"))
    if lines is not None and "val" in items:
        items["val"] = choose(items["val"], lines, names, str(subset))
    _check_labels(items, root)
    items = _of_classes(items, classes, names, root)
    write_splits(Path(out_dir), items, _card(size, crop, decode), names, codec, skip_bad, progress)


def _items(root: Path, load: Load, classes: Sequence[str]) -> list[Item]:
    """Images of a split, named ``class/file`` also where a flat folder leaves the class to the file's number.

    Raises:
        UserError: a sub-folder that is no class of ILSVRC2012.
    """
    names = find(root).sizes
    if others := sorted({name.partition("/")[0] for name in names if "/" in name} - set(classes)):
        what = f"{some(others, 'folder')}: no class of ILSVRC2012"
        raise UserError(what, root, "name folders by WordNet ids such as n01440764, or take source: folder")
    # Without sizes, so that an import of I2SB's LMDB gives the same bytes.
    items = items_of(dict.fromkeys(names, 0), root, load, classes)
    number = {name: index for index, name in enumerate(classes)}
    found = [ilsvrc.validation_class(item.name) for item in items]
    named = [
        item if wnid is None else replace(item, name=f"{wnid}/{item.name}", label=number[wnid])
        for item, wnid in zip(items, found, strict=True)
    ]
    return sorted(named, key=lambda item: item.name)


def _of_classes(splits: Splits, wanted: Sequence[Label] | None, names: Sequence[str], where: Path) -> Splits:
    """The items of some classes; None: of all.

    Raises:
        UserError: no such class, or a split that holds none of its images.
    """
    if wanted is None:
        return splits
    numbers = [number_of(label, names, "dataset.classes") for label in wanted]
    found = {split: [item for item in items if item.label in numbers] for split, items in splits.items()}
    for split, items in found.items():
        if lacking := set(numbers) - {item.label for item in items}:
            lacks = ", ".join(names[number] for number in sorted(n for n in lacking if n is not None))
            raise UserError(f"no {split} images of {lacks}", where, "add them, or correct dataset.classes")
    return found


def _card(size: Size, crop: str, decode: Decode) -> dict[str, object]:
    """What a store of ImageNet says of how it was made; the same for both ways to it."""
    return {"source": "imagenet", "size": list(height_width(size)), "crop": crop, **decoding(decode)}


def load_plain(source: Path | bytes, size: Size, crop: str, draft: bool = False) -> tuple[Loaded]:
    """One image file as the published loaders read it; ``draft`` as in `load`."""
    return load(source, size, crop, decode_plain, draft)


Line = tuple[PurePosixPath, str | None]


def read_subset(path: str | Path) -> list[Line]:
    """Lines ``image [class]`` of a list; empty lines are passed over.

    Raises:
        UserError: no such file, or nothing in it.
    """
    try:
        text = Path(path).read_text(encoding="utf8")
    except (OSError, ValueError) as e:
        raise UserError("cannot read the list of validation images", path, "correct dataset.subset") from e
    fields = [line.split() for line in text.splitlines() if line.strip()]
    if not fields:
        raise UserError("the list of validation images is empty", path, "give one image a line")
    return [(PurePosixPath(words[0]), words[1] if len(words) > 1 else None) for words in fields]


def choose(items: Iterable[Item], lines: Sequence[Line], classes: Sequence[str], where: str) -> list[Item]:
    """The items of a list, in its order, with the classes that it names.

    Raises:
        UserError: an image of the list is missing, or comes twice.
    """
    find = _finder(items)
    found = [find(image) for image, _ in lines]
    if missing := [image.name for (image, _), item in zip(lines, found, strict=True) if item is None]:
        raise UserError(f"not among the validation images: {some(missing)}", where, "correct the list")
    chosen = [item for item in found if item is not None]
    if len({item.name for item in chosen}) < len(chosen):
        raise UserError("images come twice in the list", where, "name every image once")
    number = {name: index for index, name in enumerate(classes)}
    number |= {str(index): index for index in range(len(classes))}
    return [
        replace(item, label=number.get(class_name or image.parent.name, item.label))
        for (image, class_name), item in zip(lines, chosen, strict=True)
    ]


def _finder(items: Iterable[Item]) -> Callable[[PurePosixPath], Item | None]:
    """Looks images up by class and file, or by the file alone where that is unique."""
    by_tail = {tuple(PurePosixPath(item.name).parts[-2:]): item for item in items}
    files = Counter(tail[-1] for tail in by_tail)
    by_file = {tail[-1]: item for tail, item in by_tail.items() if files[tail[-1]] == 1}
    return lambda image: by_tail.get(tuple(image.parts[-2:])) or by_file.get(image.name)


def _check_labels(splits: Splits, where: Path) -> None:
    """Raises UserError when the class of an image is unknown."""
    for split, items in splits.items():
        if unknown := [item.name for item in items if item.label is None]:
            raise UserError(
                f"class unknown in {split}: {some(unknown)}",
                where,
                "arrange them in one folder per class, keep their published names, or give dataset.subset",
            )
