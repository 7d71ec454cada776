"""Stages that measure: reference statistics, and one metric each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone, Config, ExtractorFiles, File, Real, Shared, Trained
from bridgepipe.config.ddib import EvaluateTranslation
from bridgepipe.config.i2sb import Evaluate, RestorationSampling
from bridgepipe.config.recipe import Distribution
from bridgepipe.config.stage_files import read_stage


@groups.stage.verb()
def statistics(
    data: File,
    extractor: ExtractorFiles,
    output: File,
    run: Shared = Shared(),
) -> None:
    """Mean and covariance of the features of a split: the reference of the FID."""
    speed = run.start()
    from bridgepipe.stages import metrics

    metrics.statistics(data, extractor, output, speed)


@groups.evaluate.verb("fid")
def fid_metric(
    config: Config,
    images: File,
    statistics: File,
    extractor: ExtractorFiles,
    output: File,
    corrupted: Annotated[Path | None, typer.Option(help="what the images were made from")] = None,
    originals: Annotated[Path | None, typer.Option(help="what they were restored to be")] = None,
    real: Real = None,
    run: Shared = Shared(),
) -> None:
    """FID and KID of images, of what they were made from, and of as many real ones, against real ones."""
    settings, speed = read_stage(config, Evaluate, Distribution), run.start()
    from bridgepipe.stages import metrics

    metrics.fid_metric(settings, images, statistics, extractor, output, corrupted, originals, real, speed)


@groups.evaluate.verb("accuracy")
def accuracy_metric(
    restored: File,
    corrupted: File,
    originals: File,
    extractor: ExtractorFiles,
    output: File,
    run: Shared = Shared(),
) -> None:
    """Share of restored, corrupted and original images that a classifier names rightly."""
    speed = run.start()
    from bridgepipe.stages import metrics

    metrics.accuracy_metric(restored, corrupted, originals, extractor, output, speed)


@groups.evaluate.verb("restoration")
def restoration_metric(restored: File, corrupted: File, originals: File, output: File) -> None:
    """PSNR and SSIM of restored and of corrupted images against their originals."""
    from bridgepipe.stages import metrics

    metrics.restoration_metric(restored, corrupted, originals, output)


@groups.evaluate.verb("translation-fid")
def translation_fid(
    config: Config,
    translated: File,
    reference: File,
    extractor: ExtractorFiles,
    output: File,
    source: Annotated[Path | None, typer.Option(help="source images, where target ones lie too")] = None,
    real: Real = None,
    run: Shared = Shared(),
) -> None:
    """FID and KID of translations to real images of the target class.

    Beside them those of the untranslated images, of one dataset, and of other real ones: ceiling and floor.
    """
    settings, speed = read_stage(config, EvaluateTranslation), run.start()
    from bridgepipe.stages import translation_metrics

    translation_metrics.translation_fid(
        settings, translated, reference, extractor, output, source, real, speed
    )


@groups.evaluate.verb("target-accuracy")
def target_accuracy(
    config: Config,
    translated: File,
    extractor: ExtractorFiles,
    output: File,
    source: Annotated[
        Path | None, typer.Option(help="source images, of which patches tell their photographs")
    ] = None,
    run: Shared = Shared(),
) -> None:
    """Share of translations that an independent classifier takes for the target class."""
    settings, speed = read_stage(config, EvaluateTranslation), run.start()
    from bridgepipe.stages import translation_metrics

    translation_metrics.target_accuracy(settings, translated, source, extractor, output, speed)


@groups.evaluate.verb("similarity")
def similarity_metric(
    translated: File,
    source: File,
    extractor: ExtractorFiles,
    output: File,
    real: Annotated[bool, typer.Option(help="the source's store holds real images of the target too")] = True,
    run: Shared = Shared(),
) -> None:
    """How near translations are to their sources: PSNR, SSIM, distance of features.

    Beside them the same for a translation of another image, and for a random real image of the target class.
    """
    speed = run.start()
    from bridgepipe.stages import translation_metrics

    translation_metrics.similarity_metric(translated, source, extractor, output, real, speed)


@groups.evaluate.verb("cycle-of-images")
def cycle_of_images(back: File, output: File) -> None:
    """Distance of images to where they return to: from the pair of states, the image, its 8 bits alone."""
    from bridgepipe.stages import translation_metrics

    translation_metrics.cycle_of_images(back, output)


@groups.evaluate.verb("photographs")
def compare_photographs(
    config: Config,
    trained: Trained,
    csv: File,
    markdown: File,
    figure: File,
    title: str = "trained",
    run: Alone = Alone(),
) -> None:
    """Restore JPEG files of the test photographs, by a trained network and by that of this package."""
    settings, speed = read_stage(config, RestorationSampling), run.start()
    from bridgepipe.stages import photographs

    photographs.compare_photographs(settings, trained, csv, markdown, figure, title, speed)
