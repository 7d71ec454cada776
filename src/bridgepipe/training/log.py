"""Progress display and log of a training run."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from bridgepipe import artifacts

Row = dict[str, float | None]
COLUMNS = ("step", "loss", "gradient_norm", "lr")  # of train.csv
LINES = 20  # of a run whose output goes to a file


class Progress:
    """Loss, rate and time left: a bar on a terminal, a line now and then in a log file."""

    def __init__(self, first: int, total: int, main: bool) -> None:
        self._first, self._total, self._main = first, total, main
        self._started, self._terminal = time.monotonic(), sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=first, unit="step", disable=not (main and self._terminal))

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def after(self, step: int, loss: float | None) -> None:
        """Report a finished step."""
        shown = "" if loss is None else f"{loss:.5g}"
        self._bar.update(1)
        self._bar.set_postfix(loss=shown, refresh=False)
        if self._main and not self._terminal and step % max(1, self._total // LINES) == 0:
            rate = (step - self._first) / (time.monotonic() - self._started)
            left = (self._total - step) / rate
            line = f"step {step}/{self._total} loss {shown}, {rate:.2f} steps/s, {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the log of a run; the same run gives the same bytes."""
    lines = [",".join(COLUMNS)]
    lines += [",".join("" if r[c] is None else f"{r[c]:.9g}" for c in COLUMNS) for r in rows]
    artifacts.write_text(path, "\n".join(lines) + "\n")
