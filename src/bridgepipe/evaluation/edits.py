"""How well edits along a boundary work: what flips, what stays, and how evenly.

An attribute is judged by something that knows nothing of the boundary: a classifier of images, or a measure
on the image itself. An edit towards the attribute can flip only images that lacked it before, an edit away
from it only images that had it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bridgepipe.errors import UserError
from bridgepipe.evaluation import fid
from bridgepipe.evaluation.accuracy import wilson
from bridgepipe.evaluation.features import Extractor, Images, per_image
from bridgepipe.evaluation.restoration import quality

Floats = NDArray[np.float64]
ROUNDING = 3  # decimals of a score: rises of a saturated classifier below that are noise


class Judge(Protocol):
    """Scores an attribute of images; those above ``cut`` have it.

    Attributes:
        name: what it is, for the protocol.
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
        plain: uint8 ``[N, H, W, C]``, decoded without an edit.
        originals: uint8 ``[N, H, W, C]``; None of samples.
    """

    images: np.ndarray
    distances: Floats
    plain: np.ndarray
    originals: np.ndarray | None = None

    @property
    def flat(self) -> np.ndarray:
        """``[N K, H, W, C]``."""
        return self.images.reshape(-1, *self.images.shape[2:])

    def per_strip(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Values of `flat` as ``[N, K]``."""
        return np.asarray(values).reshape(self.images.shape[:2])


def flippable(before: np.ndarray, distance: float) -> NDArray[np.bool_]:
    """Images that an edit to this side can flip: those of the other side.

    Args:
        before: whether each has the attribute, bool ``[N]``.
    """
    return ~before if distance > 0 else before


def flips(before: np.ndarray, after: np.ndarray, distances: Floats) -> list[dict[str, Any]]:
    """For every distance the share of the flippable images that are judged flipped, with its interval.

    Args:
        before: bool ``[N]``, of the images without an edit.
        after: bool ``[N, K]``, of the edited ones.

    Returns:
        Rows of distance, flipped, low, high and n; at distance 0 of all images; the share is None where
        there are none.
    """
    rows = []
    for k, distance in enumerate(distances):
        able = flippable(before, distance) if distance else np.ones_like(before)
        changed, n = int((after[able, k] != before[able]).sum()), int(able.sum())
        low, high = wilson(changed, n) if n else (None, None)
        share = changed / n if n else None
        rows.append({"distance": float(distance), "flipped": share, "low": low, "high": high, "n": n})
    return rows


def best_distance(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The size of the edit at which most images flip, both directions together; of equals the smallest.

    Returns:
        best_distance, flipped, low, high and flippable, the number of images.

    Raises:
        UserError: no distance but 0.
    """
    pooled: dict[float, tuple[int, int]] = {}
    for row in rows:
        size = abs(row["distance"])
        if size and row["n"]:
            changed, n = pooled.get(size, (0, 0))
            pooled[size] = changed + round(row["flipped"] * row["n"]), n + row["n"]
    if not pooled:
        raise UserError("nothing was edited", "distances", "give distances other than 0, and more images")
    best = max(pooled, key=lambda size: (pooled[size][0] / pooled[size][1], -size))
    changed, n = pooled[best]
    low, high = wilson(changed, n)
    return {"best_distance": best, "flipped": changed / n, "low": low, "high": high, "flippable": n}


def monotonicity(scores: Floats) -> dict[str, float]:
    """How evenly the score rises along a strip, mean over strips.

    Args:
        scores: ``[N, K]`` at ascending distances.

    Returns:
        ``spearman``: rank correlation of distance and score (0 of a strip that does not change);
        ``rising``: share of steps on which the score does not fall.
    """
    rounded = scores.round(ROUNDING)
    return {
        "spearman": float(np.mean([_spearman(strip) for strip in rounded])),
        "rising": float((np.diff(rounded, axis=1) >= 0).mean()),
    }


def _spearman(strip: Floats) -> float:
    from scipy.stats import spearmanr

    if strip.min() == strip.max():
        return 0.0
    return float(spearmanr(np.arange(len(strip)), strip).statistic)


def likeness(strips: Strips) -> list[dict[str, float]]:
    """For every distance PSNR and SSIM to the image decoded without an edit, and to the original."""
    rows = []
    for k in range(len(strips.distances)):
        edited = strips.images[:, k]
        found = quality(edited, strips.plain)
        row = {"psnr": found.mean_psnr, "ssim": found.mean_ssim}
        if strips.originals is not None:
            real = quality(edited, strips.originals)
            row |= {"psnr_original": real.mean_psnr, "ssim_original": real.mean_ssim}
        rows.append(row)
    return rows


def measure(
    strips: Strips, judge: Judge, others: Mapping[str, Judge], classifier: Any = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Numbers of all strips, and rows of the curve against the distance.

    Args:
        judge: of the attribute that is edited.
        others: judges of attributes that edits should keep.
        classifier: an extractor with logits, whose class edits should keep; None: not asked.

    Returns:
        Values (see `best_distance` and `monotonicity`; those of the curve at the best distance, ending in
        ``_at_best``; PSNR to the originals of the images decoded without an edit, ``psnr_plain``, and of
        those edited by 0, ``psnr_zero``) and rows (`flips`, mean score, `likeness`, what is kept).
    """
    before, scores = judge.score(strips.plain), strips.per_strip(judge.score(strips.flat))
    rows = flips(before > judge.cut, scores > judge.cut, strips.distances)
    best = best_distance(rows)
    columns = {"score": list(scores.mean(axis=0))}
    for name, other in others.items():
        after = strips.per_strip(other.score(strips.flat) > other.cut)
        columns[f"kept_{name}"] = kept(other.score(strips.plain) > other.cut, after)
    if classifier is not None:
        after = strips.per_strip(probabilities(classifier, strips.flat).argmax(axis=1))
        columns["kept_class"] = kept(probabilities(classifier, strips.plain).argmax(axis=1), after)
    for k, (row, like) in enumerate(zip(rows, likeness(strips), strict=True)):
        row |= {**{name: float(column[k]) for name, column in columns.items()}, **like}
    at_best = [row for row in rows if abs(row["distance"]) == best["best_distance"]]
    names = [name for name in rows[0] if name not in ("distance", "flipped", "low", "high", "n", "score")]
    values = {f"{name}_at_best": float(np.mean([row[name] for row in at_best])) for name in names}
    return {**best, **monotonicity(scores), **values, **_unedited(strips, rows)}, rows


def _unedited(strips: Strips, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How close to the originals images come back without an edit, and edited by 0 if that is a distance."""
    if strips.originals is None:
        return {}
    found = {"psnr_plain": quality(strips.plain, strips.originals).mean_psnr}
    zero = [row["psnr_original"] for row in rows if row["distance"] == 0]
    return found | ({"psnr_zero": zero[0]} if zero else {})


class Some:
    """Some of many images, read when they are asked for."""

    def __init__(self, images: Images, items: np.ndarray) -> None:
        self._images, self._items = images, items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        return self._images[int(self._items[index])]


def distances_to_real(
    strips: Strips, judge: Judge, size: float, real: Mapping[str, Images], extractor: Extractor
) -> dict[str, float]:
    """FID of edited images to the real ones of the kind that they were edited to be.

    Args:
        size: of the edits.
        real: images ``with`` and ``without`` the attribute.

    Returns:
        ``fid_with`` and ``fid_without``; beside them, ending in ``_plain``, those of the images that were
        of this kind from the start and only went there and back. Sets of fewer than two are left out.
    """
    before = judge.score(strips.plain) > judge.cut
    found: dict[str, float] = {}
    for name, side in (("with", size), ("without", -size)):
        able, at = flippable(before, side), np.flatnonzero(strips.distances == side)
        sets = {f"fid_{name}_plain": strips.plain[~able]}
        if len(at):
            sets[f"fid_{name}"] = strips.images[able, at[0]]
        sets = {key: images for key, images in sets.items() if min(len(images), len(real[name])) > 1}
        if sets:
            reference = fid.statistics(extractor, real[name])
            found |= {key: fid.fid(fid.statistics(extractor, x), reference) for key, x in sets.items()}
    return found


def kept(before: np.ndarray, after: np.ndarray) -> list[float]:
    """For every distance the share of images whose value ``[N]`` is the same after the edit, ``[N, K]``."""
    return [float((after[:, k] == before).mean()) for k in range(after.shape[1])]
