"""From items to stores: dividing into splits, loading in parallel, reporting all bad items at once."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import UnidentifiedImageError

from bridgepipe.artifacts import digest_of
from bridgepipe.data import store, unfinished
from bridgepipe.data.listing import NOWHERE
from bridgepipe.datasets.images import Loaded
from bridgepipe.errors import UserError

SPLITS = ("train", "val", "test")
FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
LISTED = 20
Arrays = tuple[np.ndarray | Loaded, ...]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a source.

    Attributes:
        name: path relative to the source, or whatever names the item there.
        load: the arrays of the item, one per store, with their files where they come from one each; may raise
            anything when the item is bad.
        label: index of its class.
        attributes: named numbers.
        bytes: size of its file where the listing digest covers it.
    """

    name: str
    load: Callable[[], Arrays]
    label: int | None = None
    attributes: Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0


Splits = dict[str, list[Item]]


def divide(items: Sequence[Item], fractions: Mapping[str, float], seed: int) -> Splits:
    """Divide items class by class in the order of a hash of (seed, name).

    A new item changes the place of few others. Shares are exact to one item over all
    classes together, because what rounding leaves over goes to the next class; what the
    others leave is train.

    Args:
        fractions: share of each split; 0 leaves a split out.

    Raises:
        UserError: the shares are not 1 in sum.
    """
    if abs(sum(fractions.values()) - 1) > 1e-6:
        what = f"the fractions of the splits are {sum(fractions.values()):g} in sum"
        raise UserError(what, "dataset.fractions", "make them 1 in sum")
    splits: Splits = {split: [] for split, share in fractions.items() if share > 0}
    seen = 0
    for members in _classes(items):
        seen += len(members)
        members = sorted(members, key=lambda item: _rank(item.name, seed))
        for split in [split for split in splits if split != "train"]:
            due = max(round(seen * fractions[split]) - len(splits[split]), 0)
            splits[split] += members[:due]
            members = members[due:]
        if "train" in splits:
            splits["train"] += members
    place = {item.name: index for index, item in enumerate(items)}
    return {split: sorted(chosen, key=lambda item: place[item.name]) for split, chosen in splits.items()}


def with_missing(splits: Mapping[str, Sequence[Item]], fractions: Mapping[str, float], seed: int) -> Splits:
    """Given splits, and those that are wanted beside them, cut from train."""
    missing = {split: share for split, share in fractions.items() if split not in splits}
    rest = {"train": 1 - sum(missing.values()), **missing}
    others = {split: list(items) for split, items in splits.items() if split != "train"}
    return {**divide(splits["train"], rest, seed), **others}


def _classes(items: Sequence[Item]) -> Iterable[list[Item]]:
    groups: dict[int | None, list[Item]] = {}
    for item in items:
        groups.setdefault(item.label, []).append(item)
    return groups.values()


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(b"%d %s" % (seed, os.fsencode(name))).digest()


def write_splits(
    out_dir: Path,
    splits: Mapping[str, Sequence[Item]],
    made_by: Mapping[str, Any],
    classes: Sequence[str] | None = None,
    codec: store.Codec = "raw",
    skip_bad: bool = False,
    progress: bool | None = None,
    suffixes: Sequence[str] = ("",),
) -> None:
    """Write ``{split}{suffix}.lmdb`` for every split and every array that the items load.

    Nothing appears under a final name unless everything could be written. In a block of
    `bridgepipe.data.unfinished.resumable` what a killed process had written is gone on with.

    Raises:
        UserError: bad items (all of them are named, or counted), or a split without items.
    """
    bad: dict[str, str] = {}
    with ExitStack() as stack:
        for split, items in splits.items():
            # of patches: the pictures, each once
            card = {**made_by, "split": split, "listing": listing(getattr(items, "pictures", items))}
            writers = [
                stack.enter_context(
                    store.writer(
                        out_dir / f"{split}{suffix}.lmdb",
                        card,
                        codec,
                        classes,
                        total=len(items),
                        progress=progress,
                        origin=unfinished.origin(),
                    )
                )
                for suffix in suffixes
            ]
            skipped = _write(items, writers)
            bad |= skipped
            if skip_bad and skipped:
                log.warning("%s: skipped %s", split, _with_reasons(skipped))
            if len(skipped) == len(items) and (skip_bad or not items):
                mend = "give more images, or set the fraction of this split to 0"
                raise UserError(f"split {split} has no readable images", out_dir, mend)
        if bad and not skip_bad:
            raise UserError(
                f"cannot use {_with_reasons(bad)}", out_dir, "repair or remove them, or set skip_bad: true"
            )


def _write(items: Sequence[Item], writers: Sequence[store.Writer]) -> dict[str, str]:
    """Write all good items that are not in a store yet; return the reasons of the bad ones by name."""
    done = [len(writer) + len(writer.left_out) for writer in writers]
    bad = {place: reason for place, reason in writers[0].left_out.items() if place < min(done)}
    for place, (item, arrays) in enumerate(in_order(islice(items, min(done), None)), min(done)):
        if isinstance(arrays, OSError) and arrays.errno not in (None, *NOWHERE):
            # No fault of the picture: leaving it out would change the dataset unasked.
            what = f"{item.name} cannot be read: {arrays.strerror}"
            raise UserError(what, arrays.filename or item.name, "make it readable, or take it away")
        if isinstance(arrays, Exception):
            bad[place] = _reason(arrays)
        _put(place, item, arrays, writers, done, bad)
    good = (item for place, item in enumerate(items) if place not in bad)
    skipped = {items[place].name: reason for place, reason in bad.items()}
    _finish(good, list(items[0].attributes) if items else [], list(skipped), writers)
    return skipped


def _put(
    place: int,
    item: Item,
    arrays: Arrays | Exception,
    writers: Sequence[store.Writer],
    done: Sequence[int],
    bad: Mapping[int, str],
) -> None:
    """Put an item, or note that it is bad, where a store is not beyond it."""
    layers = [None] * len(writers) if isinstance(arrays, Exception) else arrays
    for writer, beyond, array in zip(writers, done, layers, strict=True):
        if place < beyond:
            if (place in writer.left_out) != (place in bad):
                what = "no longer what it was when a part of the store was written"
                raise UserError(what, item.name, "run the same command again")
        elif array is None:
            writer.leave_out(place, bad[place])
        else:
            pixels, file = array if isinstance(array, Loaded) else (array, None)
            writer.put(pixels, file=file)


def _finish(
    good: Iterable[Item], attributes: Sequence[str], skipped: Sequence[str], writers: Sequence[store.Writer]
) -> None:
    """Give the stores what belongs to their items beside pixels, and make them whole."""
    names: list[str] = []
    labels: list[int] = []
    values: dict[str, list[float]] = {name: [] for name in attributes}
    for item in good:
        names.append(item.name)
        if item.label is not None:
            labels.append(item.label)
        for name, rows in values.items():
            rows.append(item.attributes[name])
    for writer in writers:
        writer.set_names(names)
        if labels:
            writer.set_labels(labels)
        for name, rows in values.items():
            writer.set_array(name, np.array(rows))
        writer.made_by["skipped"] = list(skipped)
        writer.finish()


def in_order(items: Iterable[Item]) -> Iterator[tuple[Item, Arrays | Exception]]:
    """Load items in parallel threads, a few ahead, and yield them in their own order."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ahead: deque[tuple[Item, Future]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            ahead.append((item, pool.submit(_load, item)))
            if len(ahead) > 4 * threads:
                first, arrays = ahead.popleft()
                yield first, arrays.result()
        for item, arrays in ahead:
            yield item, arrays.result()


def _load(item: Item) -> Arrays | Exception:
    try:
        return item.load()
    except Exception as e:  # Decoders raise almost anything on damaged files; each is reported by name.
        return e


def _reason(error: Exception) -> str:
    # Pillow's own text would repeat the whole path, and so would the system's.
    if isinstance(error, OSError) and error.errno in NOWHERE:
        return "a link that leads nowhere"
    return "not an image" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())


def some(names: Sequence[str], what: str = "image") -> str:
    """A count and the first names, short enough for one line."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''}: {', '.join(names[:LISTED])}{more}"


def _with_reasons(bad: Mapping[str, str]) -> str:
    return some([f"{name} ({reason})" for name, reason in bad.items()])


class Listed(Protocol):
    """Entry of an item in a listing."""

    @property
    def name(self) -> str: ...
    @property
    def label(self) -> int | None: ...
    @property
    def bytes(self) -> int: ...


def listing(items: Iterable[Listed]) -> str:
    """Digest of names, labels and sizes: the same wherever the source lies."""
    return digest_of([[item.name, item.label, item.bytes] for item in items])
