"""What does not go together in params.yaml: experiments with the data, models and extractors that they name.

The limits of single values stand in `bridgepipe.config`; here is what takes two sections to see. What only
data can tell, such as the classes of an own folder, is left to the jobs that read them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridgepipe import classes, ilsvrc, names
from bridgepipe.config import data
from bridgepipe.config.boundary import BoundarySearch
from bridgepipe.config.data import ColorCloud, Digits, Folder, Pairs
from bridgepipe.config.ddib import ClassTranslation
from bridgepipe.config.gaussian import Generation, Guide, Model
from bridgepipe.config.i2sb import I2SB
from bridgepipe.config.points import ColorTransfer, Domain, PointModel, PointTranslation, PointWalk
from bridgepipe.config.unread import unread
from bridgepipe.config.values import Strict
from bridgepipe.errors import UserError
from bridgepipe.nfe import SOLVER_TRAITS, num_times
from bridgepipe.released import WEIGHTS
from bridgepipe.timesteps import respaced, truncated


@dataclass(frozen=True)
class Problem:
    """What does not go together.

    Attributes:
        key: dotted key of the experiment or the extractor.
        what: is wrong with it.
        mend: how to put it right.
        value, names: an unknown name and the valid ones, in place of ``mend``.
    """

    key: str
    what: str
    mend: str = ""
    value: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Defined:
    """What experiments can name at one scale.

    Attributes:
        datasets, extractors: by their names.
        experiments: by ``method/name``.
    """

    datasets: Mapping[str, Strict]
    extractors: Mapping[str, Any]
    experiments: Mapping[str, Any]

    def dataset_of(self, experiment: Any) -> Strict:
        """The dataset of an experiment, or of its model."""
        name = getattr(experiment, "dataset", None) or self.experiments[f"model/{experiment.model}"].dataset
        return self.datasets[name]


Problems = Iterator[Problem]
Label = int | str | None


def problems(full: str, e: Any, own: Mapping[str, Any], defined: Defined) -> Problems:
    """Everything that does not go together in an experiment whose names are all defined.

    Args:
        full: ``method/name``.
        e: the merged experiment.
        own: what is written in the experiment itself, without what it inherits.
    """
    for key, why in unread(e, own):
        yield Problem(key, f"nothing reads it: {why}", "remove it")
    yield from _kinds(e, defined)
    for kind, check in CHECKS.items():
        if isinstance(e, kind):
            yield from check(e, defined)
    if getattr(e, "train", None) is not None and e.train.published is not None:
        yield from _released(full, e, defined)


def extractor_problems(extractor: Any, datasets: Mapping[str, Strict]) -> Problems:
    """What a trained extractor asks of its dataset."""
    if extractor.dataset is None:
        return
    dataset = datasets[extractor.dataset]
    known = data.classes_of(dataset)
    if data.is_points(dataset):
        yield Problem("dataset", f"{extractor.dataset} is points", "name a dataset of images")
    elif known is not None and len(known) < 2:
        mend = "name a dataset with at least two classes"
        yield Problem("dataset", f"{extractor.dataset} has {len(known) or 'no'} classes", mend)
    elif missing := {"train", "val"} - set(data.splits_of(dataset)):
        mend = "a classifier is trained on train and tested on val"
        yield Problem("dataset", f"{extractor.dataset} has no split {min(missing)}", mend)


# data


def _kinds(e: Any, defined: Defined) -> Problems:
    """Datasets of the wrong kind: images, points of the plane, or colours."""
    wanted = "colors" if type(e) is PointModel else "points" if isinstance(e, Domain) else "images"
    for key, (section, name) in e.references().items():
        if section != "datasets":
            continue
        dataset = defined.datasets[name]
        found = dataset.model_dump()["source"] if data.is_points(dataset) else "images"
        if found != wanted:
            yield Problem(key, f"{name} is {found}, not {wanted}", f"name a dataset of {wanted}")


def _size(key: str, dataset: str, wanted: tuple[int, int] | None, defined: Defined) -> Problems:
    """A dataset whose images have another size."""
    size = data.size_of(defined.datasets[dataset])
    if size is not None and wanted is not None and size != wanted:
        what = f"images of {dataset} have {_pixels(size)}, not {_pixels(wanted)}"
        yield Problem(key, what, "name data of one size")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def _at_most(
    key: str, count: int | None, dataset: Strict, split: str, some: Collection[str] | None = None
) -> Problems:
    """More items than a split, or some classes in it, have."""
    most = data.most_of(dataset, split, some)
    if count is not None and most is not None and count > most:
        of = "" if some is None else f" that are {classes.brief(sorted(some))}"
        yield Problem(key, f"{count} of the {most} items of split {split}{of}", f"take at most {most}")


def _refused(key: str, call: Callable[[], object], where: str = "") -> Problems:
    """What a function of other modules refuses."""
    try:
        call()
    except UserError as error:
        yield Problem(key, error.what + where, error.mend)


def _extractors(e: Any, dataset: Strict, defined: Defined) -> Problems:
    """Extractors that were made for other images, for images of another size, or that know no classes."""
    size = data.size_of(dataset)
    yield from _same_pictures(e.evaluate.extractor, dataset, defined)
    for key in ("extractor", "classifier"):
        name = getattr(e.evaluate, key, None)
        extractor = None if name is None else defined.extractors[name]
        if extractor is None:
            continue
        if key == "classifier" and extractor.kind == "inception":
            yield Problem(f"evaluate.{key}", "inception tells no classes", "name a classifier, or resnet50")
        if extractor.dataset is not None:
            trained = data.size_of(defined.datasets[extractor.dataset])
            if trained and size and trained != size:
                what = f"{name} was trained on {_pixels(trained)}, the images have {_pixels(size)}"
                yield Problem(f"evaluate.{key}", what, "name one that was trained on images of this size")


def _same_pictures(name: str, dataset: Strict, defined: Defined) -> Problems:
    """A classifier as the extractor of pictures that it was not trained on."""
    extractor = defined.extractors[name]
    trained = defined.datasets.get(extractor.dataset) if extractor.dataset is not None else None
    if trained is None:
        return
    mend = "name a classifier that is trained on these images, or inception"
    if data.pictures_of(trained) != data.pictures_of(dataset):
        what = f"{name} was trained on {extractor.dataset}, which holds other pictures"
        yield Problem("evaluate.extractor", what, mend)
    else:
        yield from _knows("evaluate.extractor", name, data.classes_of(dataset), defined, mend)


def _knows(
    key: str, name: str | None, wanted: Sequence[str] | None, defined: Defined, mend: str = ""
) -> Problems:
    """A classifier that lacks a class of the images, as far as params.yaml tells both lists."""
    extractor = None if name is None else defined.extractors[name]
    if extractor is None or wanted is None or extractor.kind == "inception":
        return
    trained = None if extractor.dataset is None else defined.datasets[extractor.dataset]
    known = tuple(ilsvrc.classes()) if trained is None else data.classes_of(trained)
    mend = mend or "name a classifier of these classes, or null"
    if not wanted:
        yield Problem(key, f"the images have no classes, {name} tells some", mend)
    elif known is not None and not set(wanted) <= set(known):
        shown = classes.brief(wanted)
        yield Problem(key, f"{name} knows the classes {classes.brief(known)}, the images are {shown}", mend)


def _classified(name: str | None, dataset: Strict, defined: Defined) -> Problems:
    """A classifier that does not know the classes of images that it is to name."""
    key, wanted = "evaluate.classifier", data.classes_of(dataset)
    yield from _knows(key, name, wanted, defined)
    folders = _folders(dataset, defined)
    if name is None or folders is None:
        return
    extractor = defined.extractors[name]
    trained = None if extractor.dataset is None else defined.datasets[extractor.dataset]
    known = ilsvrc.classes() if trained is None else data.classes_of(trained)
    if known and not set(folders) & set(known):
        shown = classes.brief(folders) or "none"
        what = f"{name} knows the classes {classes.brief(known)}, the folders of the images are {shown}"
        yield Problem(key, what, "name a classifier of these classes, or null")


def _folders(dataset: Strict, defined: Defined) -> tuple[str, ...] | None:
    """Names of an own folder's folders, its classes among them; None of other data, or not there yet."""
    if data.classes_of(dataset) is not None:
        return None
    folders = data.folders_of(dataset)
    return None if folders is None else tuple(sorted(folders))


def _labelled(key: str, name: str, defined: Defined) -> Problems:
    known = data.classes_of(defined.datasets[name])
    if known is None and _folders(defined.datasets[name], defined) == ():
        known = ()
    if known is not None and len(known) < 2:
        yield Problem(key, f"{name} has {len(known) or 'no'} classes", "name a dataset with classes")


def _trained_size(e: Any, dataset: str, defined: Defined) -> Problems:
    """A network that images of this size don't fit."""
    size = data.size_of(defined.datasets[dataset])
    if size is None:
        return
    if getattr(e.network, "kind", "") == "ddpm" and size[0] != size[1]:
        yield Problem("network.kind", f"ddpm takes square images, not {_pixels(size)}", "take kind: adm")
    if found := e.network.contradiction(size):
        yield Problem(f"network.{found[0]}", found[1], "change one of them")


# methods


def _i2sb(e: I2SB, defined: Defined) -> Problems:
    dataset, sampled = defined.datasets[e.dataset], defined.datasets[e.sampled]
    if data.is_paired(dataset) != (e.corruption == names.PAIRED):
        mend = "corruption: paired goes with a dataset of pairs (pairs, photo-edges), and only with one"
        yield Problem("corruption", f"corruption is '{e.corruption}'", mend)
    if data.is_paired(dataset) != data.is_paired(sampled):
        yield Problem("sample.dataset", "one dataset is pairs, the other is not", "name two of one kind")
    size = data.size_of(dataset)
    if size is not None and (found := e.contradiction(size)):
        yield Problem(found[0], found[1], "take images of another size, or change it")
    yield from _size("sample.dataset", e.sampled, size, defined)
    yield from _at_most("sample.count", e.sample.count, sampled, e.sample.split)
    if e.study is not None:
        yield from _at_most("study.count", e.study.count, sampled, e.sample.split)
    yield from _extractors(e, dataset, defined)
    yield from _classified(e.evaluate.classifier, sampled, defined)


def _model(e: Model | Guide, defined: Defined) -> Problems:
    yield from _trained_size(e, e.dataset, defined)
    size = data.size_of(defined.datasets[e.dataset])
    if size is not None and (what := e.process.contradiction(size)):
        mend = "take c1, c2 and m nearer to the published 1.59, 0.0086 and 2, or variant: exact"
        yield Problem("process.c1", what, mend)
    if isinstance(e, Guide) or e.conditional:
        yield from _labelled("dataset", e.dataset, defined)


def _generation(e: Generation, defined: Defined) -> Problems:
    T = defined.experiments[f"model/{e.model}"].process.T
    yield from _calls("sample.nfe", T, e.sample.sampler, e.sample.nfe, e.sample.spacing)
    for how in e.study.walks.values() if e.study else ():
        for nfe in e.study.nfe if e.study else ():
            yield from _calls("study.nfe", T, how.sampler, nfe, how.spacing)
    yield from _extractors(e, defined.dataset_of(e), defined)


def _calls(key: str, T: int, solver: str, nfe: int, spacing: str, **way: Any) -> Problems:
    """A number of calls that the process, the solver and the spacing don't give."""
    yield from _refused(key, lambda: num_times(T, solver, nfe, spacing, **way))


def _translation(e: ClassTranslation, defined: Defined) -> Problems:
    source, target = (defined.experiments[name] for name in e.models)
    images = e.sample.dataset or source.dataset
    size = data.size_of(defined.datasets[images])
    if what := e.contradiction(defined.experiments):
        yield Problem("", what, "make them agree, or name another model")
    yield from _size("source_model", source.dataset, size, defined)
    yield from _size("target_model", target.dataset, size, defined)
    guide = None if e.guide is None else defined.experiments[f"guide/{e.guide}"]
    yield from _class_of("source", e.source, images, defined)
    if source.conditional:
        yield from _class_of("source", e.source, source.dataset, defined)
    yield from _class_of("target", e.target, target.dataset, defined)
    if source.conditional:
        yield from _same_class("source", e.source, images, source.dataset, defined)
    if guide is not None and e.sample.guidance == "classifier":
        yield from _size("guide", guide.dataset, size, defined)
        a, b = (data.classes_of(defined.datasets[name]) for name in (guide.dataset, target.dataset))
        if a is not None and b and (name := _name_of(e.target, b)) is not None and name not in a:
            what = f"{guide.dataset} of the guide has no class '{name}', which {target.dataset} has"
            yield Problem("guide", what, "name a guide that knows the target's class")
    yield from _same_end(e, defined)
    yield from _label(e, defined)
    yield from _respacing(e, source.process.T)
    dataset, split = defined.datasets[images], e.sample.split
    name = _name_of(e.source, data.classes_of(dataset))
    for key, count in (("sample.count", e.sample.count), ("cycle", e.cycle)):
        yield from _at_most(key, count, dataset, split, None if name is None else (name,))
    yield from _extractors(e, defined.datasets[target.dataset], defined)


def _class_of(key: str, label: Label, dataset: str, defined: Defined) -> Problems:
    """A class that a dataset does not have, by its name or its number."""
    known = data.classes_of(defined.datasets[dataset])
    folders = _folders(defined.datasets[dataset], defined)
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
    yield from _refused(key, lambda: classes.number_of(label, known), f" in {dataset}")


def _classes(dataset: str, defined: Defined) -> tuple[str, ...] | None:
    return data.classes_of(defined.datasets[dataset])


def _name_of(label: Label, known: Sequence[str] | None) -> str | None:
    """Name of a class; None when params.yaml does not tell it, or when it is refused elsewhere."""
    try:
        return classes.name_of(label, known) if known else None
    except UserError:
        return None


def _same_class(key: str, label: Label, images: str, trained: str, defined: Defined) -> Problems:
    """A number that means one class of the images and another of the model."""
    a, b = (data.classes_of(defined.datasets[name]) for name in (images, trained))
    if label is not None and a and b and classes.name_of(label, a) != classes.name_of(label, b):
        yield Problem(key, f"class {label} is not the same in {images} and {trained}", "give it by its name")


def _same_end(e: ClassTranslation, defined: Defined) -> Problems:
    """Images that are taken back to where they come from."""
    if len(set(e.models)) == 1:
        known = _classes(defined.experiments[e.models[0]].dataset, defined)
        source, target = (_name_of(label, known) or label for label in (e.source, e.target))
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
    target = _name_of(e.target, _classes(defined.experiments[e.models[1]].dataset, defined))
    if label is None:
        yield from _knows("evaluate.classifier", name, None if target is None else (target,), defined)
        return
    if extractor.dataset is not None:
        yield from _class_of("evaluate.label", label, extractor.dataset, defined)
    else:
        yield from _refused(
            "evaluate.label", lambda: classes.number_of(label, ilsvrc.classes()), f" in {name}"
        )
    known = ilsvrc.classes() if extractor.dataset is None else _classes(extractor.dataset, defined)
    if target in (known or ()) and _name_of(label, known) not in (target, None):
        what = f"it is class {_name_of(label, known)} of {name}, the target is {target}"
        yield Problem("evaluate.label", what, "set it to null")


def _respacing(e: ClassTranslation, T: int) -> Problems:
    try:
        kept = respaced(T, e.sample.respacing)
    except UserError as error:
        yield Problem("sample.respacing", error.what, error.mend)
        return
    least = max(2, SOLVER_TRAITS[e.sample.solver].least_times)
    if not least <= kept <= T:
        what = f"{kept} of the {T} steps of the process with {e.sample.solver}"
        yield Problem("sample.respacing", what, f"take {least} to {T}")


def _boundary(e: BoundarySearch, defined: Defined) -> Problems:
    model, dataset = defined.experiments[f"model/{e.model}"], defined.datasets[e.dataset]
    if model.conditional:
        yield Problem("model", f"model {e.model} is conditional", "name one with conditional: false")
    yield from _size("dataset", e.dataset, data.size_of(defined.datasets[model.dataset]), defined)
    yield from _attributes(e, dataset, defined)
    yield from _steps(e, model.process.T)
    yield from _halves(e, dataset)
    if e.edit.source == "images":
        yield from _at_most("edit.images", e.edit.images, dataset, e.search.test)
    yield from _extractors(e, dataset, defined)
    yield from _classified(e.evaluate.classifier, dataset, defined)


def _attributes(e: BoundarySearch, dataset: Strict, defined: Defined) -> Problems:
    """Attributes that the data don't have, or that nothing can tell of an edited image."""
    known, of_labels = data.attributes_of(dataset), data.classes_of(dataset)
    if known is None or of_labels is None:
        yield from _folder_attributes(e, _folders(dataset, defined))
        return
    written = {"attribute": e.attribute, "evaluate.kept": e.evaluate.kept}
    against = tuple(name for name in known if name not in names.DIGIT_MEASURES)
    if not known:
        yield Problem("dataset", f"{e.dataset} has neither attributes nor classes", "name another dataset")
        return
    for key, named in written.items():
        for name in (named,) if isinstance(named, str) else named:
            if name not in known:
                yield Problem(key, f"{e.dataset} has no attribute '{name}'", value=name, names=known)
    if e.against is not None and e.against not in against:
        yield Problem(
            "against", f"{e.dataset} has no class '{e.against}'", value=e.against, names=of_labels or against
        )
    measures = names.DIGIT_MEASURES if set(names.DIGIT_MEASURES) <= set(known) else ()
    computed = names.DIGIT_LABELS if isinstance(dataset, Digits) else ()
    told = (*measures, *computed, *of_labels)
    if e.evaluate.classifier is not None:
        for key, name in (
            ("evaluate.classifier", e.attribute),
            *(("evaluate.kept", n) for n in e.evaluate.kept),
        ):
            if name in known and name not in told:
                mend = "set evaluate.classifier to null, so that a judge is trained"
                yield Problem(key, f"the classes don't tell {name}", mend)


def _halves(e: BoundarySearch, dataset: Strict) -> Problems:
    """Images with and without the attribute: whether there are both, and enough."""
    if e.attribute in names.DIGIT_MEASURES:
        yield from _measured(e, dataset)
        return
    for key, unset in (("threshold", None), ("middle", 0.0)):
        if getattr(e.search, key) != unset:
            mend = f"set it to {'null' if unset is None else 0}"
            yield Problem(f"search.{key}", f"{e.attribute} is either there or not", mend)
    known, split = set(data.classes_of(dataset) or ()), e.search.split
    having = known & set(names.DIGITS_WITH.get(e.attribute, (e.attribute,)))
    against = known if e.against is None else known & set(names.DIGITS_WITH.get(e.against, (e.against,)))
    lacking = against - having
    told = known and against  # others only the data can tell
    if told and not (having and lacking):
        what = f"no image of {e.dataset} {'has' if not having else 'lacks'} {e.attribute}"
        yield Problem("attribute" if e.against is None else "against", what, "name another")
        return
    for key, count in (("mixing.images", e.mixing.images), ("search.images", e.search.images)):
        yield from _at_most(key, count, dataset, split, having | lacking if told else None)
    if not told:
        return
    fewer = min(having, lacking, key=lambda half: data.most_of(dataset, split, half) or 0)
    yield from _at_most("mixing.folds", e.mixing.folds, dataset, split, fewer)


def _measured(e: BoundarySearch, dataset: Strict) -> Problems:
    """An attribute that is a number, which a threshold cuts."""
    if e.against is not None:
        yield Problem("against", f"{e.attribute} is measured on every image", "set it to null")
    least, most = names.DIGIT_RANGES[e.attribute]
    if e.search.threshold is not None and not least < e.search.threshold < most:
        what = f"{e.attribute} is between {least} and {most}, the threshold {e.search.threshold}"
        yield Problem("search.threshold", what, "take a number between them, or null")
    count = data.most_of(dataset, e.search.split)
    left = None if count is None else count - round(e.search.middle * count)
    for key, wanted in (("mixing.images", e.mixing.images), ("search.images", e.search.images)):
        if left is not None and wanted is not None and left < wanted:
            what = f"{wanted} of the {left} images that search.middle: {e.search.middle} leaves"
            yield Problem(key, what, f"take at most {left}, or a smaller middle")


def _folder_attributes(e: BoundarySearch, folders: tuple[str, ...] | None) -> Problems:
    """Attributes of own images, which are the names of their folders."""
    if folders is None:
        return
    kept = [("evaluate.kept", name) for name in e.evaluate.kept]
    for key, name in [("attribute", e.attribute), ("against", e.against), *kept]:
        if name is not None and name not in folders:
            yield Problem(key, f"{e.dataset} has no folder '{name}'", value=name, names=folders)


def _steps(e: BoundarySearch, T: int) -> Problems:
    """Indices that the process, or the way to the edited step, does not have."""
    if e.mixing.last >= T:
        yield Problem("mixing.last", f"{e.mixing.last} of a process of {T} steps", f"take 1 to {T - 1}")
        return
    last = T - 2 if e.edit.source == "samples" else T - 1
    if e.t is not None and e.t > last:
        yield Problem("search.t", f"{e.t} of a process of {T} steps", f"take 1 to {last}")
        return
    edited = [e.t] if e.t is not None else e.mixing.measured
    for key, count in (("inversion.count", e.inversion.count), ("edit.count", e.edit.count)):
        if count > min(edited) + 1:
            may = "is" if e.t is not None else "may be"
            what = f"{count} indices from 0 to the edited step, which {may} {min(edited)}"
            yield Problem(key, what, f"take at most {min(edited) + 1}")
    if e.edit.source == "samples":
        yield from _visited(e, T, edited)


def _visited(e: BoundarySearch, T: int, edited: list[int]) -> Problems:
    if e.edit.generate > T:
        yield Problem("edit.generate", f"{e.edit.generate} indices of {T}", f"take at most {T}")
        return
    visited = set(truncated(T - 1, e.edit.generate))
    missed = [t for t in edited if t not in visited]
    if e.edit.variant == "published" and missed:
        near = min(visited, key=lambda t: abs(t - missed[0]))
        what = f"the published way from noise in {e.edit.generate} indices does not visit step {missed[0]}"
        yield Problem("edit.generate", what, f"take another number, or search.t: {near}, or variant: exact")


def _points(e: PointModel, defined: Defined) -> Problems:
    if isinstance(e, Domain):
        how = e.sample
        yield from _calls("sample.nfe", e.process.T, how.solver, how.nfe, how.spacing)
        encode = PointWalk(solver=how.solver, nfe=how.nfe, spacing=how.spacing)
        yield from _walk("sample.nfe", encode, e.process.T)
        yield from _at_most("sample.latents", e.sample.latents, defined.datasets[e.dataset], "test")


def _between(e: PointTranslation | ColorTransfer, defined: Defined) -> Problems:
    section = e.references()["source"][0]
    source, target = (defined.experiments[f"{section}/{name}"] for name in (e.source, e.target))
    if (source.process.schedule, source.process.T) != (target.process.schedule, target.process.T):
        yield Problem("target", "both models have different processes", "train both with one schedule and T")
        return
    yield from _walk("translate.nfe", e.translate, source.process.T)
    a, b = (defined.datasets[model.dataset] for model in (source, target))
    if isinstance(e, PointTranslation):
        for name, walk in e.cycle.items():
            yield from _walk(f"cycle.{name}.nfe", walk, source.process.T)
        yield from _at_most("count", e.count, a, "test")
        yield from _at_most("cycle_count", e.cycle_count, a, "test")
    elif isinstance(a, ColorCloud) and isinstance(b, ColorCloud):
        if a.space != b.space:
            yield Problem("target", f"colours of {a.space} and of {b.space}", "take one space for both")
        if _stem(a.image) == _stem(b.image):
            yield Problem("target", f"two photographs called {_stem(a.image)}", "rename one of them")


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0] or path


def _walk(key: str, walk: PointWalk, T: int) -> Problems:
    if walk.nfe is not None:
        inner = walk.grid == "exact"
        yield from _calls(key, T, walk.solver, walk.nfe, walk.spacing, least=2, inner=inner)


CHECKS: dict[Any, Callable[[Any, Defined], Problems]] = {
    I2SB: _i2sb,
    Model: _model,
    Guide: _model,
    Generation: _generation,
    ClassTranslation: _translation,
    BoundarySearch: _boundary,
    PointModel: _points,
    PointTranslation: _between,
    ColorTransfer: _between,
}


# published weights


def _released(full: str, e: Any, defined: Defined) -> Problems:
    """Weights of another method, another network, or data of another size or number of classes."""
    key, name, method = "train.published", e.train.published, full.rsplit("/", 1)[0]
    weights = WEIGHTS.get(name)
    if weights is None or weights.method != method:
        fitting = tuple(n for n, w in WEIGHTS.items() if w.method == method)
        what = f"unknown source '{name}'" if weights is None else f"{name} is of {weights.method}"
        if not fitting:
            yield Problem(key, what, f"there are no published weights of {method}: set it to null")
        else:
            yield Problem(key, what, value=name, names=fitting)
        return
    for setting, expected, found in weights.differences(e):
        what = f"{name} has {setting} {expected}, the experiment {found}"
        yield Problem(setting, what, f"set it to {expected}, or import other weights")
    dataset = defined.datasets[e.dataset]
    size, known = data.size_of(dataset), data.classes_of(dataset)
    if weights.size is not None and size not in (None, (weights.size, weights.size)):
        what = (
            f"{name} is of {weights.size} x {weights.size} pixels, {e.dataset} of {_pixels(size or (0, 0))}"
        )
        yield Problem("dataset", what, "name a dataset of that size, or other weights")
    if weights.trained_on is not None and not _fits(dataset, weights.trained_on):
        what = f"{name} was trained on {' '.join(filter(None, weights.trained_on))}, not on {e.dataset}"
        yield Problem("dataset", what, "name that dataset, or other weights")
    if weights.classes is not None and known is not None and len(known) != weights.classes:
        what = f"{name} has {weights.classes} classes, {e.dataset} {len(known)}"
        yield Problem("dataset", what, "name the dataset that it was trained on, or other weights")


def _fits(dataset: Strict, trained_on: tuple[str, str | None]) -> bool:
    """Whether a dataset may hold pictures of what weights know: of one's own pictures a person knows it."""
    values = dataset.model_dump()
    part = values.get("category") or values.get("domain")
    return isinstance(dataset, Folder | Pairs) or (
        values["source"] == trained_on[0] and part in (None, trained_on[1])
    )
