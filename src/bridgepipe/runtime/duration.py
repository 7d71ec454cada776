"""What a job that calls networks computes, and how long it is given: known from its settings before it runs.

The time is generous, as too short a limit costs a restart, and bounded, as no partition takes any length:
a job that meets its limit saves what it has, goes back into the queue and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from bridgepipe import config
from bridgepipe.names import classes
from bridgepipe.names.nfe import calls, calls_made
from bridgepipe.names.timesteps import respaced
from bridgepipe.runtime.work import FEATURES, POINTS, TRAINED, Net, Work

ON_CPU = 100  # so many times as long
# images of a split whose size is unknown before it is prepared: as many as ImageNet has
TRAINING, HELD_OUT = 1_300_000, 50_000
DISTILLED = 2  # trainings that one step of a student costs, with its bridge and its teacher
PICTURES = 4  # in a figure of a sampling path


def _is_distilled(e: Any) -> bool:
    return getattr(getattr(e, "train", None), "distil", None) is not None


class Durations:
    """Estimates of the stages of experiments."""

    def __init__(
        self,
        experiment: Callable[[str], Any],
        datasets: Mapping[str, Any],
        runtime: Any,
        counted: Callable[[str, str], int | None] = lambda dataset, split: None,
    ) -> None:
        """
        Args:
            experiment: experiment by its name, ``method/name``.
            datasets: datasets by name.
            runtime: section `runtime` of the parameters.
            counted: images of a dataset and split that settings don't tell, where something else does.
        """
        self._counted = counted
        self._experiment, self._datasets, self._runtime = experiment, datasets, runtime

    def minutes(self, least: int, names: str | Iterable[str], stage: str, attempt: int = 1) -> int:
        """Minutes that a job asks for: more at each attempt, never more than ``runtime.longest``.

        Args:
            least: minutes that it asks for at the first attempt in any case.
            names: experiment ``method/name``, or those of one method that the job works on.
            stage: ``sample``, ``path``, ``study``, ``features``; ``cycle`` of translations;
                ``mixing``, ``latents``, ``strips`` of boundaries.
        """
        return self._asked(least, self.work(names, stage).seconds, attempt)

    def statistics(self, least: int, dataset: str, split: str, attempt: int = 1) -> int:
        """Minutes for the features of a whole split."""
        return self._asked(least, self.features(dataset, split).seconds, attempt)

    def work(self, names: str | Iterable[str], stage: str) -> Work:
        """What a stage of experiments computes, one part of it where it is divided; see `minutes`.

        Every training has a stage ``train``.
        """
        every = [names] if isinstance(names, str) else names
        return sum((self._work(name, stage) for name in every), Work())

    def _work(self, name: str, stage: str) -> Work:
        e = self._experiment(name)
        if stage == "train":
            batch, networks = e.train.batch_size, DISTILLED if _is_distilled(e) else 1
            call = self._call(e, min(batch, self._runtime.microbatch or batch))
            return e.train.steps * batch * TRAINED * networks * call
        return _STAGES[name.rsplit("/", 1)[0], stage](self, e)

    def features(self, dataset: str, split: str) -> Work:
        """The features of a whole split."""
        return self.images(dataset, split) * FEATURES

    def _asked(self, least: int, seconds: float, attempt: int) -> int:
        slower = ON_CPU if self._runtime.device == "cpu" else 1
        needed = math.ceil(seconds * slower / self._runtime.processes / 60)
        return min(max(least, needed) * attempt, self._runtime.longest)

    def images(
        self, dataset: str, split: str, count: int | None = None, some: Collection[str] | None = None
    ) -> int:
        """Images of a split, or of some classes in it, at most ``count``.

        Where nothing tells, as many as ImageNet has.
        """
        most = config.most_of(self._datasets[dataset], split, some)
        there = self._counted(dataset, split) if most is None else most
        if there is None:
            there = TRAINING if split == "train" else HELD_OUT
        return there if count is None else min(count, there)

    def _call(self, e: Any, batch: int | None = None) -> Work:
        """One call, for one image of a batch, of the network of an experiment."""
        net = self.net(e)
        return Work({net: 1}, 1 / (batch or (POINTS if net.size is None else self._runtime.batch_size)))

    def results(self, name: str) -> int:
        """Images that an experiment restores, draws, translates, inverts or edits; 0 of others."""
        counts = _RESULTS.get(name.rsplit("/", 1)[0])
        return 0 if counts is None else counts(self, self._experiment(name))

    def net(self, e: Any) -> Net:
        """The network of an experiment that trains one."""
        dataset = self._datasets[e.dataset]
        size, channels = config.size_of(dataset), config.channels_of(dataset)
        beside = getattr(e, "cond_x1", False) + _is_distilled(e)
        learned = getattr(getattr(e, "process", None), "variance", "").startswith("learned")
        return Net(e.network, size, channels * (1 + beside), channels * (1 + learned))

    def _model(self, e: Any) -> Any:
        return self._experiment(f"model/{e.model}")

    # one part of what is divided into parts, else everything

    def _points(self, e: Any) -> Work:
        return e.sample.count * calls(e.sample.solver, e.sample.nfe, inner=True) * self._call(e)

    def _restored(self, e: Any) -> int:
        return self.images(e.sampled, e.sample.split, e.sample.count)

    def _restore(self, e: Any) -> Work:
        return self._part(self._restored(e)) * e.sample.nfe * self._call(e)

    def _path(self, e: Any) -> Work:
        return PICTURES * e.sample.nfe * self._call(e)

    def _generate(self, e: Any) -> Work:
        model, how = self._model(e), e.sample
        return self._part(how.count) * _made(model, how, how.nfe) * self._call(model)

    def _study_restored(self, e: Any) -> Work:
        made = len(e.study.samplers) * sum(e.study.nfe)
        images = self.images(e.sampled, e.sample.split, e.studied)
        return _studied(e, images, made * self._call(e))

    def _study_generated(self, e: Any) -> Work:
        model = self._model(e)
        made = sum(_made(model, how, nfe) for how in e.study.samplers.values() for nfe in e.study.nfe)
        return _studied(e, e.studied, made * self._call(model))

    def _features_restored(self, e: Any) -> Work:
        return 3 * self._restored(e) * FEATURES  # the originals too

    def _features_generated(self, e: Any) -> Work:
        return 3 * e.sample.count * FEATURES  # the floor, and as many samples, too

    def _translated(self, e: Any) -> int:
        dataset = e.sample.dataset or self._experiment(e.models[0]).dataset
        source = classes.name_of(e.source, config.classes_of(self._datasets[dataset]))
        return self.images(dataset, e.sample.split, e.sample.count, None if source is None else [source])

    def _translate(self, e: Any) -> Work:
        return self._part(self._translated(e)) * self._there(e)

    def _cycle(self, e: Any) -> Work:
        everything = self._translated(e)
        return self._part(everything if e.cycle is None else min(e.cycle, everything)) * self._there(e)

    def _there(self, e: Any) -> Work:
        """One image from the source to noise and on to the target, or back."""
        models = [self._experiment(name) for name in e.models]
        dearer = {"none": 1, "free": 2, "classifier": 3}[e.sample.guidance]
        scales = (e.sample.scale_encode, e.sample.scale_decode)
        ways = (
            (dearer if scale else 1) * _one_way(e.sample, m.process.T) * self._call(m)
            for m, scale in zip(models, scales, strict=True)
        )
        return sum(ways, Work())

    def _features_translated(self, e: Any) -> Work:
        target = self._experiment(e.models[1]).dataset
        return (4 * self._translated(e) + self.images(target, e.evaluate.reference)) * FEATURES

    def _inverted(self, e: Any) -> int:
        splits = (e.search.split, e.search.test)
        return sum(self.images(e.dataset, split, e.search.inverted) for split in splits)

    def _mixing(self, e: Any) -> Work:
        there = calls(e.inversion.solver, e.mixing.count - 1, inner=True)
        return e.mixing.images * there * self._call(self._model(e))

    def _latents(self, e: Any) -> Work:
        there = calls(e.inversion.solver, e.inversion.count - 1, inner=True)
        return self._inverted(e) * there * self._call(self._model(e))

    def _strips(self, e: Any) -> Work:
        """All distances, and the pictures without an edit."""
        made = calls(e.edit.solver, e.edit.count, inner=False) * (e.edit.n + 2)
        made += e.edit.generate if e.edit.source == "samples" else 0
        return e.edit.images * made * self._call(self._model(e))

    def _features_edited(self, e: Any) -> Work:
        real = self.images(e.dataset, e.search.split) + self.images(e.dataset, e.search.test)
        return (e.edit.images * (e.edit.n + 3) + real) * FEATURES

    def _part(self, images: int) -> int:
        return math.ceil(images / self._runtime.partitions)


_STAGES: dict[tuple[str, str], Callable[[Durations, Any], Work]] = {
    ("i2sb", "sample"): Durations._restore,
    ("i2sb", "path"): Durations._path,
    ("i2sb", "study"): Durations._study_restored,
    ("i2sb", "features"): Durations._features_restored,
    ("spd", "sample"): Durations._generate,
    ("spd", "study"): Durations._study_generated,
    ("spd", "features"): Durations._features_generated,
    ("ddib/sample", "sample"): Durations._points,
    ("ddib/classes", "sample"): Durations._translate,
    ("ddib/classes", "cycle"): Durations._cycle,
    ("ddib/classes", "features"): Durations._features_translated,
    ("boundary", "mixing"): Durations._mixing,
    ("boundary", "latents"): Durations._latents,
    ("boundary", "strips"): Durations._strips,
    ("boundary", "features"): Durations._features_edited,
}


_RESULTS: dict[str, Callable[[Durations, Any], int]] = {
    "i2sb": Durations._restored,
    "spd": lambda self, e: e.sample.count,
    "ddib/classes": Durations._translated,
    "boundary": Durations._inverted,
}


def _studied(e: Any, images: int, calls: Work) -> Work:
    """A study with these calls for one image: its points are measured, too."""
    return images * (calls + len(e.study.samplers) * len(e.study.nfe) * FEATURES)


def _made(model: Any, how: Any, nfe: int) -> int:
    """Network calls for one sample of a model."""
    return calls_made(model.process.T, how.sampler, nfe, how.spacing)


def _one_way(how: Any, T: int) -> int:
    """Network calls of one way of a translation, the dearer one."""
    inner = how.grid == "exact"
    return calls(how.solver, respaced(T, how.respacing) - inner, inner)
