"""How often a classifier recognises the restored images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from bridgepipe.classes import numbers_in
from bridgepipe.errors import UserError
from bridgepipe.evaluation.features import Images, per_image

Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


@dataclass(frozen=True)
class Accuracy:
    """Share of images put in their class, and its 95 % confidence interval."""

    accuracy: float
    low: float
    high: float
    n: int


def classifier_accuracy(
    classifier: Any,
    images: Images,
    labels: Sequence[int] | np.ndarray | None,
    batch_size: int = 64,
    classes: Sequence[str] | None = None,
) -> Accuracy:
    """Accuracy of ``classifier`` on ``images``.

    Args:
        classifier: an extractor that has logits.
        images: uint8 HWC arrays.
        labels: class of every image.
        batch_size: images per call of the classifier.
        classes: names of the labels, which the classifier must know; None: labels are its own numbers.

    Raises:
        UserError: no labels, another number of them, no images, an extractor without classes or with others.
    """
    truth = _checked(images, labels)
    names = classes_of(classifier)
    if classes is not None:
        truth = np.asarray(numbers_in(names, classes, classifier.name, "accuracy"))[truth]
    predicted = per_image(classifier.logits, images, batch_size, "accuracy").argmax(dim=1).numpy()
    correct = int((predicted == truth).sum())
    return Accuracy(correct / len(truth), *wilson(correct, len(truth)), n=len(truth))


def classes_of(classifier: Any) -> Sequence[str]:
    """Names of the classes that an extractor tells apart.

    Raises:
        UserError: it tells none.
    """
    if not hasattr(classifier, "logits"):
        mend = "choose one of kind classifier or resnet50, or null"
        raise UserError(f"{classifier.name} knows no classes", "evaluate.classifier", mend)
    return classifier.classes if hasattr(classifier, "classes") else ()


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share: unlike the normal one it stays within [0, 1]."""
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


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
