"""Judges of whether an edit changed an attribute: a measure, the classes, or a classifier trained for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import attributes
from bridgepipe.datasets.attributes import values_and_cut
from bridgepipe.datasets.patches import pictures_of
from bridgepipe.errors import UserError
from bridgepipe.evaluation.accuracy import classes_of
from bridgepipe.evaluation.extractors import load_extractor
from bridgepipe.evaluation.strips import ByClass, Judge, Measured, Strips
from bridgepipe.names.classes import brief, numbers_in
from bridgepipe.runtime import running

if TYPE_CHECKING:
    from bridgepipe.config.boundary import BoundaryMeasures

SIDES = ("without", "with")  # classes of a judge


def open_strips(edited: ImageStore, control: ImageStore, plain: ImageStore, data: ImageStore) -> Strips:
    def read(store: ImageStore, items: Iterable[int] | None = None) -> np.ndarray:
        return np.stack([store[int(i)] for i in (range(len(store)) if items is None else items)])

    n, images = len(plain), read(edited)
    distances = edited.array("distance")[: len(edited) // n]
    originals = kinds = sources = None
    if "item" in plain.card["arrays"]:
        items = plain.array("item")
        sources = None if (cut := pictures_of(data, items)) is None else np.array(cut)
        originals, kinds = read(data, items), None if data.labels is None else data.labels[items]
    strips = images.reshape(n, len(distances), *images.shape[1:])
    return Strips(strips, distances, read(control), read(plain), originals, kinds, sources)


def load_judge(settings: BoundaryMeasures, weights: Path, real: ImageStore, speed: Any) -> Any:
    """What knows the classes of the images, or a classifier of the attribute that was trained on them.

    Raises:
        UserError: the judge knows other classes, judges another attribute, or was trained on other images.
    """
    kind = "classifier" if weights.suffix == ".safetensors" else "resnet50"
    known: Any = load_extractor(kind, weights, device=running.placed(speed.device).device)
    if settings.classifier is not None:
        numbers_in(classes_of(known), real.classes, known.name, real.path)
        return known
    if sorted(classes_of(known)) != sorted(SIDES):
        what = f"a classifier of {brief(known.classes)}, no judge of an attribute"
        raise UserError(what, weights, "train the judge of this experiment")
    if other := settings.differs_from(known.card.get("config", settings.as_json())):
        raise UserError(f"a judge {other}", weights, "train the judge of this experiment")
    if known.card.get("data", real.digest) != real.digest:
        raise UserError("the judge was trained on other images", weights, f"train it on {real.path}")
    return known


def judge_of(
    settings: BoundaryMeasures, real: ImageStore, known: Any, values: np.ndarray, cut: float
) -> Judge | None:
    """The judge of an attribute of edited images: a measure, the classes, or a classifier trained for it.

    None for an attribute that only classes give, if no classifier of them is configured.

    Raises:
        UserError: the classifier knows the classes, and the attribute does not follow from them.
    """
    name = settings.attribute
    if (measure := attributes.measures(real).get(name)) is not None:
        # stored values may be those of images of another size: cut where as many lie below
        found = [measure(real[i]) for i in range(len(real))]
        return Measured(measure, float(np.quantile(found, (values <= cut).mean())), f"{name}, measured")
    if settings.classifier is None:
        return None
    has = attributes.with_it(known.classes, name)
    if has is None:
        mend = "set it to null, so that a judge is trained"
        raise UserError(f"the classes don't tell {name}", "evaluate.classifier", mend)
    against = attributes.with_it(known.classes, settings.against or "")
    here = np.isin(known.classes, real.classes or [])
    return ByClass(
        known, has & here, (~has if against is None else against) & here, "classifier of the classes"
    )


def judge_of_the_edit(
    settings: BoundaryMeasures, real: ImageStore, known: Any, values: np.ndarray, cut: float
) -> Judge:
    """The judge of the edited attribute: `judge_of`, or the classifier that was trained for it."""
    if (found := judge_of(settings, real, known, values, cut)) is not None:
        return found
    lacks, has = (np.array(known.classes) == side for side in SIDES)
    return ByClass(known, has, lacks, "classifier of the attribute")


def keepers(settings: BoundaryMeasures, real: ImageStore, known: Any) -> dict[str, Judge]:
    """Judges of the attributes that edits should preserve; attributes that nothing can judge are left out."""
    found = {}
    for name in settings.preserved:
        other = settings.model_copy(update={"attribute": name, "against": None})
        if (judge := judge_of(other, real, known, *values_and_cut(real, other))) is not None:
            found[name] = judge
    return found
