"""Class lists: a number means a class only beside the list of names that numbers it.

Stores, trained classifiers and class-conditional networks carry their list in their cards. Wherever
labels of one meet numbers of another, the lists are compared here by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bridgepipe.errors import UserError

if TYPE_CHECKING:
    import numpy as np

SHOWN = 5
Label = int | str | None


def brief(names: Sequence[str]) -> str:
    """A list of names, short enough for one line."""
    more = f", … ({len(names)} classes)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def numbers_in(known: Sequence[str], classes: Sequence[str] | None, who: str, where: Any) -> list[int]:
    """Number in ``known`` of each of ``classes``, by its name; ``known`` may hold more.

    Args:
        known: classes of a model that predicts a class or is conditioned on one.
        classes: those of the labelled images; None: the images have none.
        who: what ``known`` belongs to, for the message.
        where: what ``classes`` belong to.

    Raises:
        UserError: no classes, or one that ``known`` lacks.
    """
    if not classes:
        mend = f"take data with classes, or set what uses the {who} to null"
        raise UserError(f"these images have no classes, the {who} knows {brief(known)}", where, mend)
    number = {name: index for index, name in enumerate(known)}
    if missing := [name for name in classes if name not in number]:
        what = (
            f"the images' classes are {brief(classes)}; the {who} knows {brief(known)}, not {brief(missing)}"
        )
        raise UserError(what, where, f"take a {who} of these classes, or null where it may be left out")
    return [number[name] for name in classes]


def number_of(label: Label, names: Sequence[str] | None, where: Any = "translation") -> int | None:
    """Number of a class that is given by its name or, where none is called so, by its number.

    Args:
        label: name or number; None: no class.
        names: the class list; None: there is none, and only a number says anything.

    Raises:
        UserError: no class is called so or has this number.
    """
    if label is None:
        return None
    if names is not None and str(label) in names:
        return list(names).index(str(label))
    if str(label).isdecimal() and (names is None or int(label) < len(names)):
        return int(label)
    if names is None:
        raise UserError(f"no class '{label}'", where, "give its number")
    close = difflib.get_close_matches(str(label), names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    mend = f"{hint}give one of {brief(names)} or a number from 0 to {len(names) - 1}"
    raise UserError(f"no class '{label}'", where, mend)


def name_of(label: Label, names: Sequence[str] | None, where: Any = "translation") -> str | None:
    """Name of a class that is given by name or number; as it was given where there is no list."""
    if label is None or names is None:
        return None if label is None else str(label)
    number = number_of(label, names, where)
    return None if number is None else names[number]


def trained_classes(labels: np.ndarray, names: Sequence[str] | None, where: Any) -> list[str]:
    """The classes that a network learns from these labels: the whole list, each with training images.

    Args:
        labels: int64 ``[N]``, 0 and up.
        names: the class list; None: there is none, and the numbers are the names.

    Raises:
        UserError: a class without images, or a label beyond the list.
    """
    names = list(names or map(str, range(int(labels.max()) + 1)))
    present = set(labels.tolist())
    if beyond := sorted(present - set(range(len(names)))):
        raise UserError(
            f"label {beyond[0]} in a list of {len(names)} classes", where, "prepare the data again"
        )
    if missing := [name for index, name in enumerate(names) if index not in present]:
        what = f"no training images of {brief(missing)}"
        raise UserError(what, where, "add some, or prepare a dataset of the other classes alone")
    return names
