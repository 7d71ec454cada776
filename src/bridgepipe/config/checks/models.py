"""Trained models, restorations, samples and points: what does not go with their data and with each other."""

from __future__ import annotations

import json
from typing import Any

from bridgepipe.config import contents
from bridgepipe.config.builtin import ColorCloud
from bridgepipe.config.checks.evaluation import classified, extractors, validating
from bridgepipe.config.checks.shared import (
    Defined,
    Problem,
    Problems,
    at_most,
    calls,
    folders_in,
    pixels,
    same_size,
)
from bridgepipe.config.checks.weights import kept_of_both
from bridgepipe.config.colors import ColorTransfer
from bridgepipe.config.gaussian import Generation, Guide, Model
from bridgepipe.config.i2sb import I2SB, Restoration, distilled_sampling
from bridgepipe.config.points import Domain, PointModel, PointTranslation, SolverSettings
from bridgepipe.config.validation import Validation
from bridgepipe.names import degradations, origins
from bridgepipe.names.released import WEIGHTS


def i2sb(e: I2SB, defined: Defined) -> Problems:
    dataset, sampled = defined.datasets[e.dataset], defined.datasets[e.sampled]
    if contents.is_paired(dataset) != (e.corruption == degradations.PAIRED):
        mend = "corruption: paired goes with a dataset of pairs (pairs, photo-edges), and only with one"
        yield Problem("corruption", f"corruption is '{e.corruption}'", mend)
    if contents.is_paired(dataset) != contents.is_paired(sampled):
        yield Problem("sample.dataset", "one dataset is pairs, the other is not", "name two of one kind")
    size = contents.size_of(dataset)
    if size is not None and (found := e.contradiction(size)):
        yield Problem(found[0], found[1], "take images of another size, or change it")
    yield from same_size("sample.dataset", e.sampled, size, defined)
    yield from at_most("sample.count", e.sample.count, sampled, e.sample.split)
    if e.study is not None:
        yield from at_most("study.count", e.study.count, sampled, e.sample.split)
    yield from weights(e, defined)
    yield from distilled(e, defined)
    yield from extractors(e, dataset, defined)
    yield from classified(e.evaluate.classifier, sampled, defined)


def distilled(e: I2SB, defined: Defined) -> Problems:
    """A student without a teacher, with one of another bridge, or sampled otherwise than it is trained."""
    if (calls := e.train.distil) is None or e.train.published is not None:
        return
    if e.train.init is None:
        yield Problem("train.distil", "there is no teacher", "name a trained bridge in train.init")
        return
    name = origins.experiment_of(e.train.init)
    if name is not None and name in defined.experiments and e.train.init not in WEIGHTS:
        yield from _taught(e, name, defined)
    for key, wanted in distilled_sampling(calls).items():
        if (found := getattr(e.sample, key)) != wanted:
            what = f"the student is distilled for {key} {wanted}, not {found}"
            yield Problem(f"sample.{key}", what, f"set it to {wanted}")
    how = e.train.validation
    if how is not None and how.draws and how.nfe != calls:
        yield Problem("train.validation.nfe", f"the student makes {calls}", f"set it to {calls}")
    if e.study is not None:
        yield Problem("study", "a student makes one number of calls", "leave it out, or set it to null")


def _taught(e: I2SB, name: str, defined: Defined) -> Problems:
    """A teacher that is no trained bridge, or another one than the student is to be."""
    teacher = defined.experiments[name]
    if not isinstance(teacher, I2SB):
        yield Problem("train.init", f"{name} is no bridge", "name an experiment of i2sb")
        return
    if teacher.train.distil is not None:
        yield Problem("train.init", f"{name} is itself distilled", "name its teacher")
    for key in ("network", *(key for key in Restoration.model_fields if key != "mask_file")):
        if (its := getattr(teacher, key)) != getattr(e, key):
            shown = "another" if key == "network" else json.dumps(its)
            yield Problem(key, f"the teacher {name} has {shown}", f"take that of {name}")
    size, own = (contents.size_of(defined.datasets[of.dataset]) for of in (teacher, e))
    if size and own and size != own:
        what = f"the teacher {name} is of {pixels(size)}, {e.dataset} of {pixels(own)}"
        yield Problem("dataset", what, "name a dataset of images of that size")


def weights(e: Any, defined: Defined) -> Problems:
    """Weights that the training of the network does not keep."""
    recipe = e.train if hasattr(e, "train") else defined.experiments[f"model/{e.model}"].train
    if found := e.sample.missing(recipe):
        yield Problem(f"sample.{found[0]}", *found[1:])


# what a validation can measure of a method, beside the loss
MEASURED: dict[type[Any], tuple[str, ...]] = {
    I2SB: ("psnr", "fid", "accuracy"),
    Model: ("fid", "accuracy"),
    Guide: ("accuracy",),
}


def validation(e: Any, defined: Defined) -> Problems:
    """A validation that the training of the network cannot make."""
    if (how := e.train.validated) is None:
        return
    dataset = defined.datasets[e.dataset]
    known = next((known for kind, known in MEASURED.items() if isinstance(e, kind)), ())
    for metric in how.metrics:
        if metric not in known:
            mend = f"choose from {', '.join(known)}" if known else "leave metrics out: the loss is measured"
            yield Problem("train.validation.metrics", f"{metric} is not measured of this method", mend)
    if how.grid and not isinstance(e, I2SB | Model):
        yield Problem("train.validation.grid", "this method draws no images", "set it to 0")
    yield from _recognised(e, how)
    yield from at_most("train.validation.images", how.images, dataset, how.split)
    if how.draws and isinstance(e, I2SB) and how.nfe >= e.interval:
        mend = f"take at most {e.interval - 1}"
        yield Problem("train.validation.nfe", f"{how.nfe} calls of a bridge of {e.interval} steps", mend)
    if how.draws and isinstance(e, Model):
        yield from calls("train.validation.nfe", e.process.T, "ddim", how.nfe, "uniform")
    yield from validating(how, dataset, defined)


def _recognised(e: Any, how: Validation) -> Problems:
    """An accuracy of samples without classes, a measure without its extractor, or an extractor too many."""
    extracted = [metric for metric in how.metrics if metric != "psnr"]
    if "accuracy" in how.metrics and isinstance(e, Model) and not e.conditional:
        what, mend = "samples of an unconditional model have no class", "leave accuracy out"
        yield Problem("train.validation.metrics", what, mend)
    if isinstance(e, Guide):
        if how.extractor is not None:
            mend = "leave it out"
            yield Problem("train.validation.extractor", "a guide is itself the classifier", mend)
    elif extracted and how.extractor is None:
        mend = "set train.validation.extractor"
        yield Problem("train.validation.metrics", f"{extracted[0]} needs an extractor", mend)


def model(e: Model | Guide, defined: Defined) -> Problems:
    yield from _trained_size(e, e.dataset, defined)
    size = contents.size_of(defined.datasets[e.dataset])
    if size is not None and (what := e.process.contradiction(size)):
        mend = "take c1, c2 and m nearer to the published 1.59, 0.0086 and 2, or variant: exact"
        yield Problem("process.c1", what, mend)
    if isinstance(e, Guide) or e.conditional:
        yield from _labelled("dataset", e.dataset, defined)


def _labelled(key: str, name: str, defined: Defined) -> Problems:
    known = contents.classes_of(defined.datasets[name])
    if known is None and folders_in(defined.datasets[name], defined) == ():
        known = ()
    if known is not None and len(known) < 2:
        yield Problem(key, f"{name} has {len(known) or 'no'} classes", "name a dataset with classes")


def _trained_size(e: Any, dataset: str, defined: Defined) -> Problems:
    """A network that images of this size don't fit."""
    size = contents.size_of(defined.datasets[dataset])
    if size is None:
        return
    if getattr(e.network, "kind", "") == "ddpm" and size[0] != size[1]:
        yield Problem("network.kind", f"ddpm takes square images, not {pixels(size)}", "take kind: adm")
    if found := e.network.contradiction(size):
        yield Problem(f"network.{found[0]}", found[1], "change one of them")


def generation(e: Generation, defined: Defined) -> Problems:
    T = defined.experiments[f"model/{e.model}"].process.T
    yield from calls("sample.nfe", T, e.sample.sampler, e.sample.nfe, e.sample.spacing)
    for how in e.study.samplers.values() if e.study else ():
        for nfe in e.study.nfe if e.study else ():
            yield from calls("study.nfe", T, how.sampler, nfe, how.spacing)
    yield from weights(e, defined)
    yield from extractors(e, defined.dataset_of(e), defined)


def points(e: PointModel, defined: Defined) -> Problems:
    if isinstance(e, Domain):
        how = e.sample
        yield from weights(e, defined)
        yield from calls("sample.nfe", e.process.T, how.solver, how.nfe, how.spacing)
        encode = SolverSettings(solver=how.solver, nfe=how.nfe, spacing=how.spacing)
        yield from _times("sample.nfe", encode, e.process.T)
        yield from at_most("sample.latents", e.sample.latents, defined.datasets[e.dataset], "test")


def between(e: PointTranslation | ColorTransfer, defined: Defined) -> Problems:
    (first, _), (second, _) = e.networks
    source, target = (defined.experiments[name] for name in (first, second))
    yield from kept_of_both("", e, (first, second), defined)
    if (source.process.schedule, source.process.T) != (target.process.schedule, target.process.T):
        yield Problem("target", "both models have different processes", "train both with one schedule and T")
        return
    yield from _times("translate.nfe", e.translate, source.process.T)
    a, b = (defined.datasets[model.dataset] for model in (source, target))
    if isinstance(e, PointTranslation):
        for name, settings in e.cycle.items():
            yield from _times(f"cycle.{name}.nfe", settings, source.process.T)
        yield from at_most("count", e.count, a, "test")
        yield from at_most("cycle_count", e.cycle_count, a, "test")
    elif isinstance(a, ColorCloud) and isinstance(b, ColorCloud):
        if a.space != b.space:
            yield Problem("target", f"colours of {a.space} and of {b.space}", "take one space for both")
        if _stem(a.image) == _stem(b.image):
            yield Problem("target", f"two photographs called {_stem(a.image)}", "rename one of them")


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0] or path


def _times(key: str, settings: SolverSettings, T: int) -> Problems:
    if settings.nfe is not None:
        inner = settings.grid == "exact"
        yield from calls(key, T, settings.solver, settings.nfe, settings.spacing, least=2, inner=inner)
