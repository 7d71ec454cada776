"""LSUN's scene categories, from the LMDB folders that LSUN ships."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lmdb

from bridgepipe.data.lmdbfile import open_readonly
from bridgepipe.data.store import Codec
from bridgepipe.datasets.imagenet import load_plain
from bridgepipe.datasets.images import Loaded, Size, height_width
from bridgepipe.datasets.items import Item, write_splits
from bridgepipe.errors import UserError


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    category: str,
    size: Size = 256,
    limit: int | None = None,
    crop: str = "adm",
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train and val of a category.

    Args:
        path: holds the unzipped ``{category}_train_lmdb`` and ``{category}_val_lmdb``, whose
            ``data.mdb`` has the bytes of a WebP or JPEG file under every key.
        category: such as church_outdoor or bedroom.
        size: side of the square, or (height, width).
        limit: only the first images of each split, in the order of the keys, which are digests and
            so as good as shuffled; bedroom's 3 million would fill 600 GB at 256 pixels.
        crop: one of `bridgepipe.datasets.images.CROPS`.
        skip_bad: leave unreadable images out, instead of stopping with their list.

    Raises:
        UserError: a file is missing, truncated or not LMDB; unreadable images.
    """
    splits = {
        split: _items(Path(path) / f"{category}_{split}_lmdb", limit, size, crop)
        for split in ("train", "val")
    }
    made_by = {
        "source": "lsun",
        "category": category,
        "size": list(height_width(size)),
        "crop": crop,
        "limit": limit,
    }
    write_splits(Path(out_dir), splits, made_by, None, codec, skip_bad, progress)


def _items(folder: Path, limit: int | None, size: Size, crop: str) -> list[Item]:
    data = folder / "data.mdb"
    if not data.is_file():
        mend = f"get {folder.name}.zip with LSUN's download.py (github.com/fyu/lsun) and unzip it there"
        raise UserError("no such file", data, mend)
    env = open_readonly(data)
    return [
        Item(key.decode("ascii"), partial(_load, env, key, size, crop)) for key in _keys(env, limit, data)
    ]


def _keys(env: lmdb.Environment, limit: int | None, where: Path) -> list[bytes]:
    try:
        with env.begin() as txn:
            # zip asks the range first, so the cursor never goes beyond the limit.
            wanted = range(env.stat()["entries"] if limit is None else limit)
            return [key for _, key in zip(wanted, txn.cursor().iternext(values=False), strict=False)]
    except lmdb.Error as e:
        raise UserError(f"damaged file: {e}", where, "unzip it again") from e


def _load(env: lmdb.Environment, key: bytes, size: Size, crop: str) -> tuple[Loaded]:
    with env.begin() as txn:
        data = txn.get(key, b"")
    return load_plain(data, size, crop)
