"""Log of a training run: a row every so many steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from bridgepipe import artifacts
from bridgepipe.config.recipe import Recipe
from bridgepipe.training.rate import lr_at

Row = dict[str, float | None]
COLUMNS = ("step", "loss", "gradient_norm", "lr")  # of train.csv


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
