"""Stages up to a trained network: data, spectrum, training, and published weights."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone, Config, File, HeldOut, Shared, Sources
from bridgepipe.config.extractor import Extractor
from bridgepipe.config.stage_files import read_dataset, read_stage, read_training


@groups.stage.verb()
def prepare(
    config: Config,
    output: Annotated[Path, typer.Option(help="folder of the stores", show_default=False)],
    source: Annotated[Path | None, typer.Argument(help="listing of the files that are to be read")] = None,
    split: Annotated[str | None, typer.Option(help="split that is prepared alone; default: all")] = None,
) -> None:
    """Turn a source of images into one store per split."""
    from bridgepipe.stages import data

    data.prepare(read_dataset(config), output, source, split)


@groups.stage.verb()
def gather(
    parts: Annotated[list[Path], typer.Argument(help="stores of the parts", show_default=False)],
    output: File,
) -> None:
    """Join the stores of parallel jobs."""
    from bridgepipe.data import joining

    joining.gather(parts, output)


@groups.stage.verb()
def spectrum(
    data: File,
    output: File,
    figure: File,
    title: str = "",
    batch_size: Annotated[int, typer.Option(help="images that are read at a time")] = 256,
) -> None:
    """Fit the power law of Shortest-Path Diffusion to a split; picture of spectrum and fit.

    Of patches also the exponent of every picture, and the interval of their mean over the pictures.
    """
    from bridgepipe.stages.spectrum import fit

    fit(data, output, figure, title, batch_size)


@groups.stage.verb()
def train(
    config: Config,
    data: File,
    folder: File,
    output: File,
    csv: File,
    sources: Sources = None,
    spectrum: Annotated[Path | None, typer.Option(help="fitted spectrum of the data")] = None,
    held_out: HeldOut = HeldOut(),
    run: Shared = Shared(),
) -> None:
    """Train an experiment's network, resuming what an earlier call left in FOLDER."""
    started = time.monotonic()
    settings, speed = read_training(config), run.start()
    from bridgepipe.stages import training

    training.train(settings, data, folder, output, csv, sources, spectrum, held_out, speed, started)


@groups.stage.verb()
def checkpoint(config: Config, model: File, folder: File, output: File) -> None:
    """Give a checkpoint that a training kept in FOLDER, or its validations, a place beside the model."""
    settings = read_training(config)
    from bridgepipe.stages import training

    training.checkpoint(settings, model, folder, output)


@groups.stage.verb()
def import_weights(
    weights: Annotated[Path, typer.Argument(help="file or folder of the weights", show_default=False)],
    config: Config,
    output: File,
    size: Annotated[int | None, typer.Option(help="of the images of a Gaussian model")] = None,
    domain: Annotated[str | None, typer.Option(help="of points: which of the six domains")] = None,
) -> None:
    """Turn published weights into a model of an experiment; I2SB's options are compared with it.

    WEIGHTS are named as in train.published. Of a domain of the plane it is the file of the most steps,
    not EMA.
    """
    settings = read_training(config)
    from bridgepipe.methods import trained
    from bridgepipe.stages import training

    training.import_weights(trained.located(weights), settings, config, output, size, domain)


@groups.stage.verb()
def train_classifier(config: Config, train: File, val: File, output: File, run: Alone = Alone()) -> None:
    """Train the small classifier that stands in for published feature extractors at demo scale."""
    settings, speed = read_stage(config, Extractor), run.start()
    from bridgepipe.stages import training

    training.train_classifier(settings, train, val, output, speed)
