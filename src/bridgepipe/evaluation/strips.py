"""Edited images as strips, and what judges an attribute of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bridgepipe.errors import UserError
from bridgepipe.evaluation.extractors import Extractor
from bridgepipe.evaluation.features import Images, per_image
from bridgepipe.names import Json
from bridgepipe.runtime.rng import generator

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Judge(Protocol):
    """Scores an attribute of images; those above ``cut`` have it.

    Attributes:
        name: name of the judge in the protocol.
    """

    @property
    def cut(self) -> float: ...

    @property
    def name(self) -> str: ...

    def score(self, images: Images) -> Floats:
        """Scores ``[N]`` of uint8 HWC images."""
        ...


@dataclass(frozen=True)
class Measured:
    """An attribute that is a number of the image itself."""

    measure: Callable[[np.ndarray], float]
    cut: float
    name: str = "measured"

    def score(self, images: Images) -> Floats:
        return np.array([self.measure(images[i]) for i in range(len(images))], dtype=np.float64)


@dataclass(frozen=True)
class ByClass:
    """Probability of the classes that have the attribute, among those that have it and those that don't.

    Args:
        classifier: an extractor with logits.
        has, lacks: bool ``[classes]``.
    """

    classifier: Any
    has: np.ndarray
    lacks: np.ndarray
    name: str = "by class"
    cut: float = 0.5

    def score(self, images: Images) -> Floats:
        p = probabilities(self.classifier, images)
        having, lacking = p[:, self.has].sum(axis=1), p[:, self.lacks].sum(axis=1)
        return having / np.maximum(having + lacking, np.finfo(np.float64).tiny)


def probabilities(classifier: Extractor, images: Images, batch_size: int = 64) -> Floats:
    """Probability of every class, float64 ``[N, classes]``.

    Raises:
        UserError: an extractor without classes.
    """
    if not hasattr(classifier, "logits"):
        mend = "choose one of kind classifier, or null"
        raise UserError(f"{classifier.name} knows no classes", "evaluate.classifier", mend)
    logits = per_image(classifier.logits, images, batch_size, "judge")
    return logits.double().softmax(1).numpy()


@dataclass(frozen=True)
class Strips:
    """Edited images and what they came from.

    Attributes:
        images: uint8 ``[N, K, H, W, C]``, at K distances.
        distances: ``[K]``, ascending.
        control: uint8 ``[N, H, W, C]``, decoded with the noise of the edits, not moved.
        plain: uint8 ``[N, H, W, C]``, decoded without an edit and with eta 0.
        originals: uint8 ``[N, H, W, C]``; None of samples.
        kinds: ``[N]``, such as the classes, which both halves have as many of; None: the sides of the judge.
        sources: ``[N]``, names of what the originals were cut from; None: they are independent.
    """

    images: np.ndarray
    distances: Floats
    control: np.ndarray
    plain: np.ndarray
    originals: np.ndarray | None = None
    kinds: np.ndarray | None = None
    sources: np.ndarray | None = None

    @property
    def flat(self) -> np.ndarray:
        """``[N K, H, W, C]``."""
        return self.images.reshape(-1, *self.images.shape[2:])

    def per_strip(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Values of `flat` as ``[N, K]``."""
        return np.asarray(values).reshape(self.images.shape[:2])

    def sources_of(self, chosen: Mask | NDArray[np.int64]) -> list[str] | None:
        """Sources of the chosen strips ``[N]``, or of the chosen images ``[N, K]``, in order."""
        if self.sources is None:
            return None
        names = self.sources if chosen.ndim == 1 else np.tile(self.sources[:, None], len(self.distances))
        return list(names[chosen])


def half(kinds: np.ndarray, seed: int) -> Mask:
    """One half of N items by chance, bool ``[N]``, with as many of every kind as the other, but for one."""
    order = generator(seed, "halves").permutation(len(kinds))
    order = order[np.argsort(kinds[order], kind="stable")]
    chosen = np.zeros(len(kinds), dtype=bool)
    chosen[order[::2]] = True
    return chosen


def halves(strips: Strips, seed: int) -> Json:
    """Entries of a protocol: on how many images the effect is measured, and how its distance was chosen."""
    n = len(strips.images) // 2
    return {
        "n": n,
        "distances": strips.distances.tolist(),
        "best_distance": {
            "chosen on": len(strips.images) - n,
            "balanced over": "sides of the judge" if strips.kinds is None else "classes",
            "seed": seed,
        },
    }
