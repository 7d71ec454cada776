"""Stages of boundaries: mixing step, latents, search, edits across them, and their metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone, Config, Control, ExtractorFiles, File, Plain, Shared, Trained
from bridgepipe.config.boundary import (
    BoundaryEdit,
    BoundaryFit,
    BoundaryJudge,
    BoundaryLatents,
    BoundaryMeasures,
    BoundaryMixing,
)
from bridgepipe.config.stage_files import read_stage


@groups.boundary.verb()
def mixing(
    config: Config,
    trained: Trained,
    data: File,
    output: Annotated[Path, typer.Option(help="the chosen step")],
    csv: File,
    figure: File,
    title: str = "",
    run: Shared = Shared(),
) -> None:
    """Shape and separability of the latents at many steps, and the step to edit at."""
    settings, speed = read_stage(config, BoundaryMixing), run.start()
    from bridgepipe.stages import boundary

    boundary.mixing(settings, trained, data, output, csv, figure, title, speed)


@groups.boundary.verb()
def latents(
    config: Config,
    trained: Trained,
    train: File,
    test: File,
    output: Annotated[Path, typer.Option(help="folder")],
    mixing: Annotated[Path | None, typer.Option(help="the chosen step, for t: auto")] = None,
    run: Shared = Shared(),
) -> None:
    """Invert training and test images: stores of z and h with the attribute's values."""
    settings, speed = read_stage(config, BoundaryLatents), run.start()
    from bridgepipe.stages import boundary

    boundary.latents(settings, trained, train, test, output, mixing, speed)


@groups.boundary.verb()
def search(
    config: Config,
    latents: Annotated[Path, typer.Option(help="folder of the latents")],
    output: Annotated[Path, typer.Option(help="folder of the boundaries")],
    accuracy: Annotated[Path, typer.Option(help="file to write: accuracy on held-out latents")],
    run: Alone = Alone(),
) -> None:
    """Find the boundaries in z and in h, and measure how well they separate held-out latents."""
    settings, speed = read_stage(config, BoundaryFit), run.start()
    from bridgepipe.stages import boundary

    boundary.search(settings, latents, output, accuracy, speed)


@groups.boundary.verb()
def strips(
    config: Config,
    trained: Trained,
    boundary: Annotated[Path, typer.Option(help="folder of the boundaries")],
    latents: Annotated[Path, typer.Option(help="folder of the latents")],
    edited: File,
    control: Control,
    plain: Plain,
    run: Shared = Shared(),
) -> None:
    """Edit test images, or samples, at every distance; and decode them without an edit."""
    settings, speed = read_stage(config, BoundaryEdit), run.start()
    from bridgepipe.stages import edits

    edits.strips(settings.edit, trained, boundary, latents, edited, control, plain, speed)


@groups.boundary.verb()
def judge(config: Config, train: File, output: File, run: Alone = Alone()) -> None:
    """Train a small classifier of the attribute on images: it judges edits where nothing else can."""
    settings, speed = read_stage(config, BoundaryJudge), run.start()
    from bridgepipe.stages import edits

    edits.judge(settings, train, output, speed)


@groups.boundary.verb()
def evaluate(
    config: Config,
    edited: File,
    control: Control,
    plain: Plain,
    data: Annotated[Path, typer.Option(help="split that the edited images come from")],
    train: Annotated[Path, typer.Option(help="real images")],
    classifier: Annotated[Path, typer.Option(help="weights of what knows the classes, or the attribute")],
    extractor: ExtractorFiles,
    output: File,
    csv: File,
    run: Shared = Shared(),
) -> None:
    """What the edits flip against the distance, what they keep, and how evenly they change."""
    settings, speed = read_stage(config, BoundaryMeasures), run.start()
    from bridgepipe.stages import edits

    edits.evaluate(settings, edited, control, plain, data, train, classifier, extractor, output, csv, speed)


@groups.boundary.verb()
def figure_strip(
    edited: File, control: Control, plain: Plain, data: File, output: File, title: str = ""
) -> None:
    """Some images, as they are decoded with the same noise and no move, and edited at every distance."""
    from bridgepipe.stages import pictures

    pictures.figure_strip(edited, control, plain, data, output, title)


@groups.boundary.verb()
def figure_flips(
    csv: File,
    metric: Annotated[Path, typer.Option(help="metric file of the edits", show_default=False)],
    output: File,
    title: str = "",
) -> None:
    """What edits flip and keep against the distance."""
    from bridgepipe.stages import curves

    curves.flips(csv, metric, output, title)
