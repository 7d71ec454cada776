"""Attributes of the images of a store: what it has stored, and what is computed of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bridgepipe.data.store import ImageStore
from bridgepipe.data.subset import choose
from bridgepipe.datasets import digits
from bridgepipe.errors import UserError
from bridgepipe.names import DIGIT_MEASURES, PHOTO_MEASURES

if TYPE_CHECKING:
    from bridgepipe.config.boundary_settings import OfAttribute

Measure = Callable[[np.ndarray], float]


def ink(image: np.ndarray) -> float:
    """Mean brightness of uint8 ``[H, W, C]``, in [0, 1]: how thick the strokes are."""
    return float(image.mean() / 255)


def slant(image: np.ndarray) -> float:
    """Tangent of the angle by which the shape in uint8 ``[H, W, C]`` leans to the right; 0 of a black one."""
    weight = image.mean(axis=2)
    return digits.slant(weight) if weight.any() else 0.0


def brightness(image: np.ndarray) -> float:
    """Mean luminance (BT.601) of uint8 ``[H, W, 3]``, in [0, 1]."""
    return float(image.mean((0, 1)) @ (0.299, 0.587, 0.114) / 255)


def warmth(image: np.ndarray) -> float:
    """How much redder than blue uint8 ``[H, W, 3]`` is in the mean, in [-1, 1]; 0 of a grey one."""
    red, _, blue = image.mean((0, 1))
    return float(red - blue) / 255


# Measured on an image, so they can be measured on an edited one too.
MEASURES: dict[str, Measure] = {"ink": ink, "slant": slant, "brightness": brightness, "warmth": warmth}
# A function of the digit itself.
BY_LABEL: dict[str, Callable[[int], bool]] = {
    "loop": lambda digit: digit in digits.HAS_LOOP,
    "even": lambda digit: digit % 2 == 0,
}


def names(store: ImageStore) -> list[str]:
    """Attributes that `attribute` finds in the store."""
    computed = [*measures(store), *(BY_LABEL if _is_digits(store) else ())]
    classes = store.classes if store.classes is not None and store.labels is not None else []
    return sorted({*store.card["attributes"], *computed, *classes})


def measures(store: ImageStore) -> dict[str, Measure]:
    """What is measured on images like those of a store, none that one of its classes is called."""
    digits_alone = _is_digits(store) or set(DIGIT_MEASURES) <= set(store.card["attributes"])
    found = DIGIT_MEASURES if digits_alone else PHOTO_MEASURES
    return {name: MEASURES[name] for name in found if name not in (store.classes or ())}


def with_it(classes: Sequence[str] | None, name: str) -> np.ndarray | None:
    """Which classes have an attribute, bool ``[classes]``; None when it is no function of the class."""
    if classes is None:
        return None
    if name in BY_LABEL and set(classes) <= set(digits.CLASSES):
        return np.array([BY_LABEL[name](int(digit)) for digit in classes])
    has = np.array([_alike(other, name) for other in classes])
    return has if has.any() else None


def attribute(store: ImageStore, name: str) -> np.ndarray:
    """Values ``[N]`` of an attribute: as stored, of a class, or computed.

    ==============  ==========================================================================
    a class         1 for its members, by the label
    ``loop``        of digits: 1 for 0, 6, 8 and 9, by the label
    ``even``        of digits: 1 for even ones, by the label
    ``ink``         of digits: mean brightness in [0, 1]
    ``slant``       of digits: shear of the second moments, the tangent of the angle, to the right above 0
    ``brightness``  of other images: mean luminance in [0, 1]
    ``warmth``      of other images: mean of red less that of blue, in [-1, 1]
    ==============  ==========================================================================

    Raises:
        UserError: no such attribute; the nearest name is given.
    """
    known = names(store)
    name = next((other for other in (name, *known) if other in known and _alike(other, name)), name)
    if name in store.card["attributes"]:
        return store.array(name)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"
        raise UserError(f"unknown attribute {name!r}", store.path, hint)
    classes = with_it(store.classes, name)
    if classes is not None:
        return classes[store.array("labels")].astype(np.int64)
    return np.array([MEASURES[name](store[i]) for i in range(len(store))])


def _alike(name: str, other: str) -> bool:
    """Whether two names differ by case at most."""
    return name.casefold() == other.casefold()


def threshold(values: np.ndarray) -> float:
    """Where an attribute is cut in two: midway between two values, at the median of more.

    Args:
        values: values of the training images; the cut they give holds for every other split.

    Raises:
        UserError: all values are the same.
    """
    distinct = np.unique(values)
    if len(distinct) < 2:
        raise UserError("all images have the same value", "attribute", "choose another attribute")
    return float(distinct.mean()) if len(distinct) == 2 else float(np.median(values))


def binary(values: np.ndarray, cut: float) -> np.ndarray:
    """1 where the attribute is above the cut, else 0; int64 ``[N]``."""
    return (np.asarray(values) > cut).astype(np.int64)


def clear(values: np.ndarray, cut: float, middle: float) -> np.ndarray:
    """Ascending indices of the images that are clearly above or below the cut.

    Args:
        middle: share of the images, those nearest the cut, that is left out, in [0, 1). Of a continuous
            attribute they are neither; of one with two values leave out none.
    """
    nearest_first = np.argsort(np.abs(np.asarray(values) - cut), kind="stable")
    return np.sort(nearest_first[round(middle * len(values)) :])


def chosen(
    images: ImageStore, values: np.ndarray, cut: float, seed: int, count: int | None, middle: float = 0.0
) -> np.ndarray:
    """Ascending indices of images that take part: all, or ``count`` of them, as far as there are half of each
    kind; ``middle`` is the share of unclear ones that is left out."""
    items = np.flatnonzero(~np.isnan(values))
    items = items[clear(values[items], cut, middle)]
    return items[choose(count, len(items), values[items] > cut, seed)]


def _is_digits(store: ImageStore) -> bool:
    return store.classes == digits.CLASSES and store.labels is not None


def values_and_cut(
    images: ImageStore, about: OfAttribute, train: ImageStore | None = None, at: float | None = None
) -> tuple[np.ndarray, float]:
    """Values ``[N]`` of the attribute, nan where an image takes no part, and where the training's are cut.

    Args:
        images: store that holds the attribute.
        about: the attribute, and the class of the images without it.
        train: store whose median cuts; None: that of the images.
        at: where they are cut; None: at the median.
    """

    def values_of(store: ImageStore) -> np.ndarray:
        values = attribute(store, about.attribute).astype(np.float64)
        if about.against is None:
            return values
        lacks = attribute(store, about.against) > 0
        return np.where((values > 0) | lacks, values, np.nan)

    if at is not None:
        return values_of(images), at
    known = values_of(images if train is None else train)
    return values_of(images), threshold(known[~np.isnan(known)])
