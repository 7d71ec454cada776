"""What does not go together in a translation between classes of images."""

from __future__ import annotations

from contextlib import suppress

from bridgepipe.config import contents
from bridgepipe.config.checks.evaluation import extractors, knows
from bridgepipe.config.checks.shared import (
    Defined,
    Label,
    Problem,
    Problems,
    at_most,
    classes_in,
    folders_in,
    name_of,
    refused_by,
    same_size,
)
from bridgepipe.config.checks.weights import kept, kept_of_both
from bridgepipe.config.data import ImageNet
from bridgepipe.config.ddib import ClassTranslation
from bridgepipe.errors import UserError
from bridgepipe.names import classes, ilsvrc
from bridgepipe.names.nfe import SOLVER_TRAITS
from bridgepipe.names.timesteps import respaced


def translation(e: ClassTranslation, defined: Defined) -> Problems:
    source, target = (defined.experiments[name] for name in e.models)
    images = e.sample.dataset or source.dataset
    size = contents.size_of(defined.datasets[images])
    if what := e.contradiction(defined.experiments):
        yield Problem("", what, "make them agree, or name another model")
    yield from same_size("source_model", source.dataset, size, defined)
    yield from same_size("target_model", target.dataset, size, defined)
    guide = None if e.guide is None else defined.experiments[f"guide/{e.guide}"]
    yield from _class_of("source", e.source, images, defined)
    if source.conditional:
        yield from _class_of("source", e.source, source.dataset, defined)
    yield from _class_of("target", e.target, target.dataset, defined)
    yield from _left_out("source", e.source, images, defined)
    yield from _left_out("target", e.target, target.dataset, defined)
    if source.conditional:
        yield from _same_class("source", e.source, images, source.dataset, defined)
    if guide is not None and e.sample.guidance == "classifier":
        yield from same_size("guide", guide.dataset, size, defined)
        a, b = (contents.classes_of(defined.datasets[name]) for name in (guide.dataset, target.dataset))
        if a is not None and b and (name := name_of(e.target, b)) is not None and name not in a:
            what = f"{guide.dataset} of the guide has no class '{name}', which {target.dataset} has"
            yield Problem("guide", what, "name a guide that knows the target's class")
    yield from kept_of_both("sample.", e.sample, e.models, defined)
    if guided := e.networks.get("guide"):
        yield from kept("sample.guide_weights.", e.sample.of_guide, guided[0], defined)
    yield from _same_end(e, defined)
    yield from _label(e, defined)
    yield from _respacing(e, source.process.T)
    dataset, split = defined.datasets[images], e.sample.split
    name = name_of(e.source, contents.classes_of(dataset))
    for key, count in (("sample.count", e.sample.count), ("cycle", e.cycle)):
        yield from at_most(key, count, dataset, split, None if name is None else (name,))
    yield from extractors(e, defined.datasets[target.dataset], defined)


def _class_of(key: str, label: Label, dataset: str, defined: Defined) -> Problems:
    """A class that a dataset does not have, by its name or its number."""
    known = contents.classes_of(defined.datasets[dataset])
    folders = folders_in(defined.datasets[dataset], defined)
    if label is not None and folders is not None and str(label) not in folders:
        if not str(label).isdecimal():
            yield Problem(key, f"{dataset} has no class '{label}'", value=str(label), names=folders)
        elif int(label) >= len(folders):
            what = f"{dataset} has no class {label}: it has {len(folders) or 'no'} folders"
            yield Problem(key, what, "give the class by its name, or a number from 0 on")
    if label is None or known is None:
        return
    if not known:
        yield Problem(key, f"{dataset} has no classes, and {key} is {label!r}", f"set {key} to null")
        return
    if str(label) not in known and str(label).isdecimal() and any(name.isdecimal() for name in known):
        # a number would be taken for the place in a list of other numbers
        yield Problem(key, f"no class '{label}' in {dataset}", value=str(label), names=known)
        return
    yield from refused_by(key, lambda: classes.number_of(label, known), f" in {dataset}")


def _left_out(key: str, label: Label, dataset: str, defined: Defined) -> Problems:
    """A class that a dataset has, and does not prepare."""
    wanted, known = getattr(defined.datasets[dataset], "classes", None), ilsvrc.classes()
    if label is None or not isinstance(defined.datasets[dataset], ImageNet) or wanted is None:
        return
    with suppress(UserError):  # told elsewhere
        if classes.number_of(label, known) not in {classes.number_of(one, known) for one in wanted}:
            what = f"{dataset} leaves class {label} out"
            yield Problem(key, what, f"add it to datasets.{dataset}.classes")


def _same_class(key: str, label: Label, images: str, trained: str, defined: Defined) -> Problems:
    """A number that means one class of the images and another of the model."""
    a, b = (contents.classes_of(defined.datasets[name]) for name in (images, trained))
    if label is not None and a and b and classes.name_of(label, a) != classes.name_of(label, b):
        yield Problem(key, f"class {label} is not the same in {images} and {trained}", "give it by its name")


def _same_end(e: ClassTranslation, defined: Defined) -> Problems:
    """Images that are taken back to where they come from."""
    if len(set(e.models)) == 1:
        known = classes_in(defined.experiments[e.models[0]].dataset, defined)
        source, target = (name_of(label, known) or label for label in (e.source, e.target))
        if source == target or str(source) == str(target):
            what = (
                f"source and target are both {'null' if source is None else f'class {source}'} of one model"
            )
            yield Problem("target", what, "name another class, or another target_model")


def _label(e: ClassTranslation, defined: Defined) -> Problems:
    """The target's class as the classifier numbers it, where it is given."""
    name, label = e.evaluate.classifier, e.evaluate.label
    extractor = None if name is None else defined.extractors[name]
    if extractor is None:
        return
    if label is None and e.target is None:
        mend = "give the target's class as the classifier names it, or set evaluate.classifier to null"
        yield Problem("evaluate.label", "no target class", mend)
        return
    target = name_of(e.target, classes_in(defined.experiments[e.models[1]].dataset, defined))
    if label is None:
        yield from knows("evaluate.classifier", name, None if target is None else (target,), defined)
        return
    if extractor.dataset is not None:
        yield from _class_of("evaluate.label", label, extractor.dataset, defined)
    else:
        yield from refused_by(
            "evaluate.label", lambda: classes.number_of(label, ilsvrc.classes()), f" in {name}"
        )
    known = ilsvrc.classes() if extractor.dataset is None else classes_in(extractor.dataset, defined)
    if target in (known or ()) and name_of(label, known) not in (target, None):
        what = f"it is class {name_of(label, known)} of {name}, the target is {target}"
        yield Problem("evaluate.label", what, "set it to null")


def _respacing(e: ClassTranslation, T: int) -> Problems:
    try:
        steps = respaced(T, e.sample.respacing)
    except UserError as error:
        yield Problem("sample.respacing", error.what, error.mend)
        return
    least = max(2, SOLVER_TRAITS[e.sample.solver].least_times)
    if not least <= steps <= T:
        what = f"{steps} of the {T} steps of the process with {e.sample.solver}"
        yield Problem("sample.respacing", what, f"take {least} to {T}")
