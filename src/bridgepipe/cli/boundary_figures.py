"""Verbs that draw edits across boundaries."""

from __future__ import annotations

from pathlib import Path

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.options import File

ROWS = 10


@groups.boundary.verb()
def figure_strip(edited: File, control: File, plain: File, data: File, output: File, title: str = "") -> None:
    """Some images, as they are decoded with the same noise and no move, and edited at every distance."""
    from bridgepipe import figures_boundary, lineage
    from bridgepipe.cli.boundary_edits import open_strips
    from bridgepipe.store import ImageStore

    edits, unmoved, undone, source = (ImageStore(path) for path in (edited, control, plain, data))
    lineage.made_together(edits, unmoved, undone)
    lineage.made_from(edits, source, "source images")
    strips = open_strips(edits, unmoved, undone, source)
    beside = {} if strips.originals is None else {"image": strips.originals[:ROWS]}
    beside |= {"no move": strips.control[:ROWS]}
    figures_boundary.strip_grid(output, strips.images[:ROWS], strips.distances.tolist(), beside, title)


@groups.boundary.verb()
def figure_flips(
    csv: Path = typer.Option(...),
    metric: Path = typer.Option(...),
    output: Path = typer.Option(...),
    title: str = "",
) -> None:
    """What edits flip and keep against the distance."""
    from bridgepipe import figures_boundary, tables

    best = artifacts.read_object(metric)["values"]["best_distance"]
    figures_boundary.flips_against_distance(output, tables.read_csv(csv, "distance"), best, title)
