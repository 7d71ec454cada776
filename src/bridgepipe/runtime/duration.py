"""How long a job that calls networks is given: an estimate from what it computes, made before it runs.

It is generous, as too short a limit costs a restart, and bounded, as no partition takes any length:
a job that meets its limit saves what it has, goes back into the queue and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bridgepipe import config
from bridgepipe.names.nfe import calls, calls_made
from bridgepipe.names.timesteps import respaced

# Seconds of a call for one image. I2SB's network of 256 x 256 pixels does 1.4e10 `_operations`, and an H100
# takes 15.9 ms for it in tf32 (docs/gpu.md), 1.1e-12 s for each; GPUs that are four years older take three
# to four times as long. Small networks wait for the launch of their kernels.
PER_OPERATION = 4e-12
PER_CALL = 5e-4
PER_FEATURE = 0.02  # reading an image, and its features by Inception or ResNet-50
ON_CPU = 100  # so many times as long
# images of a split where only data can tell: as many as ImageNet has
TRAINING, HELD_OUT = 1_300_000, 50_000
PICTURES = 4  # in a figure of a sampling path


class Durations:
    """Estimates of the stages of experiments."""

    def __init__(self, experiment: Callable[[str], Any], datasets: Mapping[str, Any], runtime: Any) -> None:
        """
        Args:
            experiment: experiment by its name, ``method/name``.
            datasets: datasets by name.
            runtime: section `runtime` of the parameters.
        """
        self._experiment, self._datasets, self._runtime = experiment, datasets, runtime

    def minutes(self, least: int, names: str | Iterable[str], stage: str, attempt: int = 1) -> int:
        """Minutes that a job asks for: more at each attempt, never more than ``runtime.longest``.

        Args:
            least: minutes that it asks for at the first attempt in any case.
            names: experiment ``method/name``, or those of one method that the job works on.
            stage: ``sample``, ``path``, ``study``, ``features``; ``cycle`` of translations;
                ``mixing``, ``latents``, ``strips`` of boundaries.
        """
        every = [names] if isinstance(names, str) else [*names]
        seconds = _STAGES[every[0].rsplit("/", 1)[0], stage]
        return self._asked(least, sum(seconds(self, self._experiment(name)) for name in every), attempt)

    def statistics(self, least: int, dataset: str, split: str, attempt: int = 1) -> int:
        """Minutes for the features of a whole split."""
        return self._asked(least, self._images(dataset, split) * PER_FEATURE, attempt)

    def _asked(self, least: int, seconds: float, attempt: int) -> int:
        slower = ON_CPU if self._runtime.device == "cpu" else 1
        needed = math.ceil(seconds * slower / self._runtime.processes / 60)
        return min(max(least, needed) * attempt, self._runtime.longest)

    def _images(self, dataset: str, split: str, count: int | None = None) -> int:
        most = config.most_of(self._datasets[dataset], split)
        there = most if most is not None else (TRAINING if split == "train" else HELD_OUT)
        return there if count is None else min(count, there)

    def _call(self, e: Any) -> float:
        """Seconds of one call, for one image, of the network that a model describes."""
        size = config.size_of(self._datasets[e.dataset]) or (1, 1)
        return PER_CALL + PER_OPERATION * _operations(e.network, size)

    def _model(self, e: Any) -> Any:
        return self._experiment(f"model/{e.model}")

    # one part of what is divided into parts, else everything

    def _restored(self, e: Any) -> int:
        return self._images(e.sampled, e.sample.split, e.sample.count)

    def _restore(self, e: Any) -> float:
        return self._part(self._restored(e)) * e.sample.nfe * self._call(e)

    def _path(self, e: Any) -> float:
        return PICTURES * e.sample.nfe * self._call(e)

    def _generate(self, e: Any) -> float:
        model, how = self._model(e), e.sample
        return self._part(how.count) * _made(model, how, how.nfe) * self._call(model)

    def _study_restored(self, e: Any) -> float:
        made = len(e.study.samplers) * sum(e.study.nfe)
        images = self._images(e.sampled, e.sample.split, e.studied)
        return _studied(e, images, made * self._call(e))

    def _study_generated(self, e: Any) -> float:
        model = self._model(e)
        made = sum(_made(model, how, nfe) for how in e.study.samplers.values() for nfe in e.study.nfe)
        return _studied(e, e.studied, made * self._call(model))

    def _features_restored(self, e: Any) -> float:
        return 3 * self._restored(e) * PER_FEATURE  # the originals too

    def _features_generated(self, e: Any) -> float:
        return 3 * e.sample.count * PER_FEATURE  # the floor, and as many samples, too

    def _translated(self, e: Any) -> int:
        dataset = e.sample.dataset or self._experiment(e.models[0]).dataset
        return self._images(dataset, e.sample.split, e.sample.count)

    def _translate(self, e: Any) -> float:
        return self._part(self._translated(e)) * self._there(e)

    def _cycle(self, e: Any) -> float:
        everything = self._translated(e)
        return self._part(everything if e.cycle is None else min(e.cycle, everything)) * self._there(e)

    def _there(self, e: Any) -> float:
        """Seconds of one image from the source to noise and on to the target, or back."""
        models = [self._experiment(name) for name in e.models]
        dearer = {"none": 1, "free": 2, "classifier": 3}[e.sample.guidance]
        scales = (e.sample.scale_encode, e.sample.scale_decode)
        return sum(
            _one_way(e.sample, m.process.T) * self._call(m) * (dearer if scale else 1)
            for m, scale in zip(models, scales, strict=True)
        )

    def _features_translated(self, e: Any) -> float:
        target = self._experiment(e.models[1]).dataset
        return (4 * self._translated(e) + self._images(target, e.evaluate.reference)) * PER_FEATURE

    def _mixing(self, e: Any) -> float:
        there = calls(e.inversion.solver, e.mixing.count - 1, inner=True)
        return e.mixing.images * there * self._call(self._model(e))

    def _latents(self, e: Any) -> float:
        images = sum(
            self._images(e.dataset, split, e.search.inverted) for split in (e.search.split, e.search.test)
        )
        there = calls(e.inversion.solver, e.inversion.count - 1, inner=True)
        return images * there * self._call(self._model(e))

    def _strips(self, e: Any) -> float:
        """All distances, and the pictures without an edit."""
        made = calls(e.edit.solver, e.edit.count, inner=False) * (e.edit.n + 2)
        made += e.edit.generate if e.edit.source == "samples" else 0
        return e.edit.images * made * self._call(self._model(e))

    def _features_edited(self, e: Any) -> float:
        real = self._images(e.dataset, e.search.split) + self._images(e.dataset, e.search.test)
        return (e.edit.images * (e.edit.n + 3) + real) * PER_FEATURE

    def _part(self, images: int) -> int:
        return math.ceil(images / self._runtime.partitions)


_STAGES: dict[tuple[str, str], Callable[[Durations, Any], float]] = {
    ("i2sb", "sample"): Durations._restore,
    ("i2sb", "path"): Durations._path,
    ("i2sb", "study"): Durations._study_restored,
    ("i2sb", "features"): Durations._features_restored,
    ("spd", "sample"): Durations._generate,
    ("spd", "study"): Durations._study_generated,
    ("spd", "features"): Durations._features_generated,
    ("ddib/classes", "sample"): Durations._translate,
    ("ddib/classes", "cycle"): Durations._cycle,
    ("ddib/classes", "features"): Durations._features_translated,
    ("boundary", "mixing"): Durations._mixing,
    ("boundary", "latents"): Durations._latents,
    ("boundary", "strips"): Durations._strips,
    ("boundary", "features"): Durations._features_edited,
}


def _operations(network: Any, size: tuple[int, int]) -> float:
    """Pixels x channels^2 of every level x blocks, which the convolutions' work is in proportion to."""
    width, factors = (
        (network.ch, network.ch_mult)
        if getattr(network, "kind", "") == "ddpm"
        else (network.model_channels, network.channel_mult)
    )
    levels = (size[0] * size[1] / 4**level * (width * factor) ** 2 for level, factor in enumerate(factors))
    return network.num_res_blocks * sum(levels)


def _studied(e: Any, images: int, seconds: float) -> float:
    """Seconds of a study whose calls for one image take so many: its points are measured, too."""
    return images * (seconds + len(e.study.samplers) * len(e.study.nfe) * PER_FEATURE)


def _made(model: Any, how: Any, nfe: int) -> int:
    """Network calls for one sample of a model."""
    return calls_made(model.process.T, how.sampler, nfe, how.spacing)


def _one_way(how: Any, T: int) -> int:
    """Network calls of one way of a translation, the dearer one."""
    inner = how.grid == "exact"
    return calls(how.solver, respaced(T, how.respacing) - inner, inner)
