"""A kind of corruption, and how its names are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

WHOLE = "(?:0|[1-9][0-9]*)"
DECIMAL = rf"{WHOLE}(?:\.[0-9]+)?"


@dataclass(frozen=True)
class Family:
    """Corruptions whose names differ in their numbers and options.

    Args:
        start: what their names begin with, the whole name where there are no numbers.
        about: what it does, one line.
        modules: modules of `bridgepipe.corruptions` that compute it.
        limits: least and greatest number; None: names without numbers.
        ranges: whether two numbers may be given, between which every image draws its own.
        whole: whether the numbers are whole ones.
        number: what the number is.
        options: groups of endings, of each at most one.
        needed: whether one of the first group of endings has to be written.
        chained: whether it may be a part of a chain.
        agrees: whether a restoration can be made to agree with what it left: it is linear, or a JPEG's.
        examples: names that stand for the family in lists; () where it has one name only.
    """

    start: str
    about: str
    modules: tuple[str, ...]
    limits: tuple[float, float] | None = None
    ranges: bool = False
    whole: bool = False
    number: str = ""
    options: tuple[tuple[str, ...], ...] = ()
    needed: bool = False
    chained: bool = False
    agrees: bool = False
    examples: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> str:
        """Regular expression of the names, without groups that capture; limits are not in it."""
        if self.limits is None:
            return re.escape(self.start).replace("\\-", "-")
        number = WHOLE if self.whole else DECIMAL
        numbers = rf"{number}(?:\.\.{number})?" if self.ranges else number
        endings = "".join(
            f"(?:-(?:{'|'.join(group)}))" + ("" if self.needed and i == 0 else "?")
            for i, group in enumerate(self.options)
        )
        return f"{self.start}-{numbers}{endings}"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that lists show."""
        return self.examples or (self.start,)

    @property
    def form(self) -> str:
        """How its names are written, and within which limits."""
        if self.limits is None:
            return self.start
        low, high = (f"{limit:g}" for limit in self.limits)
        return f"{self.start} takes {self.number} of {low} to {high}" + (
            f", or a range as in {self.names[1]}" * self.ranges
        )


@dataclass(frozen=True)
class Degradation:
    """One corruption by its name.

    Attributes:
        name: name as it is written.
        family: what kind it is.
        low, high: range that every image draws its own number from; equal for a fixed number.
        options: the endings that are written.
    """

    name: str
    family: Family
    low: float = 0
    high: float = 0
    options: tuple[str, ...] = ()

    @property
    def drawn(self) -> bool:
        """Whether every image draws its own number."""
        return self.low < self.high
