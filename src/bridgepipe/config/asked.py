"""What experiments need of data that is known only once they are prepared: counts of items, and classes.

`FILE` lies beside the configurations of an experiment's stages and is no input of them: a study of more
images must not train again. `COUNTS` lies beside the stores that it describes, and moves with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridgepipe.errors import UserError
from bridgepipe.names import classes

FILE, COUNTS = "asked.json", "counts.json"


@dataclass(frozen=True)
class Asked:
    """What a key of an experiment asks of a split.

    Attributes:
        experiment: full name of the experiment, ``method/name``.
        where: the key, for messages.
        dataset, split: the data in question.
        count: number of items that are needed.
        label: name or number of their class; None: of any.
        attribute: the label may also be the name of an attribute.
    """

    experiment: str
    where: str
    dataset: str
    split: str
    count: int
    label: int | str | None = None
    attribute: bool = False

    @property
    def counts(self) -> Path:
        """What the data have, once they are prepared."""
        return Path(f"data/prepared/{self.dataset}/{COUNTS}")


def compare(one: Asked, counts: Mapping[str, Any]) -> None:
    """Compare what is asked with the content of a `COUNTS`.

    Raises:
        UserError: the data have fewer items than are asked for, or no such class.
    """
    of = ""
    if one.split not in counts["items"] or (one.attribute and _is_attribute(one.label, counts)):
        return
    have = counts["items"][one.split]
    if one.label is not None:
        number = _number(one, counts["classes"] or ())
        have, of = counts["members"][one.split][number], f" of class {counts['classes'][number]}"
    if have < one.count:
        what = f"{one.experiment} asks for {one.count} of the {have} items{of} in the split {one.split}"
        mend = f"take at most {have}, or give more images"
        raise UserError(f"{what} of {one.dataset}", one.where, mend)


def _is_attribute(label: int | str | None, counts: Mapping[str, Any]) -> bool:
    return str(label).casefold() in {name.casefold() for name in counts["attributes"]}


def _number(one: Asked, known: Sequence[str]) -> int:
    if not known:
        what = f"{one.experiment} asks for a class, and the images of {one.dataset} have none"
        raise UserError(what, one.where, "put the images of every class into a folder of their own")
    try:
        return classes.number_of(one.label, known) or 0
    except UserError as error:
        what = f"{one.experiment} asks for a class that {one.dataset} lacks: {error.what}"
        raise UserError(what, one.where, error.mend) from None
