"""Shares with their intervals, and how often a classifier recognises the restored images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any, Self

import numpy as np

from bridgepipe.errors import UserError
from bridgepipe.evaluation.features import Images, per_image
from bridgepipe.evaluation.protocol import Z95, Estimate
from bridgepipe.names.classes import numbers_in

ROUNDING = 1e-12  # error of a share below which it is none


@dataclass(frozen=True)
class Share:
    """A share of cases: never shown without its 95 % interval and their number.

    Args:
        hits: cases that count.
        n: all cases; of none, the share and its interval are nan.
        independent: number of independent cases that tell as much; None: all cases are independent.
    """

    hits: int
    n: int
    independent: float | None = None

    @classmethod
    def of(cls, cases: np.ndarray, sources: Sequence[str] | None = None) -> Self:
        """Of cases ``[N]``, bool; sources as in `Estimate.of`, of a single one the interval is unknown."""
        hits, n = int(np.count_nonzero(cases)), len(cases)
        return cls(hits, n, None if sources is None or not n else _independent(cases, sources))

    @property
    def share(self) -> float:
        return self.hits / self.n if self.n else nan

    @property
    def low(self) -> float:
        """Lower end of Wilson's 95 % interval."""
        return self._interval[0]

    @property
    def high(self) -> float:
        """Upper end of Wilson's 95 % interval."""
        return self._interval[1]

    @property
    def _interval(self) -> tuple[float, float]:
        if self.independent is None:
            return wilson(self.hits, self.n)
        return wilson(self.share * self.independent, self.independent)

    def values(self, name: str) -> dict[str, float | int | None]:
        """Entries of a metric or a table: NAME, NAME_low, NAME_high, NAME_n; None where there is no case."""
        if not self.n:
            return {name: None, f"{name}_low": None, f"{name}_high": None, f"{name}_n": 0}
        low, high = (None, None) if self.independent == 0 else self._interval
        return {name: self.share, f"{name}_low": low, f"{name}_high": high, f"{name}_n": self.n}


class Accuracy(Share):
    """Share of images, or latents, put in their class."""

    @property
    def accuracy(self) -> float:
        return self.share


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share: unlike the normal one it stays within [0, 1]; of none, nan."""
    if not n:
        return nan, nan
    share, twice = successes / n, 2 * (n + Z95**2)
    centre = (2 * n * share + Z95**2) / twice
    half = Z95 / twice * sqrt(4 * n * share * (1 - share) + Z95**2)
    return centre - half if successes else 0.0, centre + half if successes < n else 1.0


def _independent(cases: np.ndarray, sources: Sequence[str]) -> float:
    """How many independent cases have the error of these (Korn and Graubard 1998), 0 of a single source.

    Where all sources have the same share, which tells nothing of the error, they count as a case each.
    """
    found = Estimate.of(cases, sources)
    if found.error is None:
        return 0.0
    if found.error < ROUNDING:
        return float(len(set(sources)))
    variance = (found.error * found.reach / Z95) ** 2
    return min(float(len(cases)), found.value * (1 - found.value) / variance)


def worse(right: np.ndarray, than: np.ndarray) -> float:
    """McNemar's exact test whether fewer of the same cases are right, one-sided.

    Args:
        right, than: whether each case is right, bool ``[N]`` each. Cases on which the two agree don't count.

    Returns:
        The chance that at least as many of these would be lost if neither were better.
    """
    from scipy.stats import binomtest

    lost, won = int((than & ~right).sum()), int((right & ~than).sum())
    return float(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue) if lost + won else 1.0


def classifier_accuracy(
    classifier: Any,
    images: Images,
    labels: Sequence[int] | np.ndarray | None,
    batch_size: int = 64,
    classes: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
) -> Accuracy:
    """Accuracy of ``classifier`` on ``images``.

    Args:
        classifier: an extractor that has logits.
        images: uint8 HWC arrays.
        labels: class of every image.
        batch_size: images per call of the classifier.
        classes: names of the labels, which the classifier must know; None: labels are its own numbers.
        sources: what each image was cut from, see `Share.of`.

    Raises:
        UserError: no labels, another number of them, no images, an extractor without classes or with others.
    """
    truth = _checked(images, labels)
    names = classes_of(classifier)
    if classes is not None:
        truth = np.asarray(numbers_in(names, classes, classifier.name, "accuracy"))[truth]
    predicted = per_image(classifier.logits, images, batch_size, "accuracy").argmax(dim=1).numpy()
    return Accuracy.of(predicted == truth, sources)


def classes_of(classifier: Any) -> Sequence[str]:
    """Names of the classes that an extractor distinguishes.

    Raises:
        UserError: the card lists none.
    """
    if not hasattr(classifier, "logits"):
        mend = "choose one of kind classifier or resnet50, or null"
        raise UserError(f"{classifier.name} knows no classes", "evaluate.classifier", mend)
    return classifier.classes if hasattr(classifier, "classes") else ()


def _checked(images: Images, labels: Sequence[int] | np.ndarray | None) -> np.ndarray:
    if labels is None:
        raise UserError(
            "these images have no labels",
            "accuracy",
            "leave the accuracy out, or prepare the data with classes",
        )
    if len(labels) != len(images) or len(images) == 0:
        raise UserError(
            f"{len(labels)} labels for {len(images)} images", "accuracy", "give every image one label"
        )
    return np.asarray(labels)
