"""Pictures of the curves in tables; they take a second less than others, as nothing here needs PyTorch."""

from __future__ import annotations

from pathlib import Path

from bridgepipe import artifacts
from bridgepipe.evaluation import tables
from bridgepipe.figures import boundary, images


def loss(
    csv: Path,
    output: Path,
    validation: Path | None,
    title: str,
) -> None:
    """Training loss against the step, and what validations found."""
    rows = tables.read_csv(csv, "step", "loss")
    found = None if validation is None else tables.read_csv(validation, "step", "loss")
    images.loss_curve(output, rows["step"].to_numpy(), rows["loss"].to_numpy(), title, found)


def flips(
    csv: Path,
    metric: Path,
    output: Path,
    title: str,
) -> None:
    """What edits flip and keep against the distance."""
    best = artifacts.read_object(metric)["values"]["best_distance"]
    boundary.flips_against_distance(output, tables.read_csv(csv, "distance"), best, title)
