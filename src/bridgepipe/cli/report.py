"""Tables, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridgepipe import config as configuration
from bridgepipe.cli import groups
from bridgepipe.cli.options import (
    PARAMS,
    Alone,
    AsJson,
    Config,
    Ends,
    File,
    Metrics,
    Params,
    Shared,
    Sources,
    Trained,
)
from bridgepipe.config.i2sb import RestorationSampling
from bridgepipe.config.points import PointTranslating
from bridgepipe.config.stage_files import read_stage


@groups.stage.verb()
def table(
    metrics: Metrics,
    csv: File,
    markdown: File,
    numbers: Annotated[Path | None, typer.Option(help="JSON for DVC with the numbers alone")] = None,
) -> None:
    """One row per experiment from its metric files; below them published numbers of their tasks."""
    from bridgepipe.stages import tables

    tables.table(metrics, csv, markdown, numbers)


@groups.stage.verb()
def summary(metrics: Metrics, csv: File, markdown: File, html: File) -> None:
    """One row per measure and experiment, under a heading for every protocol."""
    from bridgepipe.stages import tables

    tables.one_table_of(metrics, csv, markdown, html)


@groups.people.verb("table")
def show_table(
    method: Annotated[
        str, typer.Argument(help="a method or an experiment, such as i2sb or i2sb/jpeg-5; default: all")
    ] = "",
    as_json: AsJson = False,
    published: Annotated[
        bool, typer.Option("--published", help="print published numbers of other protocols, too")
    ] = False,
    params: Params = PARAMS,
) -> None:
    """Print what metric files hold, each number with its interval, beside its floor and its input.

    Only rows under one heading may be compared: they have one task, and one protocol measured them.
    """
    resolved = configuration.load(params)
    names = resolved.matching(*([method] if method else []))
    from bridgepipe.stages import tables

    tables.show(resolved, names, as_json, published)


@groups.people.verb()
def report(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="experiments or methods, such as i2sb/jpeg-5 or spd; default: all"),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file")] = Path("report.html"),
    params: Params = PARAMS,
) -> None:
    """Write one HTML file with all results that are there: numbers, figures, settings, protocols, costs.

    It opens without a network. Nothing is run: what has not been made is listed as such.
    """
    resolved = configuration.load(params)
    names = resolved.matching(*(experiments or []))
    from bridgepipe.report import page

    page.write(output, resolved, names)
    print(output)


@groups.stage.verb("numbers")
def write_numbers(metrics: Metrics, output: File) -> None:
    """The numbers of an experiment's metric files, without what they were made with, for DVC."""
    from bridgepipe.stages import numbers

    numbers.write_numbers(metrics, output)


@groups.stage.verb()
def study_table(
    parts: Annotated[list[Path], typer.Argument(help="tables of the studies", show_default=False)],
    csv: File,
    markdown: File,
    figure: File,
    title: str = "",
) -> None:
    """Join the studies of several experiments into one table and one figure.

    Metrics under another protocol are another column, and another panel: few images make a FID larger by
    themselves, and so does another reference. Samplers that two experiments call the same are told apart by
    the name of the experiment.
    """
    from bridgepipe.stages import tables

    tables.study_table(parts, csv, markdown, figure, title)


@groups.stage.verb()
def point_table(metrics: Metrics, csv: File, markdown: File) -> None:
    """A row per experiment, or per way of one that goes both ways."""
    from bridgepipe.stages import tables

    tables.point_table(metrics, csv, markdown)


@groups.stage.verb()
def cycle_table(metrics: Metrics, csv: File, markdown: File) -> None:
    """Mean and largest error of every solver's cycle, a row per pair, then the worst of every group."""
    from bridgepipe.stages import tables

    tables.cycle_table(metrics, csv, markdown)


@groups.figure.verb()
def grid(restored: File, corrupted: File, originals: File, output: File, title: str = "") -> None:
    """Original, corrupted and restored images with the PSNR of each."""
    from bridgepipe.stages import pictures

    pictures.grid(restored, corrupted, originals, output, title)


@groups.figure.verb()
def samples(
    images: File,
    output: File,
    title: str = "",
    count: Annotated[int, typer.Option(help="images in the picture, at most")] = 64,
) -> None:
    """Samples side by side."""
    from bridgepipe.stages import pictures

    pictures.samples(images, output, title, count)


@groups.figure.verb()
def path(
    config: Config,
    trained: Trained,
    data: File,
    output: File,
    title: str = "",
    sources: Sources = None,
    run: Alone = Alone(),
) -> None:
    """States of the bridge and predictions of the clean image along the sampling path."""
    settings, speed = read_stage(config, RestorationSampling), run.start()
    from bridgepipe.stages import pictures

    pictures.path(settings, trained, data, output, title, sources, speed)


@groups.figure.verb()
def loss(
    csv: File,
    output: File,
    validation: Annotated[Path | None, typer.Option(help="table of the validations")] = None,
    title: str = "",
) -> None:
    """Training loss against the step, beside what was found on other images."""
    from bridgepipe.stages import curves

    curves.loss(csv, output, validation, title)


@groups.figure.verb("translations")
def translations(
    source: File, latents: File, translated: File, back: File, output: File, title: str = ""
) -> None:
    """Source, latent, translation and the way back of some images."""
    from bridgepipe.stages import pictures

    pictures.translations(source, latents, translated, back, output, title)


@groups.figure.verb()
def densities(
    config: Config,
    data: File,
    ends: Ends,
    output: File,
    title: str = "",
    stops: Annotated[
        int, typer.Option(min=1, max=20, help="places on either way, evenly among the calls")
    ] = 3,
    run: Shared = Shared(),
) -> None:
    """Densities of points on their way from one domain through the latents to the other."""
    settings, speed = read_stage(config, PointTranslating), run.start()
    from bridgepipe.stages import points

    points.draw_densities(settings, data, ends, output, title, stops, speed)
