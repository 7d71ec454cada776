"""What is shown again and again: drawn in place on a terminal, printed as lines elsewhere."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TextIO

EVERY = 2.0  # seconds between two looks
PRINTED = 30.0  # seconds between two looks where nothing can be drawn
ERASE = "\r\033[K"  # the line that the cursor is in


def watch(lines: Callable[[], Sequence[str]]) -> None:
    """Show lines until Ctrl-C; where they cannot be drawn in place, only when they have changed."""
    before: list[str] = []
    while True:
        now = list(lines())
        if sys.stdout.isatty():
            before = _drawn(now, before)
            time.sleep(EVERY)
            continue
        if now != before:
            print("\n".join(now), flush=True)
        before = now
        time.sleep(PRINTED)


def _drawn(lines: list[str], before: list[str]) -> list[str]:
    """The end of the lines, in place of what was drawn before; as much as a terminal holds."""
    columns, rows = shutil.get_terminal_size()
    shown = [line[: columns - 1] for line in lines[-(rows - 1) :]]
    up = f"\033[{len(before)}A" if before else ""
    print(f"{up}\r\033[J" + "\n".join(shown), flush=True)
    return shown


def follow(source: TextIO, line: Callable[[], str]) -> None:
    """Pass on what another program says, with a line below it that is drawn again and again; ends with it.

    Ctrl-C is left to that program, whose last words are passed on, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    said: SimpleQueue[str | None] = SimpleQueue()
    threading.Thread(target=_read, args=(source, said), daemon=True).start()
    terminal, report, again = sys.stdout.isatty(), "", time.monotonic() + PRINTED
    while True:
        try:
            text = said.get(timeout=EVERY)
        except Empty:
            text = ""
        sys.stdout.write((ERASE if terminal else "") + (text or ""))
        if text is None:
            sys.stdout.flush()
            return
        if terminal:
            sys.stdout.write(line()[: shutil.get_terminal_size().columns - 1])
        elif time.monotonic() >= again:
            again, before, report = time.monotonic() + PRINTED, report, line()
            sys.stdout.write(f"{report}\n" if report not in ("", before) else "")
        sys.stdout.flush()


def _read(source: TextIO, said: SimpleQueue[str | None]) -> None:
    for line in source:
        said.put(line)
    said.put(None)
