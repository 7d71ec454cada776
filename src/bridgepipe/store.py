"""ImageStore: one LMDB file of arrays with labels, attributes, names and a card.

Datasets, samples, translations and latents all live in such files. A file is
written under a temporary name and renamed when complete, never changed after
that, and read without locks, so any number of processes and machines may share it.

Keys are 8-digit indices; ``__card__`` is JSON that says what the file is, ``array/NAME``
holds one row per item, ``__names__`` the names of the items.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bridgepipe.artifacts import Card, canonical
from bridgepipe.errors import UserError
from bridgepipe.lmdbfile import REMAKE, open_readonly
from bridgepipe.storewriter import ARRAY, CARD, FORMAT, NAMES, Codec, Writer, hash_entry, key_of, writer

__all__ = ["Codec", "ImageStore", "Writer", "gather", "info", "writer"]


class ImageStore:
    """A store, for reading; safe to pickle, to fork, and to share between threads.

    Attributes:
        path: the file.
        card: what the file is: count, shape, dtype, codec, classes, arrays, made_by, digest.

    Raises:
        UserError: no such file, truncated, or not a store.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._env: lmdb.Environment | None = None
        self.card: Card = self._read_card()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_env": None}

    def __len__(self) -> int:
        return self.card["count"]

    def __getitem__(self, index: int) -> np.ndarray:
        """Item ``index`` of this file: uint8 ``[H, W, C]`` for images, else as it was put."""
        try:
            return _decode(self.encoded(index), self.card)
        except (ValueError, OSError) as e:
            raise self._damaged(f"item {index} cannot be read: {e}") from e

    @property
    def classes(self) -> list[str] | None:
        """Names of the classes, or None."""
        return self.card["classes"]

    @property
    def first(self) -> int:
        """Global index of item 0: not 0 in a partition."""
        return self.card["first"]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of every image; a store of differently sized sources has none."""
        if self.card["shape"] is None:
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
        return json.loads(self._get(NAMES)) or None

    def array(self, name: str) -> np.ndarray:
        """The named array ``[N, ...]``.

        Raises:
            UserError: the store has no such array.
        """
        if name not in self.card["arrays"]:
            has = ", ".join(self.card["arrays"]) or "none"
            raise UserError(f"no array {name!r} in the store", self.path, f"it has: {has}")
        return np.load(io.BytesIO(self._get(ARRAY + name.encode())), allow_pickle=False)

    def encoded(self, index: int) -> bytes:
        """The stored bytes of an item."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of a store of {len(self)}")
        return self._get(key_of(self.first + int(index) % len(self)))

    def batch(self, indices: Sequence[int] | Tensor | np.ndarray) -> Tensor:
        """Items as one float32 tensor.

        uint8 images become ``[B, C, H, W]`` in [-1, 1] (x / 127.5 - 1); other arrays are stacked as they are.
        """
        items = torch.from_numpy(np.stack([self[int(i)] for i in indices]))
        if items.dtype != torch.uint8:
            return items.float()
        # Moving bytes and widening after that is three times faster than the reverse.
        return items.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)

    def verify(self) -> None:
        """Read everything and compare with the digest.

        Raises:
            UserError: the content is not what was written.
        """
        digest = hashlib.sha256()
        for index in range(len(self)):
            hash_entry(digest, key_of(self.first + index), self.encoded(index))
        card = {k: v for k, v in self.card.items() if k != "digest"}
        hash_entry(digest, CARD, canonical(card).encode())
        for key in [NAMES, *(ARRAY + name.encode() for name in card["arrays"])]:
            hash_entry(digest, key, self._get(key))
        if digest.hexdigest() != self.digest:
            raise self._damaged("content differs from its digest")

    def _get(self, key: bytes) -> bytes:
        value = self._find(key)
        if value is None:
            raise self._damaged(f"entry {key.decode()} is missing")
        return value

    def _find(self, key: bytes) -> bytes | None:
        try:
            with self._environment().begin() as txn:
                return txn.get(key)
        except lmdb.Error as e:
            raise self._damaged(str(e)) from e

    def _environment(self) -> lmdb.Environment:
        if self._env is None:
            self._env = open_readonly(self.path)
        return self._env

    def _read_card(self) -> Card:
        text = self._find(CARD)
        if text is None:
            raise UserError(
                "not an image store: it has no card", self.path, "give a store made by bridgepipe"
            )
        card = json.loads(text)
        if card["format"] != FORMAT:
            raise self._damaged(f"format {card['format']}, this version reads {FORMAT}")
        entries = self._environment().stat()["entries"]
        if entries != card["count"] + len(card["arrays"]) + 2:
            raise self._damaged(f"{entries} entries for {card['count']} items")
        return card

    def _damaged(self, what: str) -> UserError:
        return UserError(f"damaged image store: {what}", self.path, REMAKE)


def info(path: str | Path) -> dict[str, Any]:
    """The card of a store and its size in bytes.

    Raises:
        UserError: no such file, truncated, or not a store.
    """
    return {**ImageStore(path).card, "bytes": Path(path).stat().st_size}


def gather(
    paths: Sequence[str | Path],
    out: str | Path,
    count: int | None = None,
    progress: bool | None = None,
) -> None:
    """Join partitions into one store, in the order of their global indices.

    The result has the same bytes however the items were divided.

    Args:
        paths: partitions, in any order, each written with its own ``first``.
        out: store to write.
        count: number of items that there must be; None takes what is there.
        progress: as in `writer`.

    Raises:
        UserError: an index is missing or comes twice, or the partitions are not of one kind.
    """
    parts = sorted((ImageStore(path) for path in paths), key=lambda part: (part.first, len(part)))
    filled = [part for part in parts if len(part)]
    _contiguous(filled, count, out)
    _one_kind(filled, out)
    like = (filled or parts)[0].card
    with writer(
        out, like["made_by"], like["codec"], like["classes"], total=count, progress=progress
    ) as joined:
        for part in filled:
            names = part.names
            for index in range(len(part)):
                joined.put_encoded(part.encoded(index), part.card, names[index] if names else None)
        for name in like["arrays"]:
            joined.set_array(name, np.concatenate([part.array(name) for part in filled or parts[:1]]))


def _contiguous(parts: Sequence[ImageStore], count: int | None, out: str | Path) -> None:
    expected = 0
    for part in parts:
        if part.first != expected:
            what = f"items {expected} to {part.first - 1} are missing"
            if part.first < expected:
                what = f"items from {part.first} come twice"
            raise UserError(f"cannot join partitions: {what}", part.path, "give every partition once")
        expected += len(part)
    if count is not None and expected != count:
        raise UserError(
            f"cannot join partitions: {expected} items of {count}", out, "give every partition once"
        )


def _one_kind(parts: Sequence[ImageStore], out: str | Path) -> None:
    for part in parts[1:]:
        for key in ("shape", "dtype", "codec", "classes", "attributes", "made_by"):
            if part.card[key] != parts[0].card[key]:
                raise UserError(
                    f"cannot join partitions: {key} of {part.path.name} differs from {parts[0].path.name}",
                    out,
                    "delete the partitions and make them again",
                )


def _decode(data: bytes, card: Card) -> np.ndarray:
    if card["codec"] == "raw":
        # frombuffer is read-only; the copy belongs to the caller.
        return np.frombuffer(data, card["dtype"]).reshape(card["shape"]).copy()
    image = Image.open(io.BytesIO(data))
    if card["codec"] == "png":
        return np.array(image).reshape(card["shape"])
    return np.array(image.convert("RGB"))
