"""Stages that sample: restorations, samples, translations of classes, and the studies of samplers."""

from __future__ import annotations

from bridgepipe.cli import groups
from bridgepipe.cli.options import (
    Config,
    Configs,
    ExtractorFiles,
    File,
    Files,
    GuideFolder,
    ModelFolder,
    OtherModel,
    Part,
    Real,
    Shared,
    Sources,
    Trained,
)
from bridgepipe.config.ddib import ClassCycle, ClassSampling
from bridgepipe.config.gaussian import GenerationSampling, GenerationStudy
from bridgepipe.config.i2sb import RestorationSampling, Study
from bridgepipe.config.stage_files import read_stage
from bridgepipe.errors import UserError


@groups.stage.verb()
def sample(
    config: Config,
    trained: Trained,
    data: File,
    restored: File,
    corrupted: File,
    part: Part = Part(),
    sources: Sources = None,
    run: Shared = Shared(),
) -> None:
    """Corrupt and restore one part of a split."""
    settings, speed = read_stage(config, RestorationSampling), run.start()
    from bridgepipe.stages import restoration

    restoration.sample(settings, trained, data, restored, corrupted, part, sources, speed)


@groups.stage.verb()
def generate_samples(
    config: Config,
    trained: Trained,
    output: File,
    part: Part = Part(),
    run: Shared = Shared(),
) -> None:
    """Draw one part of an experiment's samples."""
    settings, speed = read_stage(config, GenerationSampling), run.start()
    from bridgepipe.stages import generation

    generation.generate_samples(settings, trained, output, part, speed)


@groups.stage.verb()
def translate_classes(
    config: Configs,
    source_model: ModelFolder,
    data: File,
    translated: Files,
    latents: Files,
    states: Files,
    target_model: OtherModel = None,
    guide: GuideFolder = None,
    part: Part = Part(),
    run: Shared = Shared(),
) -> None:
    """Translate one part of the images of a class; keep the latents, and what the way back starts from.

    Several pairs of classes, each with its configuration and its outputs, are translated one after another.
    """
    settings, speed = [read_stage(file, ClassSampling) for file in config], run.start()
    from bridgepipe.stages import translation

    if len({len(files) for files in (config, translated, latents, states)}) > 1:
        what = f"{len(config)} configurations, {len(translated)} outputs"
        raise UserError(what, "translate-classes", "give each pair its --translated, --latents and --states")
    stores = map(translation.Stores, translated, latents, states)
    every = list(zip(settings, stores, strict=True))
    translation.translate_classes(every, source_model, data, target_model, guide, part, speed)


@groups.stage.verb()
def translate_back(
    config: Config,
    source_model: ModelFolder,
    data: File,
    translated: File,
    states: File,
    output: File,
    target_model: OtherModel = None,
    guide: GuideFolder = None,
    part: Part = Part(),
    run: Shared = Shared(),
) -> None:
    """Take translations back: from obelm's pair of states, from the image alone, from its 8 bits alone.

    The store holds the images of the first of these that there is, and the distance of each to its source.
    """
    settings, speed = read_stage(config, ClassCycle), run.start()
    from bridgepipe.stages import translation

    translation.translate_back(
        settings, source_model, data, translated, states, output, target_model, guide, part, speed
    )


@groups.stage.verb()
def study(
    config: Config,
    evaluate_config: File,
    sample_config: File,
    trained: Trained,
    data: File,
    statistics: File,
    extractor: ExtractorFiles,
    output: File,
    sources: Sources = None,
    real: Real = None,
    run: Shared = Shared(),
) -> None:
    """PSNR, FID and accuracy of every sampler at every number of calls, measured as the experiment is."""
    settings, speed = read_stage(config, Study), run.start()
    from bridgepipe.stages import studies

    studies.study(
        settings,
        evaluate_config,
        sample_config,
        trained,
        data,
        statistics,
        extractor,
        output,
        sources,
        real,
        speed,
    )


@groups.stage.verb()
def study_samples(
    config: Config,
    trained: Trained,
    statistics: File,
    extractor: ExtractorFiles,
    output: File,
    evaluate_config: File,
    real: Real = None,
    run: Shared = Shared(),
) -> None:
    """FID of the samples of every sampler at every number of calls, measured as the experiment is, as CSV."""
    settings, speed = read_stage(config, GenerationStudy), run.start()
    from bridgepipe.stages import generation

    generation.study_samples(settings, trained, statistics, extractor, output, evaluate_config, real, speed)
