"""What experiments ask of data, as far as only the data can tell: counts of items, and classes.

`FILE` lies beside the configuration of `bridgepipe stage prepare` and is no input of it: an edit of an
experiment must not prepare its data again. `COUNTS` lies beside the stores, for later experiments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from bridgepipe import classes
from bridgepipe.errors import UserError

FILE, COUNTS = "asked.json", "counts.json"
Content = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a key of an experiment asks of a split.

    Attributes:
        where: the key, for messages.
        split: of the dataset.
        count: so many items are needed.
        label: name or number of their class; None: of any.
        attribute: the label may also be the name of an attribute.
    """

    where: str
    split: str
    count: int
    label: int | str | None = None
    attribute: bool = False


_asking: ContextVar[tuple[Content, dict[str, Any]]] = ContextVar("asking")


@contextmanager
def asking(content: Content) -> Iterator[dict[str, Any]]:
    """Data that are divided inside are compared with the content of a `FILE`; gives that of `COUNTS`."""
    counts: dict[str, Any] = {}
    token = _asking.set((content, counts))
    try:
        yield counts
    finally:
        _asking.reset(token)


def check(
    labels: Mapping[str, Counter[int | None]], known: Sequence[str] | None, attributes: set[str]
) -> None:
    """Compare the items of every split with what is asked of them, if anything is.

    Args:
        labels: how many items have each number of a class, by split.
        known: names of the classes.
        attributes: names of the attributes that the items have.

    Raises:
        UserError: as `compare`.
    """
    asked, counts = _asking.get(({"asked": []}, {}))
    numbers = range(len(known or ()))
    items = {split: count.total() for split, count in labels.items()}
    members = {split: [count[number] for number in numbers] for split, count in labels.items()}
    counts |= {"items": items, "members": members, "classes": known, "attributes": sorted(attributes)}
    compare(asked, counts)


def compare(asked: Content, counts: Content) -> None:
    """Compare the contents of both files.

    Raises:
        UserError: fewer items than are asked for, or no such class.
    """
    for one in (Asked(**values) for values in asked["asked"]):
        if one.split in counts["items"] and not (one.attribute and one.label in counts["attributes"]):
            _compare(one, counts)


def _compare(one: Asked, counts: Content) -> None:
    have, of = counts["items"][one.split], ""
    if one.label is not None:
        number = _number(one, counts["classes"] or ())
        have, of = counts["members"][one.split][number], f" of class {counts['classes'][number]}"
    if have < one.count:
        what = f"{one.count} of the {have} items{of} in the split {one.split}"
        raise UserError(what, one.where, f"take at most {have}, or give more images")


def _number(one: Asked, known: Sequence[str]) -> int:
    if not known:
        mend = "put the images of every class into a folder of their own"
        raise UserError("the images have no classes", one.where, mend)
    try:
        return classes.number_of(one.label, known) or 0
    except UserError as error:
        raise UserError(f"{error.what} in the data", one.where, error.mend) from None
