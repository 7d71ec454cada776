"""Stages of DDIB between points: samples, translations, cycles, and colours of photographs."""

from __future__ import annotations

from typing import Annotated

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Config, Ends, File, Shared, Trained
from bridgepipe.config.colors import ColorTranslating
from bridgepipe.config.points import Generated, PointCycles, PointDistances, PointTranslating
from bridgepipe.config.stage_files import read_stage


@groups.stage.verb()
def sample_points(
    config: Config,
    trained: Trained,
    data: File,
    output: File,
    run: Shared = Shared(),
) -> None:
    """Draw points from a model, and encode points of DATA to see whether its latents are normal."""
    settings, speed = read_stage(config, Generated), run.start()
    from bridgepipe.stages import points

    points.sample_points(settings, trained, data, output, speed)


@groups.stage.verb()
def evaluate_samples(
    samples: File,
    truth: File,
    metrics: File,
    figure: File,
    title: str = "",
    exact: Annotated[int, typer.Option(help="points of the exact transport plan, at most")] = 2000,
) -> None:
    """Distances of samples to true points beside the noise floor, normality of latents, and a picture."""
    from bridgepipe.stages import points

    points.evaluate_samples(samples, truth, metrics, figure, title, exact)


@groups.stage.verb()
def translate_points(
    config: Config,
    data: File,
    ends: Ends,
    output: File,
    run: Shared = Shared(),
) -> None:
    """Take points of DATA from one model's domain to the other's, and back again."""
    settings, speed = read_stage(config, PointTranslating), run.start()
    from bridgepipe.stages import points

    points.translate_points(settings, data, ends, output, speed)


@groups.stage.verb()
def cycle_points(
    config: Config,
    data: File,
    truth: File,
    ends: Ends,
    output: File,
    run: Shared = Shared(),
) -> None:
    """How far a cycle through the other domain takes points of DATA, for every solver."""
    settings, speed = read_stage(config, PointCycles), run.start()
    from bridgepipe.stages import points

    points.cycle_points(settings, data, truth, ends, output, speed)


@groups.stage.verb()
def evaluate_translation(
    config: Config, translated: File, truth: File, metrics: File, figure: File, title: str = ""
) -> None:
    """Distances of translated points to the true target, the cost of the map, and the picture of the map."""
    settings = read_stage(config, PointDistances)
    from bridgepipe.stages import points

    points.evaluate_translation(settings, translated, truth, metrics, figure, title)


@groups.stage.verb()
def color_transfer(
    config: Config,
    ends: Ends,
    source_pixels: File,
    target_pixels: File,
    output: File,
    run: Shared = Shared(),
) -> None:
    """Give each of two photographs the colours of the other, by DDIB and by optimal transport."""
    settings, speed = read_stage(config, ColorTranslating), run.start()
    from bridgepipe.stages import color

    color.color_transfer(settings, ends, source_pixels, target_pixels, output, speed)


@groups.stage.verb()
def evaluate_color(
    transferred: File, source_pixels: File, target_pixels: File, metrics: File, figure: File, title: str = ""
) -> None:
    """Mean squared errors to optimal transport, distances of the palettes, and both transfers as pictures."""
    from bridgepipe.stages import color

    color.evaluate_color(transferred, source_pixels, target_pixels, metrics, figure, title)


@groups.stage.verb()
def color_picture(transferred: File, source_pixels: File, target_pixels: File, output: File) -> None:
    """One picture of a transfer by DDIB; the name of OUTPUT, ``A-as-B.png``, says which."""
    from bridgepipe.stages import color

    color.color_picture(transferred, source_pixels, target_pixels, output)
