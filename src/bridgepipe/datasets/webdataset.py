"""Image datasets in tar shards as webdataset has them.

They are read without the library of that name, which leaves out or joins in silence what does not fit.
"""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from functools import partial
from pathlib import Path

from bridgepipe.data.listing import hidden
from bridgepipe.data.store import Codec
from bridgepipe.datasets import shards
from bridgepipe.datasets.files import unsafe_place
from bridgepipe.datasets.images import SUFFIXES, Size
from bridgepipe.datasets.items import some
from bridgepipe.datasets.shards import Row, Shard
from bridgepipe.errors import UserError, reading


def prepare(
    out_dir: str | Path,
    *,
    path: str | Path,
    size: Size = 256,
    image: str | None = None,
    seed: int = 0,
    crop: str = "adm",
    codec: Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
) -> None:
    """Write train, val and test of tar shards, whose members of one key are one image with its label.

    A key ends at the first dot, as webdataset has it. ``KEY.cls`` is its class, numbers in ``KEY.json`` are
    attributes. Members need not lie side by side, and there may be fewer shards than processes.

    Args:
        path, size, seed, crop, skip_bad: see `parquet.prepare`.
        image: what follows the key in the names of images, such as ``left.png``; None: any format.

    Raises:
        UserError: no such files, files of several splits or of none beside others, keys without an image or
            with two, without a class where others have one, compressed or damaged shards, unreadable images.
    """
    how = (size, seed, crop, codec, skip_bad, progress)
    shards.prepare(Path(out_dir), "webdataset", Path(path), ".tar", partial(_shard, image=image), *how)


def _shard(file: Path, name: str, image: str | None) -> Shard:
    with reading(file, "no whole tar file", "give the shard again; compressed ones are to be unpacked"):
        samples = _samples(file)
    stem, rows = name.removesuffix(".tar"), []
    wrong: dict[str, list[str]] = {"no image": [], "several images": []}
    for key, fields in samples.items():
        found = [e for e in fields if (e == image if image else f".{e}".endswith(tuple(SUFFIXES)))]
        if len(found) != 1:
            wrong["several images" if found else "no image"].append(f"{key} ({', '.join(found or fields)})")
            continue
        content = json.loads(_content(file, *fields["json"])) if "json" in fields else {}
        label = _class_of(_content(file, *fields["cls"])) if "cls" in fields else None
        values = {k: v for k, v in content.items() if not isinstance(v, dict | list)}
        rows.append(Row(f"{stem}/{key}", partial(_content, file, *fields[found[0]]), label, values))
    for what, keys in wrong.items():
        if keys:
            mend = "a key ends at the first dot: rename members, or say image: which one it is"
            raise UserError(f"{what} in {some(keys, 'sample')}", file, mend)
    return Shard(rows)


def _class_of(content: bytes) -> str | int:
    text = content.decode("utf8").strip()
    return int(text) if text.lstrip("-").isdecimal() else text


def _samples(file: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Place and size of every member, by key and what follows it.

    Raises:
        ValueError: a link, a member outside, one that comes twice, or one that is cut short.
    """
    found: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    size = file.stat().st_size
    with tarfile.open(file, "r:") as archive:
        for member in archive:
            folder, _, base = member.name.rpartition("/")
            if member.isdir() or hidden(base):
                continue
            if not member.isfile() or unsafe_place(member.name):
                raise ValueError(f"a member is a link, a device or lies outside: {member.name!r}")
            if member.offset_data + member.size > size:
                raise ValueError(f"cut short in {member.name!r}")
            stem, _, rest = base.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            if rest.lower() in found[key]:
                raise ValueError(f"a member comes twice: {member.name!r}")
            found[key][rest.lower()] = member.offset_data, member.size
    if not found:
        raise ValueError("it has no members")
    return found


def _content(file: Path, start: int, size: int) -> bytes:
    with open(file, "rb") as raw:
        raw.seek(start)
        return raw.read(size)
