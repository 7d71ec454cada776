"""Progress display and log of a training run: a row every so many steps."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from bridgepipe import artifacts
from bridgepipe.config.recipe import Recipe
from bridgepipe.training.rate import lr_at

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


@dataclass
class Log:
    """What is noted of every step: its loss, and the norm of its gradient, NaN where it was not finite."""

    recipe: Recipe
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def has(self, step: int) -> bool:
        """Whether a step has a row: every ``log_every`` steps, and the last step of the recipe."""
        return step % self.recipe.log_every == 0 or step == self.recipe.steps

    def row(self, step: int) -> Row:
        loss, norm = self.losses[step - 1], self.norms[step - 1]
        return {
            "step": step,
            "loss": loss,
            "gradient_norm": norm if math.isfinite(norm) else None,
            "lr": lr_at(self.recipe, step - 1),
        }

    def write(self, path: Path) -> None:
        """Write all rows as CSV; the same run gives the same bytes."""
        rows = [self.row(step) for step in range(1, len(self.losses) + 1) if self.has(step)]
        lines = [",".join(COLUMNS)]
        lines += [",".join("" if r[c] is None else f"{r[c]:.9g}" for c in COLUMNS) for r in rows]
        artifacts.write_text(path, "\n".join(lines) + "\n")
