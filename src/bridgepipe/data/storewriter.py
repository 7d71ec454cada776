"""Writing an ImageStore; readers are in `bridgepipe.data.store`, which offers `writer` too."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from bridgepipe.artifacts import Card, atomic, canonical
from bridgepipe.data.codecs import Codec, encode, item_bytes
from bridgepipe.data.entries import (
    ARRAY,
    CARD,
    NAMES,
    content,
    hash_entry,
    items_per_value,
    key_of,
    layout,
    with_checksum,
)
from bridgepipe.data.lmdbfile import open_writable, seal, whole_bytes
from bridgepipe.data.resuming import Begun, take_up
from bridgepipe.data.unfinished import Notes, noted
from bridgepipe.runtime.progress import Progress

FIRST_MAP_BYTES = 64 << 20
# One transaction a batch of this size: fast, and small enough to be repeated when the map was full.
COMMIT_BYTES = 32 << 20
ZEROS = bytes(1 << 20)


class Writer:
    """Puts items into a store; made by `writer`, which names and completes the file.

    Attributes:
        made_by: JSON values of the card that say how the store was made; may grow until the end.
    """

    def __init__(
        self,
        path: Path,
        made_by: Card,
        codec: Codec,
        classes: Sequence[str] | None,
        first: int,
        notes: Notes | None = None,
    ) -> None:
        self.made_by = dict(made_by)
        self._path, self._codec, self._first, self._notes = path, codec, first, notes
        self.bar: Progress | None = None
        self._classes = None if classes is None else list(classes)
        self._names: list[str] = []
        self._arrays: dict[str, np.ndarray] = {}
        self._pending: list[tuple[bytes, bytearray | bytes]] = []
        self._pending_bytes = 0
        begun = Begun() if notes is None else take_up(path, notes, codec, first)
        self._count, self._digest, self._complete = begun.count, begun.digest, begun.complete
        self._map_bytes = begun.map_bytes or FIRST_MAP_BYTES
        self._shape: list[int] | None
        self._dtype: str | None
        self._shape, self._dtype = begun.kind or (None, None)
        self._per_value = items_per_value(item_bytes(codec, self._shape, self._dtype))
        self._finished = False
        self._open().close()

    def __len__(self) -> int:
        return self._count

    @property
    def left_out(self) -> dict[int, str]:
        """By place in the source, why an item is not in a store that is resumed."""
        return {} if self._notes is None else self._notes.left_out

    def leave_out(self, place: int, reason: str) -> None:
        """Remember that the item at a place in the source is bad, should the store be resumed."""
        if self._notes is not None:
            self._notes.leave_out(place, reason)

    def _open(self) -> lmdb.Environment:
        return open_writable(self._path, self._map_bytes)

    def put(self, image: np.ndarray, name: str | None = None, file: bytes | None = None) -> int:
        """Add one item.

        Args:
            image: any array (raw), or uint8 ``[H, W, C]`` (png, source). Those of one store share their shape
                and dtype.
            name: where the item came from; given for all items or for none.
            file: the image file that it was read from, which a store of codec source keeps if its pixels are
                those of the image.

        Returns:
            The index of the item.
        """
        self._same_kind(image)
        data = encode(image, self._codec, file)
        if name is not None:
            self._names.append(name)
        return self._append(data)

    def set_names(self, names: Sequence[str]) -> None:
        """Where every item came from, in place of names that are given one by one."""
        self._names = list(names)

    def set_labels(self, labels: Sequence[int] | np.ndarray) -> None:
        """Class index of every item, stored as int64 ``[N]``."""
        self.set_array("labels", np.asarray(labels, np.int64))

    def set_array(self, name: str, values: Sequence[Any] | np.ndarray) -> None:
        """Attach one row per item: an attribute ``[N]``, or anything ``[N, ...]``."""
        self._arrays[name] = np.ascontiguousarray(values)

    def put_encoded(self, data: bytes, card: Card, name: str | None = None) -> None:
        """Add an item as it is stored in another store, whose card gives shape and dtype."""
        self._shape, self._dtype = card["shape"], card["dtype"]
        if name is not None:
            self._names.append(name)
        self._append(data)

    def _same_kind(self, image: np.ndarray) -> None:
        shape, dtype = list(image.shape), image.dtype.str
        if self._count == 0:
            self._shape, self._dtype = shape, dtype
            if self._notes is not None:
                self._notes.of_kind(shape, dtype)
        elif (shape, dtype) != (self._shape, self._dtype):
            raise ValueError(f"item {shape} {dtype} in a store of {self._shape} {self._dtype}")

    def _append(self, data: bytes) -> int:
        if self._count == 0:
            self._per_value = items_per_value(item_bytes(self._codec, self._shape, self._dtype))
        index = self._first + self._count
        key = key_of(index)
        hash_entry(self._digest, key, data)
        if self._count % self._per_value == 0:
            if self._pending_bytes >= COMMIT_BYTES:
                self._commit()
            self._pending.append((key, bytearray()))
        value = self._pending[-1][1]
        value += with_checksum(key, data)
        self._pending_bytes += len(data)
        self._count += 1
        if self.bar is not None:
            self.bar.after(1)
        return index

    def _commit(self) -> None:
        while True:
            try:
                # LMDB does not clear pages that it uses again: in a new environment the bytes don't depend on
                # what this process has written before.
                with self._open() as env, env.begin(write=True) as txn:
                    for key, value in self._pending:
                        # Keys come in sorted order, so pages fill up completely.
                        txn.put(key, value, append=True)
                break
            except lmdb.MapFullError:
                self._map_bytes *= 2
        self._pending, self._pending_bytes = [], 0
        if self._notes is not None:
            self._notes.committed()

    def finish(self) -> None:
        """Write card, names, arrays and the seal, without which the file is not whole; nothing can follow.

        The end of the `writer` block calls it; calling it before finds a full disk while
        other stores that belong to this one can still be given up.
        """
        if self._finished:
            return
        if not self._complete:
            self._describe()
        with open(self._path, "r+b") as f:
            # LMDB need not write its last page if that is free; then the length would not prove completeness.
            f.truncate(max(self._path.stat().st_size, whole_bytes(self._path)))
        seal(self._path)
        self._finished = True

    def _describe(self) -> None:
        for name, values in self._arrays.items():
            if len(values) != self._count:
                raise ValueError(f"array {name} has {len(values)} rows, the store {self._count} items")
        if self._names and len(self._names) != self._count:
            raise ValueError(f"{len(self._names)} names for {self._count} items")
        card = self._card()
        about = content(card)
        entries = {ARRAY + k.encode(): _to_npy(v) for k, v in self._arrays.items()}
        entries |= {CARD: canonical(about).encode(), NAMES: json.dumps(self._names).encode()}
        for key, value in sorted(entries.items()):
            hash_entry(self._digest, key, value)
        entries[CARD] = canonical({**card, "digest": self._digest.hexdigest()}).encode()
        self._pending += [(key, with_checksum(key, value)) for key, value in sorted(entries.items())]
        self._commit()

    def _card(self) -> Card:
        arrays = {k: {"shape": list(v.shape), "dtype": v.dtype.str} for k, v in sorted(self._arrays.items())}
        return {
            **layout(self._per_value),
            "count": self._count,
            "first": self._first,
            "shape": self._shape,
            "dtype": self._dtype,
            "codec": self._codec,
            "classes": self._classes,
            "attributes": [k for k, v in arrays.items() if len(v["shape"]) == 1 and k != "labels"],
            "arrays": arrays,
            "made_by": self.made_by,
        }


@contextmanager
def writer(
    path: str | Path,
    made_by: Card,
    codec: Codec = "raw",
    classes: Sequence[str] | None = None,
    first: int = 0,
    total: int | None = None,
    progress: bool | None = None,
    origin: Card | None = None,
) -> Iterator[Writer]:
    """Write a store; the file appears under its name when the block ends without an error.

    Args:
        path: file to write.
        made_by: JSON values that say how the store is made. Equal content and equal
            ``made_by`` give equal bytes.
        codec: raw (uncompressed, any dtype), png (uint8), or source: the image files themselves where their
            pixels are those of the items, else png.
        classes: names of the classes, in the order of the labels.
        first: global index of the first item, for a partition that `gather` joins later.
        total: number of items, whose progress is shown; None where something else shows it.
        progress: whether it is shown; None: yes.
        origin: given, a store that a killed process left is resumed if the same values, ``origin`` among
            them, say what it is made from.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    shown = total is not None and progress is not False
    identity: Card = {
        "made_by": made_by,
        "codec": codec,
        "classes": classes,
        "first": first,
        "origin": origin,
    }
    identity["commits"] = [COMMIT_BYTES, FIRST_MAP_BYTES]
    with (
        nullcontext() if origin is None else noted(path, identity) as notes,
        atomic(path, resumable=notes is not None) as temporary,
        _disk_errors(temporary),
    ):
        w = Writer(temporary, made_by, codec, classes, first, notes)
        with Progress(total, len(w), path.name, shown=shown) as w.bar:
            yield w
            w.finish()


@contextmanager
def _disk_errors(temporary: Path) -> Iterator[None]:
    """LMDB calls every short write an input/output error: the file itself shows which limit was met.

    Raises:
        OSError: the limit that was met.
    """
    try:
        yield
    except lmdb.Error:
        with suppress(FileNotFoundError), open(temporary, "ab") as f:
            for _ in range(0, COMMIT_BYTES, len(ZEROS)):
                f.write(ZEROS)
        raise


def _to_npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
