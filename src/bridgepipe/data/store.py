"""ImageStore: one LMDB file of arrays with labels, attributes, names and a card.

Datasets, samples, translations and latents all live in such files. A file is
written under a temporary name and renamed when complete, never changed after
that, and read without locks, so any number of processes and machines may share it.

Keys are 12-digit indices; small items share a value, whose key is that of the first. ``__card__`` is JSON
that says what the file is, ``array/NAME`` holds one row per item, ``__names__`` the names of the items. Every
item and entry ends in a checksum that each read compares, and behind LMDB's pages lies a seal of its index
(`bridgepipe.data.lmdbfile`). Stores of format 2 (a value per item) and 1 (8-digit keys, no checksums) are
read as they are; `ImageStore.verify` finds damage in all.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np

from bridgepipe.artifacts import Card, canonical
from bridgepipe.data.codecs import Codec, decode_item, item_bytes
from bridgepipe.data.entries import (
    ARRAY,
    CARD,
    CHECKSUM_BYTES,
    NAMES,
    content,
    hash_entry,
    key_of,
    without_checksum,
)
from bridgepipe.data.lmdbfile import open_readonly
from bridgepipe.data.storecard import damaged, read_card
from bridgepipe.data.storewriter import Writer, writer
from bridgepipe.errors import UserError
from bridgepipe.finite import finite, naming

if TYPE_CHECKING:  # importing it takes a second, which what prepares and describes stores need not wait
    from torch import Tensor

# Images of a batch that are read at a time: they stay in the processor's cache, and in memory that the
# process has, where the system would hand out blocks of many MB anew for every batch.
PIECE_BYTES = 1 << 20

__all__ = ["Codec", "ImageStore", "Writer", "writer"]


class ImageStore:
    """A store, for reading; safe to pickle, to fork, and to share between threads.

    Attributes:
        path: file of the store.
        card: what the file is: count, shape, dtype, codec, classes, arrays, made_by, digest.

    Raises:
        UserError: no such file, truncated, damaged, or not a store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._env: lmdb.Environment | None = None
        self.card: Card = read_card(self.path, self._environment())
        self._format: int = self.card["format"]
        self._checksum_bytes = 0 if self._format == 1 else CHECKSUM_BYTES
        try:
            self._item_bytes = item_bytes(*(self.card[key] for key in ("codec", "shape", "dtype")))
        except (TypeError, ValueError) as e:
            raise self._damaged(f"its card tells no shape and dtype: {e}") from e

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_env": None}

    def __len__(self) -> int:
        return self.card["count"]

    def __getitem__(self, index: int) -> np.ndarray:
        """Item ``index`` of this file: uint8 ``[H, W, C]`` for images, else as it was put.

        Raises:
            UserError: damaged, or a value is not finite.
        """
        return self._items([index])[0]

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, or None."""
        return self.card["classes"]

    @property
    def first(self) -> int:
        """Global index of item 0: not 0 in a partition."""
        return self.card["first"]

    def of_images(self) -> ImageStore:
        """This store, when it holds pictures.

        Raises:
            UserError: the store holds other arrays, such as latents or states.
        """
        shape, dtype = self.card["shape"], self.card["dtype"]
        if len(self) and shape is not None and (len(shape) != 3 or dtype != "|u1"):
            raise UserError(f"no images in it: {dtype} {shape}", self.path, "give a store of images")
        return self

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of every image; a store of differently sized sources has none."""
        if self.of_images().card["shape"] is None:
            raise UserError("its images have different sizes", self.path, "prepare it with codec raw")
        return self.card["shape"][0], self.card["shape"][1]

    @property
    def digest(self) -> str:
        """sha256 of content and card, computed when the store was written."""
        return self.card["digest"]

    @property
    def labels(self) -> np.ndarray | None:
        """Class indices, int64 ``[N]``, or None."""
        return self.array("labels") if "labels" in self.card["arrays"] else None

    @property
    def attributes(self) -> dict[str, np.ndarray]:
        """The named arrays ``[N]``."""
        return {name: self.array(name) for name in self.card["attributes"]}

    @property
    def names(self) -> list[str] | None:
        """Names of the items, or None."""
        try:
            return json.loads(self._get(NAMES)) or None
        except ValueError as e:
            raise self._damaged(f"its names cannot be read: {e}") from e

    def array(self, name: str) -> np.ndarray:
        """The named array ``[N, ...]``.

        Raises:
            UserError: the store has no such array.
        """
        if name not in self.card["arrays"]:
            has = ", ".join(self.card["arrays"]) or "none"
            raise UserError(f"no array {name!r} in the store", self.path, f"it has: {has}")
        try:
            return np.load(io.BytesIO(self._get(ARRAY + name.encode())), allow_pickle=False)
        except (ValueError, EOFError) as e:
            raise self._damaged(f"its array {name} cannot be read: {e}") from e

    def encoded(self, index: int) -> bytes:
        """The stored bytes of an item, without their checksum."""
        with self._reading() as txn:
            return bytes(self._item(txn, index))

    def batch(self, indices: Sequence[int] | Tensor | np.ndarray) -> Tensor:
        """Items as one float32 tensor.

        uint8 images become ``[B, C, H, W]`` in [-1, 1] (x / 127.5 - 1); other arrays are stacked as they are.

        Raises:
            UserError: a value is not finite.
        """
        import torch

        numbers = [int(i) for i in indices]
        if self.card["dtype"] != "|u1":
            return torch.from_numpy(self._items(numbers)).float()
        step = max(1, PIECE_BYTES // (self._item_bytes or PIECE_BYTES))
        images: Tensor | None = None
        for start in range(0, max(len(numbers), 1), step):
            # Moving bytes and widening after that is three times faster than the reverse.
            pixels = torch.from_numpy(self._items(numbers[start : start + step]))
            pixels = pixels.permute(0, 3, 1, 2).contiguous()
            if images is None:  # by NumPy, which asks for large pages: the system hands them out faster
                images = torch.from_numpy(np.empty((len(numbers), *pixels.shape[1:]), np.float32))
            images[start : start + step].copy_(pixels).div_(127.5).sub_(1)
        assert images is not None
        return images

    def verify(self) -> None:
        """Read everything and compare with the digest.

        Raises:
            UserError: the content is not what was written.
        """
        digest = hashlib.sha256()
        for index in range(len(self)):
            hash_entry(digest, self._key(index), self.encoded(index))
        hash_entry(digest, CARD, canonical(content(self.card)).encode())
        for key in [NAMES, *(ARRAY + name.encode() for name in self.card["arrays"])]:
            hash_entry(digest, key, self._get(key))
        if digest.hexdigest() != self.digest:
            raise self._damaged("content differs from its digest")

    def _items(self, indices: Sequence[int]) -> np.ndarray:
        """Items as one array ``[B, ...]`` that belongs to the caller."""
        with self._reading() as txn:
            if self._item_bytes is None:
                return np.stack([self._decoded(txn, index) for index in indices])
            size = self._item_bytes
            data = memoryview(bytearray(len(indices) * size))
            # copied beside its check, an item comes from the processor's cache
            for n, index in enumerate(indices):
                data[n * size : (n + 1) * size] = self._item(txn, index)
        try:
            items = np.ndarray((len(indices), *self.card["shape"]), self.card["dtype"], data)
        except ValueError as e:
            raise self._damaged(f"its items cannot be read: {e}") from e
        if items.dtype.kind == "f":  # latents and states
            import torch

            with naming(str(self.path), indices):
                finite(torch.from_numpy(items), "an item")
        return items

    def _decoded(self, txn: lmdb.Transaction, index: int) -> np.ndarray:
        try:
            return decode_item(self._item(txn, index), self.card["shape"])
        except (ValueError, OSError, SyntaxError) as e:
            raise self._damaged(f"item {index} cannot be read: {e}") from e

    def _key(self, index: int) -> bytes:
        return key_of(self.card["first"] + index, self._format)

    def _get(self, key: bytes) -> bytes:
        with self._reading() as txn:
            return bytes(self._checked(key, self._value(txn, key)))

    def _reading(self) -> lmdb.Transaction:
        """A transaction whose values are views of the file."""
        return self._environment().begin(buffers=True)

    def _item(self, txn: lmdb.Transaction, index: int) -> memoryview:
        """The data of an item, its checksum compared.

        Raises:
            IndexError: no such item.
        """
        count, together = len(self), self.card["items_per_value"]
        if not -count <= index < count:
            raise IndexError(f"item {index} of a store of {count}")
        index %= count
        first = index - index % together
        value = self._value(txn, self._key(first))
        if self._item_bytes is not None:
            # a flipped bit in the length would lead beyond the file's end
            size = self._item_bytes + self._checksum_bytes
            expected = size * min(together, count - first)
            if len(value) != expected:
                what = f"has {len(value)} bytes of {expected}"
                raise self._damaged(f"entry {self._key(first).decode()}: {what}")
            value = value[(index - first) * size : (index - first + 1) * size]
        return self._checked(self._key(index), value)

    def _value(self, txn: lmdb.Transaction, key: bytes) -> memoryview:
        try:
            value: Any = txn.get(key)
        except lmdb.Error as e:
            raise self._damaged(f"entry {key.decode()}: {e}") from e
        if value is None:
            raise self._damaged(f"entry {key.decode()}: is missing")
        return value

    def _checked(self, key: bytes, value: memoryview) -> memoryview:
        """Data without its checksum, which was compared."""
        try:
            return without_checksum(key, value) if self._checksum_bytes else value
        except ValueError as e:
            raise self._damaged(f"entry {key.decode()}: {e}") from e

    def _environment(self) -> lmdb.Environment:
        if self._env is None:
            self._env = open_readonly(self.path)
        return self._env

    def _damaged(self, what: str) -> UserError:
        return damaged(self.path, what)
