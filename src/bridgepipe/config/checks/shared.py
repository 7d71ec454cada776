"""What every check of params.yaml shares: the problem that it finds, what is defined, sizes and counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bridgepipe.config import contents
from bridgepipe.config.defined import Defined
from bridgepipe.config.values import Strict
from bridgepipe.errors import UserError
from bridgepipe.names import classes
from bridgepipe.names.nfe import num_times


@dataclass(frozen=True)
class Problem:
    """What does not go together.

    Attributes:
        key: dotted key of the experiment or the extractor.
        what: what is wrong with the key.
        mend: advice on how to put it right.
        value, names: an unknown name and the valid ones, in place of ``mend``.
    """

    key: str
    what: str
    mend: str = ""
    value: str = ""
    names: tuple[str, ...] = ()


Problems = Iterator[Problem]


Label = int | str | None


def pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def same_size(key: str, dataset: str, wanted: tuple[int, int] | None, defined: Defined) -> Problems:
    """A dataset whose images have another size."""
    size = contents.size_of(defined.datasets[dataset])
    if size is not None and wanted is not None and size != wanted:
        what = f"images of {dataset} have {pixels(size)}, not {pixels(wanted)}"
        yield Problem(key, what, "name data of one size")


def at_most(
    key: str, count: int | None, dataset: Strict, split: str, some: Collection[str] | None = None
) -> Problems:
    """More items than a split, or some classes in it, have."""
    most = contents.most_of(dataset, split, some)
    if count is not None and most is not None and count > most:
        of = "" if some is None else f" that are {classes.brief(sorted(some))}"
        yield Problem(key, f"{count} of the {most} items of split {split}{of}", f"take at most {most}")


def refused_by(key: str, call: Callable[[], object], where: str = "") -> Problems:
    """What a function of other modules refuses."""
    try:
        call()
    except UserError as error:
        yield Problem(key, error.what + where, error.mend)


def folders_in(dataset: Strict, defined: Defined) -> tuple[str, ...] | None:
    """Names of an own folder's folders, its classes among them; None of other data, or not there yet."""
    if contents.classes_of(dataset) is not None:
        return None
    folders = contents.folders_of(dataset)
    return None if folders is None else tuple(sorted(folders))


def name_of(label: Label, known: Sequence[str] | None) -> str | None:
    """Name of a class; None when params.yaml does not say it, or when it is refused elsewhere."""
    try:
        return classes.name_of(label, known) if known else None
    except UserError:
        return None


def classes_in(dataset: str, defined: Defined) -> tuple[str, ...] | None:
    return contents.classes_of(defined.datasets[dataset])


def calls(key: str, T: int, solver: str, nfe: int, spacing: str, **way: Any) -> Problems:
    """A number of calls that the process, the solver and the spacing don't give."""
    yield from refused_by(key, lambda: num_times(T, solver, nfe, spacing, **way))
