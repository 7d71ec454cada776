"""What training needs of a method: from the settings of an experiment to its network and objective."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe.artifacts import Card
from bridgepipe.config.gaussian import GuideTraining, ModelTraining, Noising, Process
from bridgepipe.config.i2sb import RestorationTraining
from bridgepipe.config.points import PointProcess, PointTraining
from bridgepipe.config.stage_files import Training
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.names.classes import trained_classes
from bridgepipe.runtime import closure

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from bridgepipe.methods.gaussian import Diffusion
    from bridgepipe.methods.i2sb import Problem
    from bridgepipe.networks.layouts import Found
    from bridgepipe.training.objective import Images, Objective

SPECTRUM = ("c1", "c2", "m")


@dataclass(frozen=True)
class Task:
    """What training needs of a method.

    Attributes:
        network: freshly initialised, with all that is trained.
        objective: loss of the training.
        card: what the artefact must record, including digests of every file that was read.
        code: what made all this, for `closure`.
        unused: code that the method has for other experiments.
        part: the part of the network that is the result; None: all of it.
    """

    network: nn.Module
    objective: Objective
    card: Card
    code: tuple[closure.Root, ...]
    unused: tuple[closure.Root, ...] = ()
    part: nn.Module | None = None

    @property
    def result(self) -> nn.Module:
        """The network whose averaged weights the training returns."""
        return self.network if self.part is None else self.part


def task_of(settings: Training, data: Images, sources: Path | None, spectrum: Path | None) -> Task:
    """The training task of an experiment.

    Args:
        settings: the stage's configuration.
        data: training images or points.
        sources: store of the corrupted half of every pair.
        spectrum: spectrum of the data, if the configuration does not give one.
    """
    if isinstance(settings, RestorationTraining):
        return _restoration(settings, data, sources)
    fitted = {} if spectrum is None else {"spectrum": _spectrum_of(spectrum, data)}
    diffusion = diffusion_of(settings.process, shape_of(data), fitted.get("spectrum", {}))
    card = {"shape": list(diffusion.shape), **fitted}
    if isinstance(settings, GuideTraining):
        return _classifier(settings, data, diffusion, card)
    return _denoiser(settings, data, diffusion, card)


def _spectrum_of(file: Path, data: Any) -> Json:
    """A fitted spectrum.

    Raises:
        UserError: the spectrum was fitted to other data.
    """
    found = artifacts.read_object(file)
    if found.get("data") != data.digest:
        raise UserError("the spectrum was fitted to other data", file, f"fit it to {data.path}")
    return found


def _restoration(settings: RestorationTraining, data: Any, sources: Path | None) -> Task:
    from bridgepipe import corruptions
    from bridgepipe.data import lineage
    from bridgepipe.methods import i2sb

    problem, seed, network = i2sb.Problem(data.image_size, settings), settings.train.seed, settings.network
    made = i2sb.network(data.image_size, settings.cond_x1, seed, network.kind, **network.arguments)
    pairs = lineage.open_sources(sources, data)
    card = _initialised(made, settings, data)
    card |= {} if settings.mask_file is None else {"masks": artifacts.digest_file(settings.mask_file)}
    card |= {} if pairs is None else {"sources": pairs.digest}
    unused = corruptions.unused_modules(settings.corruption)
    if settings.train.distil is not None:
        return _distillation(settings, settings.train.distil, made, problem, pairs, card, unused)
    objective = i2sb.objective(problem, pairs, settings.train)
    return Task(made, objective, card, (_restoration,), (*unused, _distillation))


def _distillation(
    settings: RestorationTraining,
    calls: int,
    teacher: nn.Module,
    problem: Problem,
    pairs: Images | None,
    card: Card,
    unused: tuple[closure.Root, ...],
) -> Task:
    """The task of a student of a trained network."""
    from bridgepipe.methods import distillation, i2sb
    from bridgepipe.networks import published

    kind, arguments, seed = settings.network.kind, settings.network.arguments, settings.train.seed
    student = i2sb.network(problem.image_size, settings.cond_x1, seed, kind, noise=True, **arguments)
    fresh = {name: distillation.FAINT * value for name, value in student.state_dict().items()}
    student.load_state_dict(published.widened(teacher.state_dict(), fresh))
    pair = distillation.Pair(student, copy.deepcopy(teacher))
    objective = distillation.objective(problem, teacher, calls, pairs)
    return Task(pair, objective, card, (_restoration,), unused, part=student)


def _denoiser(settings: ModelTraining | PointTraining, data: Any, diffusion: Diffusion, card: Card) -> Task:
    from bridgepipe.methods import gaussian

    labels, classes = None, None
    drop = settings.drop_labels if isinstance(settings, ModelTraining) else 0.0
    if is_conditional(settings):
        labels, names = _labels(data)
        classes, card = len(names), {**card, "class_names": names}
    num_labels = None if classes is None else classes + (drop > 0)
    kind, seed = settings.network.kind, settings.train.seed
    network = gaussian.network(kind, diffusion, num_labels, seed, **settings.network.arguments)
    card |= _initialised(network, settings, data)
    objective = gaussian.Denoising(diffusion, labels, classes or 0, drop)
    unused = tuple(n for k, n in gaussian.NETWORKS.items() if k != kind)
    return Task(network, objective, card, (_denoiser, diffusion_of, shape_of), unused)


def _classifier(settings: GuideTraining, data: Any, diffusion: Diffusion, card: Card) -> Task:
    from bridgepipe.methods import gaussian

    labels, names = _labels(data)
    pool, seed = settings.pool, settings.train.seed
    network = gaussian.classifier(diffusion, len(names), seed, pool=pool, **settings.network.arguments)
    objective, code = gaussian.classifier_objective(diffusion, labels), (_classifier, diffusion_of, shape_of)
    return Task(
        network, objective, {**card, "class_names": names, **_initialised(network, settings, data)}, code
    )


def is_conditional(settings: Training) -> bool:
    """Whether a network is class-conditional."""
    return isinstance(settings, ModelTraining) and settings.conditional


def _labels(data: Any) -> tuple[np.ndarray, list[str]]:
    """Labels and names of the classes.

    Raises:
        UserError: no labels, or a class without training images.
    """
    if data.labels is None:
        raise UserError("no labels", data.path, "take a dataset with classes, or conditional: false")
    return data.labels, trained_classes(data.labels, data.classes, data.path)


def _initialised(network: nn.Module, settings: Training, data: Any) -> dict[str, str]:
    """Start from the weights that the configuration names; returns what the card records of them."""
    from bridgepipe.downloads import fetch, sources
    from bridgepipe.networks import layouts, published

    how = settings.train
    if how.init is None:
        return {}
    place = sources.place_of(how.init)
    if (source := sources.source_at(place)) is not None:
        fetch.check(source, place)
    found = layouts.open_weights(place, number_of(data))
    weights, wanted = found.weights, network.state_dict()
    if isinstance(settings, RestorationTraining) and settings.train.distil is not None:
        _teaches(settings, found)
    elif isinstance(settings, RestorationTraining) and published.is_adm(weights, wanted):
        weights = published.i2sb_from_adm(weights, settings.cond_x1, settings.train.new_channels, how.seed)
    published.load(network, weights, found.file)
    return {"init": found.sha256}


def _teaches(settings: RestorationTraining, teacher: Found) -> None:
    """Refuse weights that say that they are of no bridge, or of another one than is distilled.

    Raises:
        UserError: with the first setting that differs.
    """
    from bridgepipe.methods import fitting

    said = teacher.card.get("config", {})
    if said.get("method", settings.method) != settings.method:
        raise UserError(f"weights of {said['method']} are no bridge", teacher.file, "name a teacher of i2sb")
    if said.get("train", {}).get("distil") is not None:
        raise UserError("the teacher is itself distilled", teacher.file, "name its own teacher")
    fitting.agree(settings, teacher, teacher.file)


def number_of(data: Any) -> int | None:
    """Number of the domain of points; None of other data."""
    from bridgepipe.datasets.points import DOMAINS

    domain = getattr(data, "card", {}).get("made_by", {}).get("domain")
    return list(DOMAINS).index(domain) if domain in DOMAINS else None


def diffusion_of(
    settings: Noising | PointProcess, shape: tuple[int, ...], spectrum: Mapping[str, float]
) -> Diffusion:
    """The process and the data shape of a Gaussian model.

    Args:
        settings: settings of the process; defaults apply to what they leave out.
        shape: shape of one item.
        spectrum: fitted c1, c2 and m, where the configuration has none; may be empty.
    """
    from bridgepipe.methods.gaussian import Diffusion

    fitted = {key: spectrum[key] for key in SPECTRUM if key in spectrum}
    # the limits of c1, c2 and m are for what a person writes: what was fitted is what the data say
    return Diffusion(shape, Process.of(settings).model_copy(update=fitted))


def open_data(path: Path) -> Any:
    """Images of a store, or points of a file."""
    if path.suffix == ".safetensors":
        from bridgepipe.datasets.points import Points

        return Points(path)
    from bridgepipe.data.store import ImageStore

    return ImageStore(path)


def shape_of(data: Any) -> tuple[int, ...]:
    """Shape of one item as networks see it."""
    return (3, *data.image_size) if hasattr(data, "image_size") else (data.dim,)
