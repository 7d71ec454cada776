"""What the validations of a training have measured, and the best checkpoint that they found.

It lies with the checkpoints, beside the state: what a validation measures follows from the step alone, so
one that is there is not made again, and a training that goes back to an earlier state loses or doubles none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridgepipe import artifacts
from bridgepipe.config.recipe import BEST
from bridgepipe.config.validation import Validation
from bridgepipe.names import Json
from bridgepipe.runtime.running import broadcast, is_main
from bridgepipe.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from torch import Tensor

FILE = "validation.json"
Values = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """What one validation found.

    Attributes:
        values: the loss and the metrics, by name.
        picture: uint8 [H,W,3]; None where none is asked for.
    """

    values: Values
    picture: np.ndarray | None = None


@dataclass(frozen=True)
class Validator:
    """How a training is validated.

    Attributes:
        settings: when, and by what a checkpoint is the best.
        identity: JSON values that decide what is measured: settings, data, extractor.
        measure: weights by name -> what they are worth; every process takes part and gets the same.
    """

    settings: Validation
    identity: Mapping[str, Any]
    measure: Callable[[Mapping[str, Tensor]], Measured]


@dataclass
class Validations:
    """The validations of one training.

    Args:
        validator: settings and measure of the validation.
        checkpoints: what the training keeps.
    """

    validator: Validator
    checkpoints: Checkpoints
    rows: dict[int, Values] = field(default_factory=dict)

    def begin(self, step: int) -> None:
        """Take up those of an earlier call of the same training, up to the step that it goes on from."""
        found = broadcast(read(self.checkpoints.folder) if is_main() else {})
        if artifacts.canonical(found.get("of")) == artifacts.canonical(self.validator.identity):
            self.rows = {row.pop("step"): row for row in found["rows"] if row["step"] <= step}

    def is_due(self, step: int) -> bool:
        return step > 0 and step % self.validator.settings.every == 0 and step not in self.rows

    def make(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Measure the weights after a step; write down what was found, the best weights first."""
        found = self.validator.measure(weights)
        if is_main():
            if found.picture is not None:
                self._draw(step, found.picture)
            if self._is_best(found.values):
                self.checkpoints.save(BEST, step, weights)
            rows = [{"step": at, **values} for at, values in {**self.rows, step: found.values}.items()]
            content = {"of": dict(self.validator.identity), "rows": rows}
            artifacts.write_json(self.checkpoints.folder / FILE, content)
        self.rows[step] = found.values

    def picture(self, step: int) -> Path | None:
        """The picture of a validation, where there is one."""
        file = self._picture(step)
        return file if step in self.rows and file.is_file() else None

    def _picture(self, step: int) -> Path:
        return self.checkpoints.folder / f"validation-{step:08d}.png"

    def _is_best(self, values: Values) -> bool:
        how = self.validator.settings
        sign = -1 if how.higher_is_better else 1
        return all(sign * values[how.best] < sign * other[how.best] for other in self.rows.values())

    def _draw(self, step: int, picture: np.ndarray) -> None:
        from bridgepipe.datasets.images import write_png

        write_png(self._picture(step), picture, f"validation after step {step}")


def read(folder: Path) -> Json:
    """What was written down in a folder of checkpoints; {} where nothing was."""
    file = folder / FILE
    return dict(artifacts.read_object(file)) if file.is_file() else {}


def table(folder: Path) -> str:
    """The same as CSV, a row a validation."""
    rows = read(folder)["rows"]
    columns = dict.fromkeys(("step", "loss", *rows[0]))
    lines = [",".join(columns), *(",".join(f"{row[name]:.9g}" for name in columns) for row in rows)]
    return "\n".join(lines) + "\n"
