"""How far long work is: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

EVERY = 30.0  # seconds between two lines; the first comes earlier
FIRST = 10.0
MANY = "pixel"


class Progress:
    """Items done, rate and time left.

    Args:
        total: items that there are.
        done: items found finished.
        label: text before the bar.
        unit: what an item is called; pixels are so many that they are shown as 1.5M.
        shown: whether this process prints anything.
    """

    def __init__(self, total: int, done: int, label: str, unit: str = "image", shown: bool = True) -> None:
        self._total, self._first, self._done, self._unit, self._shown = total, done, done, unit, shown
        self._began, self._next = time.monotonic(), time.monotonic() + FIRST
        terminal = sys.stderr.isatty()
        self._lines = shown and not terminal
        bar = {"desc": label, "unit": unit, "unit_scale": unit == MANY, "disable": not (shown and terminal)}
        self._bar = tqdm(total=total, initial=done, **bar)

    def __enter__(self) -> Progress:
        if self._shown and self._first:
            self._say(
                f"found {self._count(self._first)} of {self._count(self._total)} {self._unit}s finished"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def after(self, items: int) -> None:
        """Tell that so many more are done."""
        self._done += items
        self._bar.update(items)
        now = time.monotonic()
        if self._lines and now >= self._next and self._done < self._total:
            self._next = now + EVERY
            rate = (self._done - self._first) / (now - self._began)
            left = _duration((self._total - self._done) / rate)
            of = f"{self._count(self._done)} of {self._count(self._total)} {self._unit}s"
            speed = self._count(round(rate)) if self._unit == MANY else f"{rate:.3g}"
            self._say(f"{of}, {speed} {self._unit}s/s, about {left} left")

    def _count(self, items: int) -> str:
        return tqdm.format_sizeof(items) if self._unit == MANY else str(items)

    def _say(self, line: str) -> None:
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
