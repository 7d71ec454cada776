"""What a text without quotes means in params.yaml: one meaning, or none.

YAML 1.1 (PyYAML) and YAML 1.2 (DVC) differ about some: 1e-4, 0250, 12:30, on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

MAX_DIGITS = 19
NULLS = ("", "~", "null", "Null", "NULL")
TRUE = ("true", "True", "TRUE")
FALSE = ("false", "False", "FALSE")
HIDDEN = re.compile(r"[\u00a0\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]")


class Ambiguous(Exception):
    """A text that may mean several things: what, and how to mend it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.mend = mend


def plain(text: str) -> Any:
    """What a text without quotes means: a number, true, false, null, or the text.

    Raises:
        Ambiguous: YAML readers or persons differ about it.
    """
    if text in NULLS:
        return None
    if text in (*TRUE, *FALSE):
        return text in TRUE
    if re.fullmatch(r"[-+]?(0|[1-9][0-9]*)", text):
        return _bounded(text, int(text) if len(text) < MAX_DIGITS else math.inf)
    if re.fullmatch(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", text):
        return _bounded(text, float(text))
    for pattern, meaning, write in AMBIGUOUS:
        if re.fullmatch(pattern, text):
            what = f"{short(text)} is text or {meaning}, depending on who reads it"
            raise Ambiguous(what, f'write {write(text)}, or "{short(text)}" in quotes if it is text')
    if hidden := HIDDEN.search(text):
        raise Ambiguous(f"invisible character U+{ord(hidden[0]):04X}", "write an ordinary space, or none")
    return text


def _bounded(text: str, number: float) -> float:
    if not math.isfinite(number):
        raise Ambiguous(f"{short(text)} is too large a number", "write a smaller one")
    return number


def short(text: str) -> str:
    return text if len(text) <= 36 else f"{text[:33]}..."


def _without_zeros(text: str) -> str:
    return short(re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text))


def _decimal(text: str) -> str:
    return str(int(text, 0)) if len(text) < MAX_DIGITS else "it in decimal"


# pattern, what else it may be, what to write
AMBIGUOUS: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    (r"(?i)yes|no|on|off", "true or false", lambda _: "true or false"),
    (r"None", "null", lambda _: "null"),
    (r"[-+]?0[0-9]+", "a number of base 8 or 10", _without_zeros),
    (r"[-+]?0[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", "a number", _without_zeros),
    (r"[-+]?0([xX][0-9a-fA-F]+|o[0-7]+|b[01]+)", "a number of another base", _decimal),
    (r"[-+]?[0-9.]+_[0-9_.]*([eE][-+]?[0-9]+)?", "a number", lambda text: text.replace("_", "")),
    (r"[-+]?[0-9][0-9_]*(:[0-9]+)+(\.[0-9]*)?", "a time, or a number of base 60", lambda _: "one number"),
    (r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(\s*$|[Tt\s].*)", "a date", lambda _: "it in words"),
    (r"(?i)[-+]?\.(inf|nan)", "a number that is not finite", lambda _: "a finite number"),
)
