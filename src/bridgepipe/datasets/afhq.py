"""Animal Faces HQ: 512 x 512 faces of cats, dogs and wild animals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from bridgepipe.data.store import Codec
from bridgepipe.datasets.files import Files, load, open_files
from bridgepipe.datasets.folder import is_image
from bridgepipe.datasets.images import Size, height_width
from bridgepipe.datasets.items import Item, write_splits
from bridgepipe.datasets.layout import split_of
from bridgepipe.errors import UserError
from bridgepipe.names import ANIMALS

GET = "run `bridgepipe fetch afhq/archive`, or correct the dataset's path"


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    domain: str | None = None,
    size: Size = 256,
    crop: str = "adm",
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train and val of AFHQ as it ships them.

    Args:
        path: the published zip archive, or a folder with ``train/{cat,dog,wild}`` and ``val/...``,
            at any depth. AFHQ v2 calls its held-out images test; they become val as well.
        domain: one of `ANIMALS`; None: all three, with labels.
        size: side of the square, or (height, width).
        crop: one of `bridgepipe.datasets.images.CROPS`.
        skip_bad: leave unreadable images out, instead of stopping with their list.

    Raises:
        UserError: nothing there, a folder of a domain is missing, unreadable images.
    """
    domains = ANIMALS if domain is None else (domain,)
    made_by = {"source": "afhq", "domain": domain, "size": list(height_width(size)), "crop": crop}
    with open_files(Path(path), GET) as files:
        splits = {
            "train": _items(files, "train", domains, size, crop),
            "val": _items(files, _held_out(files), domains, size, crop),
        }
        classes = None if domain else ANIMALS
        write_splits(Path(out_dir), splits, made_by, classes, codec, skip_bad, progress)


def _place(name: str) -> tuple[str | None, str]:
    """(split, domain) of a file; the split by any of its names."""
    parts = PurePosixPath(name).parts
    return (split_of(parts[-3]), parts[-2]) if len(parts) > 2 else (None, "")


def _held_out(files: Files) -> str:
    """What the held-out images are called: val or test.

    Raises:
        UserError: nothing or both are called so, or AFHQ comes twice.
    """
    homes: dict[str, set[str]] = defaultdict(set)
    for name in files.sizes:
        split, domain = _place(name)
        if split is not None and domain in ANIMALS:
            homes[str(PurePosixPath(name).parents[2])].add(split)
    if len(homes) > 1:
        what = f"splits in more than one folder: {', '.join(sorted(homes))}"
        raise UserError(what, files.where, "give the path of one")
    found = sorted({split for splits in homes.values() for split in splits} & {"val", "test"})
    if len(found) != 1:
        what = "both val and test" if found else "neither val nor test"
        raise UserError(f"{what} beside train", files.where, "give AFHQ or AFHQ v2 as published")
    return found[0]


def _items(files: Files, folder: str, domains: Sequence[str], size: Size, crop: str) -> list[Item]:
    items = []
    for label, domain in enumerate(domains):
        names = [n for n in files.sizes if _place(n) == (folder, domain) and is_image(PurePosixPath(n).name)]
        if not names:
            raise UserError(f"no images in {folder}/{domain}", files.where, GET)
        items += [
            Item(
                name=f"{domain}/{PurePosixPath(name).name}",
                load=partial(load, files, name, size, crop),
                label=label if len(domains) > 1 else None,
                bytes=files.sizes[name],
            )
            for name in names
        ]
    return items
