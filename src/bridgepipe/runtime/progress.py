"""How far long work is: a bar on a terminal, a plain line now and then in a log.

A line comes at least every half minute: `beating` says that a verb is at work where nothing counts its items,
or where one batch takes longer. `last_report` reads the lines of a log again.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import ClassVar

from tqdm import tqdm

from bridgepipe.runtime import interruption

EVERY = 30.0  # seconds between two lines; the first comes earlier
FIRST = 10.0
SOON = 1.0  # seconds after which a bar is shown: what is quick shows none
BEAT = 1.0
MANY = "pixel"
SCALED = (MANY, "byte")  # units so small that they are shown as 1.5M


class Progress:
    """Items done, rate and time left.

    Args:
        total: items that there are; None where nobody knows.
        done: items found finished.
        label: text before the bar.
        unit: what an item is called; pixels and bytes are so many that they are shown as 1.5M.
        shown: whether this process prints anything.
    """

    _open: ClassVar[list[Progress]] = []

    def __init__(
        self, total: int | None, done: int, label: str, unit: str = "image", shown: bool = True
    ) -> None:
        self._total, self._first, self._done, self._unit, self._shown = total, done, done, unit, shown
        self._label, self._remark = label, ""
        self._began, self._next = time.monotonic(), time.monotonic() + FIRST
        terminal = sys.stderr.isatty()
        self._lines, self._telling = shown and not terminal, threading.Lock()
        bar = {"desc": label, "unit": unit, "unit_scale": unit in SCALED, "delay": SOON}
        self._bar = tqdm(total=total, initial=done, disable=not (shown and terminal), **bar)

    def __enter__(self) -> Progress:
        self._open.append(self)
        if self._shown and self._first:
            of = f" of {self._count(self._total)}" if self._total is not None else ""
            say(f"found {self._count(self._first)}{of} {self._unit}s finished")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.remove(self)
        self._bar.close()

    def after(self, items: int, remark: str = "") -> None:
        """Tell that so many more are done, and what else there is to say, such as the loss."""
        self._done += items
        self._remark = remark
        if remark:
            self._bar.set_postfix_str(remark, refresh=False)
        self._bar.update(items)
        self._tell()

    @classmethod
    def beat(cls) -> bool:
        """Tell how far the innermost open work is, where it is time; whether there is one."""
        for shown in cls._open[-1:]:
            shown._bar.refresh()
            shown._tell()
        return bool(cls._open)

    def _tell(self) -> None:
        with self._telling:
            now = time.monotonic()
            if self._lines and now >= self._next and self._done != self._total:
                self._next = now + EVERY
                say(self._line(now - self._began))

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._first) / seconds
        report = f"{self._label}: {self._count(self._done)}"
        if self._total is not None:
            report += f" of {self._count(self._total)}"
        report += f" {self._unit}s"
        if self._total:
            report += f" ({100 * self._done // self._total} %)"
        if rate > 0:
            speed = self._count(round(rate)) if self._unit in SCALED else f"{rate:.3g}"
            report += f", {speed} {self._unit}s/s"
        if rate > 0 and self._total is not None:
            report += f", about {duration((self._total - self._done) / rate)} left"
        return f"{report}, {self._remark}" if self._remark else report

    def _count(self, items: int) -> str:
        return tqdm.format_sizeof(items) if self._unit in SCALED else str(items)


def say(line: str) -> None:
    """A line about the work that begins now, above the bar of a terminal."""
    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


def duration(seconds: float) -> str:
    """A time as a person says it, such as ``25 min``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def beating(label: str) -> AbstractContextManager[None]:
    """In the block something is said at least every half minute, whatever is at work in it.

    Args:
        label: name of the verb, for the time in which it counts nothing.
    """
    return interruption.beside(partial(_beat, label))


def _beat(label: str, ended: threading.Event) -> None:
    began = silent = time.monotonic()
    bars: list[tqdm] = []  # at most one, that of a terminal while nothing else shows one
    while not ended.wait(BEAT):
        if Progress.beat():
            silent = time.monotonic()
            _close(bars)
        elif sys.stderr.isatty():
            bars = bars or [tqdm(bar_format=f"{label}: at work, {{elapsed}}", leave=False)]
            bars[0].refresh()
        elif time.monotonic() - silent >= EVERY:
            silent = time.monotonic()
            print(f"{label}: at work, {duration(silent - began)} so far", file=sys.stderr, flush=True)
    _close(bars)


def _close(bars: list[tqdm]) -> None:
    while bars:
        bars.pop().close()


@dataclass(frozen=True)
class Report:
    """How far a job is by the last line in its log.

    Attributes:
        percent: share that is done; None where nobody knows.
        left: time that is left, such as ``25 min``; empty where nobody knows.
        line: the line itself.
    """

    percent: int | None
    left: str
    line: str


# what `Progress` and `beating` write into a log
LINE = re.compile(
    r"^.+: (?:at work, .+ so far|\S+ of \S+ [a-z]+s \((?P<percent>\d+) %\).*|\S+ [a-z]+s, \S+ [a-z]+s/s.*)$",
    flags=re.MULTILINE,
)


def last_report(log: str) -> Report | None:
    """The last line of progress in a log; None when there is none."""
    every = list(LINE.finditer(log))
    if not every:
        return None
    found = every[-1]
    left = re.search(r"about (.+?) left", found[0])
    return Report(int(found["percent"]) if found["percent"] else None, left[1] if left else "", found[0])
