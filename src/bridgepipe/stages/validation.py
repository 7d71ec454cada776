"""How a training is validated: the loss and the metrics of averaged weights on images that it never sees.

Which images they are, their noise and their times depend on the image alone, so that all validations of a
training measure the same, and two trainings with one seed, too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bridgepipe import artifacts
from bridgepipe.config.gaussian import Generate, GuideTraining, ModelTraining
from bridgepipe.config.i2sb import RestorationTraining, Sample
from bridgepipe.config.points import PointTraining
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import Training
from bridgepipe.config.validation import Validation
from bridgepipe.data import lineage
from bridgepipe.data.subset import choose
from bridgepipe.errors import UserError
from bridgepipe.evaluation import fid, restoration
from bridgepipe.evaluation.accuracy import classifier_accuracy
from bridgepipe.evaluation.extractors import Extractor, check_fits, describe
from bridgepipe.methods import distillation, gaussian, i2sb, spd
from bridgepipe.methods.task import Task, diffusion_of, open_data
from bridgepipe.methods.trained import HeldOut, load_extractor
from bridgepipe.names import Json
from bridgepipe.runtime.rng import BlockNoise, ItemNoise, Noise
from bridgepipe.runtime.running import Inference, shared_by_all
from bridgepipe.training.objective import Batch, Images, Learning, Objective
from bridgepipe.training.validation import Measured, Validator

PURPOSE = "validation"


# items -> what a network makes of them, and for restored images what it made them from; uint8 [b,H,W,C] each
Draw = Callable[[Sequence[int]], tuple[np.ndarray, ...]]


def validator(
    settings: Training,
    task: Task,
    held_out: HeldOut,
    noise: type[ItemNoise] | type[BlockNoise],
    speed: Runtime,
) -> Validator | None:
    """How the training of an experiment is validated; None: it is not.

    Args:
        settings: configuration of the training.
        task: task of the training; its network is copied.
        held_out: what is read.
        noise: source of the randomness of an item.
        speed: device, precision and batch size.

    Raises:
        UserError: no data, or not those that the settings ask for.
    """
    if (how := settings.train.validation) is None:
        return None
    if held_out.validation is None:
        what, mend = "nothing to validate on", "give --validation, or leave train.validation out"
        raise UserError(what, "train.validation", mend)
    data = open_data(held_out.validation)
    sources = lineage.open_sources(held_out.validation_sources, data)
    files = held_out.extractor_files
    extractor = None if files is None else load_extractor(files, speed)
    if extractor is not None:
        check_fits(extractor, data)
    statistics = None if held_out.statistics is None else fid.Statistics.load(held_out.statistics)
    identity: Json = {
        "settings": how.numbers,
        "data": data.digest,
        "sources": None if sources is None else sources.digest,
        "extractor": None if extractor is None else describe(extractor),
        "statistics": None if held_out.statistics is None else artifacts.digest_file(held_out.statistics),
    }
    items = choose(how.images, len(data), getattr(data, "labels", None)).tolist()
    measure = _Measure(
        _objectives(settings, how, task, data, sources),
        data,
        items,
        partial(noise, settings.train.seed, PURPOSE),
        how,
        *_drawing(settings, how, task, data, items, sources, speed),
        extractor,
        statistics,
    )
    return Validator(how, identity, measure)


def _objectives(
    settings: Training, how: Validation, task: Task, data: Any, sources: Images | None
) -> dict[str, Objective]:
    """What is averaged over the images, by name: the loss, and whether a guide is right."""
    found = {"loss": _objective(settings, task, data, sources)}
    if isinstance(settings, GuideTraining) and "accuracy" in how.metrics:
        found["accuracy"] = gaussian.classifier_hits(_diffusion(settings, task), data.labels)
    return found


def _objective(settings: Training, task: Task, data: Any, sources: Images | None) -> Objective:
    """The loss of the training, of other images; times are drawn as at its beginning."""
    if isinstance(settings, RestorationTraining):
        problem, calls = i2sb.Problem(data.image_size, settings), settings.train.distil
        if calls is not None:
            return distillation.error(problem, calls, sources)
        return i2sb.objective(problem, sources, settings.train)
    diffusion = _diffusion(settings, task)
    if isinstance(settings, GuideTraining):
        return gaussian.classifier_objective(diffusion, data.labels)
    if not isinstance(settings, ModelTraining) or not settings.conditional:
        return gaussian.Denoising(diffusion)
    return gaussian.Denoising(diffusion, data.labels, len(task.card["class_names"]), settings.drop_labels)


def _diffusion(settings: ModelTraining | GuideTraining | PointTraining, task: Task) -> gaussian.Diffusion:
    return diffusion_of(settings.process, tuple(task.card["shape"]), task.card.get("spectrum", {}))


def _drawing(
    settings: Training,
    how: Validation,
    task: Task,
    data: Any,
    items: list[int],
    sources: Images | None,
    speed: Runtime,
) -> tuple[Inference, Draw | None, _Classes]:
    """A copy of the network at work, what it makes of the images of some numbers, and the classes of that.

    None in place of a drawing: no images.
    """
    network: Any = copy.deepcopy(task.result)
    seed = settings.train.seed
    if isinstance(settings, RestorationTraining):
        problem, calls = i2sb.Problem(data.image_size, settings), settings.train.distil
        restorer = i2sb.Restorer(network, problem, "", seed, speed, calls)
        restoring = Sample(nfe=how.nfe)

        def restore(items: Sequence[int]) -> tuple[np.ndarray, ...]:
            found = restorer.restore(data, items, restoring, sources)
            return found.image, found.corrupted

        labels = None if data.labels is None else data.labels[items]
        return restorer, restore, _Classes(data.classes, labels)
    if not isinstance(settings, ModelTraining):
        return Inference(network, speed), None, _Classes()
    names = task.card.get("class_names")
    classes = None if names is None else len(names)
    null = classes if settings.drop_labels else None
    model = gaussian.Model(network, _diffusion(settings, task), "", classes, null, names, seed, speed)
    sampling = Generate(sampler="ddim", nfe=how.nfe)
    labels = spd.labels_of(model, items)
    drawn_of = _Classes(names, None if labels is None else labels.numpy())
    return model, lambda items: (spd.images(model, items, sampling),), drawn_of


@dataclass(frozen=True)
class _Classes:
    """Classes that images ought to show: their names, and the number of that of every image."""

    names: Sequence[str] | None = None
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class _Measure:
    """What weights are worth on some items of data that training never sees."""

    objectives: Mapping[str, Objective]
    data: Any
    items: list[int]
    noise: Callable[..., Noise]
    how: Validation
    model: Inference
    draw: Draw | None
    classes: _Classes
    extractor: Extractor | None
    statistics: fid.Statistics | None

    def __call__(self, weights: Mapping[str, Tensor]) -> Measured:
        self.model.network.load_state_dict(weights, assign=True)  # no copy: it is read here alone
        values = {name: self._mean(objective) for name, objective in self.objectives.items()}
        if self.draw is None or not self.how.draws:
            return Measured(values)
        wanted = self.items if self.how.metrics else self.items[: self.how.grid]
        rows = shared_by_all(self.draw, wanted, self.model.batch_size, f"{PURPOSE}: images")
        images, *degraded = (np.concatenate(column) for column in zip(*rows, strict=True))
        values |= self._metrics(images)
        return Measured(values, self._picture(images, *degraded) if self.how.grid else None)

    def _mean(self, objective: Objective) -> float:
        if isinstance(objective, Learning):
            objective.begin()
        each = partial(self._each, objective)
        rows = shared_by_all(each, self.items, self.model.batch_size, PURPOSE)
        return float(torch.cat(rows).double().mean())

    @torch.no_grad()
    def _each(self, objective: Objective, items: Sequence[int]) -> Tensor:
        images, device = self.data.batch(items), self.model.device
        batch = Batch(images.to(device), list(items), self.noise(items, device))
        with self.model.autocast():
            return objective(self.model.network, batch).float().cpu()

    def _metrics(self, images: np.ndarray) -> dict[str, float]:
        asked, size, found = self.how.metrics, self.model.batch_size, {}
        if "psnr" in asked:
            originals = (self.data[i] for i in self.items)
            found["psnr"] = float(np.mean(list(map(restoration.psnr, images, originals))))
        if "fid" in asked and self.extractor is not None and self.statistics is not None:
            statistics = fid.statistics(self.extractor, images, size, label=f"{PURPOSE}: fid")
            found["fid"] = fid.fid(statistics, self.statistics)
        if "accuracy" in asked:
            shown = self.classes
            share = classifier_accuracy(self.extractor, images, shown.labels, size, shown.names)
            found["accuracy"] = share.accuracy
        return found

    def _picture(self, images: np.ndarray, degraded: np.ndarray | None = None) -> np.ndarray:
        """Originals, degraded and restored images, a row each; or samples in a square."""
        shown = images[: self.how.grid]
        if degraded is None:
            return tiled(shown, math.ceil(math.sqrt(len(shown))))
        originals = np.stack([self.data[i] for i in self.items[: len(shown)]])
        return tiled(np.concatenate([originals, degraded[: len(shown)], shown]), len(shown))


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Images uint8 [N,H,W,3] in one, row by row; white where the last row has too few."""
    rows = -(-len(images) // columns)
    cells = np.full((rows * columns, *images.shape[1:]), 255, np.uint8)
    cells[: len(images)] = images
    _, height, width, channels = cells.shape
    grid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)
