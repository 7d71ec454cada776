"""What experiments ask of data, as far as only the data can tell: counts of items, and classes.

The file lies beside the configuration of `bridgepipe prepare` and is no input of it: an edit of an experiment
must not prepare its data again.
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

FILE = "asked.json"


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


_asked: ContextVar[Sequence[Asked]] = ContextVar("asked", default=())


@contextmanager
def asking(content: Mapping[str, Any]) -> Iterator[None]:
    """Data that are divided inside are compared with the content of a file."""
    token = _asked.set([Asked(**one) for one in content["asked"]])
    try:
        yield
    finally:
        _asked.reset(token)


def check(labels: Mapping[str, Counter[Any]], known: Sequence[str] | None, attributes: set[str]) -> None:
    """Compare the items of every split with what is asked of them.

    Args:
        labels: how many items have each number of a class, by split.
        known: names of the classes.
        attributes: names of the attributes that the items have.

    Raises:
        UserError: fewer items than are asked for, or no such class.
    """
    for one in _asked.get():
        if one.split in labels and not (one.attribute and one.label in attributes):
            _check(one, labels[one.split], known)


def _check(one: Asked, labels: Counter[Any], known: Sequence[str] | None) -> None:
    have, of = labels.total(), ""
    if one.label is not None:
        number = _number(one, known or ())
        have, of = labels[number], f" of class {(known or ())[number]}"
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
