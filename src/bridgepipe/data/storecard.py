"""The card of a store, read and found whole."""

from __future__ import annotations

import json
from pathlib import Path

import lmdb

from bridgepipe.artifacts import Card, Named
from bridgepipe.data.entries import CARD, FORMAT, KEYS, without_checksum
from bridgepipe.data.lmdbfile import REMAKE, has_seal, open_readonly
from bridgepipe.errors import UserError

# what the card of every store holds
CARD_TYPES: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "items_per_value": int,
    "count": int,
    "first": int,
    "shape": (list, type(None)),
    "dtype": (str, type(None)),
    "codec": str,
    "classes": (list, type(None)),
    "attributes": list,
    "arrays": dict,
    "made_by": dict,
    "digest": str,
}


def info(path: str | Path) -> Card:
    """The card of a store and its size in bytes.

    Raises:
        UserError: no such file, truncated, or not a store.
    """
    path = Path(path)
    return {**read_card(path, open_readonly(path)), "bytes": path.stat().st_size}


def read_card(path: Path, environment: lmdb.Environment) -> Card:
    """The card of an open store.

    Raises:
        UserError: not a store, of a later version, or damaged.
    """
    try:
        with environment.begin() as txn:
            value = txn.get(CARD)
    except lmdb.Error as e:
        raise damaged(path, str(e)) from e
    if value is None:
        raise _foreign(path, "it has no card")
    card = _parsed(path, value)
    entries = environment.stat()["entries"]
    if entries != -(-card["count"] // card["items_per_value"]) + len(card["arrays"]) + 2:
        raise damaged(path, f"{entries} entries for {card['count']} items")
    return Named(card, path)


def _parsed(path: Path, value: bytes) -> Card:
    try:
        text, checked = bytes(without_checksum(CARD, memoryview(value))), True
    except ValueError:
        text, checked = value, False  # stores of format 1 have no checksums
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise _foreign(path, "its card cannot be read") from e
    if not isinstance(card, dict) or not isinstance(card.get("format"), int):
        raise _foreign(path, "its card tells no format")
    if card["format"] not in KEYS:
        mend = "install the version of bridgepipe that wrote it"
        raise UserError(f"store of format {card['format']}, this version reads {FORMAT}", path, mend)
    card.setdefault("items_per_value", 1)
    if wrong := [key for key, kind in CARD_TYPES.items() if not isinstance(card.get(key, ...), kind)]:
        raise _foreign(path, f"its card tells no {wrong[0]}")
    if card["format"] != 1 and not checked:
        raise damaged(path, "its card differs from its checksum")
    if checked and not has_seal(path):
        raise damaged(path, "its end is missing")
    return card


def _foreign(path: Path, what: str) -> UserError:
    mend = "give a store made by bridgepipe; if this was one, copy or make it again"
    return UserError(f"not an image store: {what}", path, mend)


def damaged(path: Path, what: str) -> UserError:
    """Of a file that was a store."""
    return UserError(f"damaged image store: {what}", path, REMAKE)
