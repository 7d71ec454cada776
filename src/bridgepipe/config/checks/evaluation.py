"""Extractors and classifiers that do not go with the images that they measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridgepipe.config import contents
from bridgepipe.config.checks.shared import Defined, Problem, Problems, folders_in, pixels
from bridgepipe.config.validation import Validation
from bridgepipe.config.values import Strict
from bridgepipe.names import classes, ilsvrc


def extractor_problems(extractor: Any, datasets: Mapping[str, Strict]) -> Problems:
    """What a trained extractor asks of its dataset."""
    if extractor.dataset is None:
        return
    dataset = datasets[extractor.dataset]
    known = contents.classes_of(dataset)
    if contents.is_points(dataset):
        yield Problem("dataset", f"{extractor.dataset} is points", "name a dataset of images")
    elif known is not None and len(known) < 2:
        mend = "name a dataset with at least two classes"
        yield Problem("dataset", f"{extractor.dataset} has {len(known) or 'no'} classes", mend)
    elif missing := {"train", "val"} - set(contents.splits_of(dataset)):
        mend = "a classifier is trained on train and tested on val"
        yield Problem("dataset", f"{extractor.dataset} has no split {min(missing)}", mend)


def extractors(e: Any, dataset: Strict, defined: Defined) -> Problems:
    """Extractors that were made for other images, for images of another size, or that know no classes."""
    yield from _same_pictures("evaluate.extractor", e.evaluate.extractor, dataset, defined)
    for key in ("extractor", "classifier"):
        if (name := getattr(e.evaluate, key, None)) is not None:
            yield from _takes(f"evaluate.{key}", name, dataset, defined, key == "classifier")


def validating(how: Validation, dataset: Strict, defined: Defined) -> Problems:
    """The extractor of a validation, which was made for other images or knows no classes."""
    key, name = "train.validation.extractor", how.extractor
    if name is None:
        return
    yield from _takes(key, name, dataset, defined, "accuracy" in how.metrics)
    if "fid" in how.metrics:
        yield from _same_pictures(key, name, dataset, defined)
    if "accuracy" in how.metrics:
        yield from classified(name, dataset, defined, key)


def _takes(key: str, name: str, dataset: Strict, defined: Defined, classes: bool) -> Problems:
    """An extractor for images of another size, or, where it is to tell classes, one that tells none."""
    extractor, size = defined.extractors[name], contents.size_of(dataset)
    if classes and extractor.kind == "inception":
        yield Problem(key, "inception tells no classes", "name a classifier, or resnet50")
    if extractor.dataset is not None:
        trained = contents.size_of(defined.datasets[extractor.dataset])
        if trained and size and trained != size:
            what = f"{name} was trained on {pixels(trained)}, the images have {pixels(size)}"
            yield Problem(key, what, "name one that was trained on images of this size")


def _same_pictures(key: str, name: str, dataset: Strict, defined: Defined) -> Problems:
    """A classifier as the extractor of pictures that it was not trained on."""
    extractor = defined.extractors[name]
    trained = defined.datasets.get(extractor.dataset) if extractor.dataset is not None else None
    if trained is None:
        return
    mend = "name a classifier that is trained on these images, or inception"
    if contents.pictures_of(trained) != contents.pictures_of(dataset):
        what = f"{name} was trained on {extractor.dataset}, which holds other pictures"
        yield Problem(key, what, mend)
    else:
        yield from knows(key, name, contents.classes_of(dataset), defined, mend)


def knows(
    key: str, name: str | None, wanted: Sequence[str] | None, defined: Defined, mend: str = ""
) -> Problems:
    """A classifier that lacks a class of the images, if params.yaml determines both lists."""
    extractor = None if name is None else defined.extractors[name]
    if extractor is None or wanted is None or extractor.kind == "inception":
        return
    trained = None if extractor.dataset is None else defined.datasets[extractor.dataset]
    known = tuple(ilsvrc.classes()) if trained is None else contents.classes_of(trained)
    mend = mend or "name a classifier of these classes, or null"
    if not wanted:
        yield Problem(key, f"the images have no classes, {name} tells some", mend)
    elif known is not None and not set(wanted) <= set(known):
        shown = classes.brief(wanted)
        yield Problem(key, f"{name} knows the classes {classes.brief(known)}, the images are {shown}", mend)


def classified(
    name: str | None, dataset: Strict, defined: Defined, key: str = "evaluate.classifier"
) -> Problems:
    """A classifier that does not know the classes of images that it is to name."""
    wanted = contents.classes_of(dataset)
    yield from knows(key, name, wanted, defined)
    folders = folders_in(dataset, defined)
    if name is None or folders is None:
        return
    extractor = defined.extractors[name]
    trained = None if extractor.dataset is None else defined.datasets[extractor.dataset]
    known = ilsvrc.classes() if trained is None else contents.classes_of(trained)
    if known and not set(folders) & set(known):
        shown = classes.brief(folders) or "none"
        what = f"{name} knows the classes {classes.brief(known)}, the folders of the images are {shown}"
        yield Problem(key, what, "name a classifier of these classes, or null")
