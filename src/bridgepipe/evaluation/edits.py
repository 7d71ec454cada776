"""How well edits along a boundary work: what flips, what stays, and how evenly.

An attribute is judged by something that knows nothing of the boundary: a classifier of images, or a measure
on the image itself. An edit towards the attribute can flip only images that lacked it before, an edit away
from it only images that had it. *Before* is the control: the same latents decoded with the same noise and no
move. Where the decoder draws noise, it changes what the judge says by itself; that share stands beside.

The best distance is chosen on one half of the images, and everything is reported on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from bridgepipe.data.subset import Subset
from bridgepipe.datasets.patches import pictures_of
from bridgepipe.errors import UserError
from bridgepipe.evaluation import fid
from bridgepipe.evaluation.accuracy import Share
from bridgepipe.evaluation.extractors import Extractor
from bridgepipe.evaluation.features import Images
from bridgepipe.evaluation.protocol import Estimate
from bridgepipe.evaluation.restoration import quality
from bridgepipe.evaluation.strips import Floats, Judge, Mask, Strips, half, probabilities
from bridgepipe.names import Json
from bridgepipe.runtime.rng import generator

if TYPE_CHECKING:
    from bridgepipe.evaluation.perceptual import Clip, Identity

NOTHING: Mapping[str, Floats] = MappingProxyType({})
ROUNDING = 3  # decimals of a score: rises of a saturated classifier below that are noise


def flippable(before: np.ndarray, distances: Floats) -> Mask:
    """Which images an edit to this side can flip, those of the other side; at distance 0 all; ``[N, K]``.

    Args:
        before: whether each has the attribute, bool ``[N]``.
    """
    lacks = ~before[:, None]
    return np.where(distances > 0, lacks, np.where(distances < 0, ~lacks, True))


def best_distance(flipped: Mask, able: Mask, distances: Floats) -> float:
    """The size of the edit at which most images flip, both directions together; of equals the smallest.

    Args:
        flipped: ``[N, K]``.
        able: `flippable`, ``[N, K]``.

    Raises:
        UserError: no distance but 0, or no image that can flip.
    """
    sizes = np.abs(distances)
    shares = {
        size: Share.of(flipped[able & (sizes == size)]) for size in np.unique(sizes[sizes > 0]).tolist()
    }
    known = {size: share.share for size, share in shares.items() if share.n}
    if not known:
        raise UserError("nothing was edited", "distances", "give distances other than 0, and more images")
    return max(known, key=lambda size: (known[size], -size))


def monotonicity(scores: Floats, sources: Sequence[str] | None = None) -> dict[str, float]:
    """How evenly the score rises along a strip, mean over strips and its 95 % interval.

    Args:
        scores: ``[N, K]`` at ascending distances.
        sources: what each strip was cut from, see `Estimate.of`.

    Returns:
        ``spearman``: rank correlation of distance and score (0 of a strip that does not change);
        ``rising``: share of steps on which the score does not fall.
    """
    rounded = scores.round(ROUNDING)
    rising = (np.diff(rounded, axis=1) >= 0).mean(axis=1)
    correlation = Estimate.of([_spearman(strip) for strip in rounded], sources)
    return correlation.values("spearman", -1, 1) | Estimate.of(rising, sources).values("rising", 0, 1)


def _spearman(strip: Floats) -> float:
    from scipy.stats import spearmanr

    if strip.min() == strip.max():
        return 0.0
    return float(spearmanr(np.arange(len(strip)), strip).statistic)


def likeness(strips: Strips) -> dict[str, Floats]:
    """PSNR and SSIM of every edited image to its control, and to the original, ``[N, K]`` each."""
    found: dict[str, Floats] = {}
    for suffix, images in (("", strips.control), ("_original", strips.originals)):
        if images is not None:
            pairs = [quality(strips.images[:, k], images) for k in range(len(strips.distances))]
            found[f"psnr{suffix}"] = np.stack([pair.psnr for pair in pairs], axis=1)
            found[f"ssim{suffix}"] = np.stack([pair.ssim for pair in pairs], axis=1)
    return found


def perceived(strips: Strips, clip: Clip | None, text: str, identity: Identity | None) -> dict[str, Floats]:
    """What networks say of every edited image, ``[N, K]`` each; {} without networks.

    Args:
        clip: network of the score ``clip``, of how well it fits the text.
        text: what an image with the attribute shows.
        identity: network of the distance to the person of its control, and to that of the original.
    """
    found: dict[str, Floats] = {}
    if clip is not None:
        found["clip"] = strips.per_strip(clip.scores(strips.flat, text))
    rows = np.repeat(np.arange(len(strips.control)), len(strips.distances))
    for suffix, images in (("", strips.control), ("_original", strips.originals)):
        if identity is not None and images is not None:
            distances = identity.distances(strips.flat, Subset(images, rows))
            found[f"identity{suffix}"] = strips.per_strip(distances)
    return found


def measure(
    strips: Strips,
    judge: Judge,
    others: Mapping[str, Judge],
    classifier: Any = None,
    seed: int = 0,
    more: Mapping[str, Floats] = NOTHING,
) -> tuple[Json, list[Json]]:
    """Numbers of the reported half, and rows of its curve against the distance.

    Args:
        judge: judge of the edited attribute.
        others: judges of the attributes that edits should preserve.
        classifier: an extractor with logits; edits should preserve the class it predicts. None: not measured.
        seed: seed of the two halves.
        more: further measures of every edited image, ``[N, K]`` each, such as `perceived`.

    Returns:
        Values and rows. ``best_distance`` is chosen on the other half. By it every image is edited to its
        other side, once: ``flipped``, and what is preserved, PSNR and SSIM, ending in ``_at_best``. Rows have
        these for every distance, flips of the images that it can flip. Means come with their interval, shares
        with interval and number (`summary`). See also `monotonicity` and `unedited`.
    """
    before, scores = judge.score(strips.control) > judge.cut, strips.per_strip(judge.score(strips.flat))
    flipped, able = (scores > judge.cut) != before[:, None], flippable(before, strips.distances)
    columns: dict[str, np.ndarray] = {"score": scores, **_preserved(strips, others, classifier)}
    columns |= likeness(strips) | dict(more)
    chosen = _chosen(strips, before, seed)
    best = best_distance(flipped[chosen], able[chosen], strips.distances)
    reported = ~chosen
    rows: list[Json] = []
    cut = strips.sources_of(reported)
    for k, distance in enumerate(strips.distances.tolist()):
        fit = reported & able[:, k]
        rows.append({"distance": distance, **summary("flipped", flipped[fit, k], strips.sources_of(fit))})
        for key, column in columns.items():
            rows[k] |= summary(key, column[reported, k], cut)
    across = reported[:, None] & able & (np.abs(strips.distances) == best)
    values = {"best_distance": best, **summary("flipped", flipped[across], strips.sources_of(across))}
    for key, column in columns.items():
        values |= summary(f"{key}_at_best", column[across], strips.sources_of(across))
    values |= monotonicity(scores[reported], cut)
    return {**values, **unedited(strips, judge, before, reported, rows)}, rows


def summary(name: str, column: np.ndarray, sources: Sequence[str] | None = None) -> Json:
    """Entries of a metric: a share of bools, or a mean, with its interval; None of nothing.

    Args:
        sources: what each was cut from, see `Estimate.of`.
    """
    if column.dtype == bool:
        return Share.of(column, sources).values(name)
    return Estimate.of(column, sources).values(name) if len(column) else {name: None}


def _chosen(strips: Strips, before: np.ndarray, seed: int) -> Mask:
    """The half on which the distance is chosen.

    Raises:
        UserError: nothing is left to report on.
    """
    if len(before) < 2:
        mend = "edit 2 or more: the distance is chosen on one half and reported on the other"
        raise UserError(f"{len(before)} edited image", "edit.images", mend)
    return half(before if strips.kinds is None else strips.kinds, seed)


def _preserved(strips: Strips, others: Mapping[str, Judge], classifier: Any) -> dict[str, Mask]:
    """Whether each edited image is judged as its control, ``[N, K]``, by every other judge and by class."""
    found = {}
    for name, other in others.items():
        after = strips.per_strip(other.score(strips.flat) > other.cut)
        found[f"preserved_{name}"] = after == (other.score(strips.control) > other.cut)[:, None]
    if classifier is not None:
        after = strips.per_strip(probabilities(classifier, strips.flat).argmax(axis=1))
        found["preserved_class"] = after == probabilities(classifier, strips.control).argmax(axis=1)[:, None]
    return found


def unedited(
    strips: Strips, judge: Judge, before: np.ndarray, reported: Mask, rows: Sequence[Mapping[str, Any]]
) -> Json:
    """What decoding does by itself.

    Args:
        before: whether the judge finds the attribute in each control, bool ``[N]``.
        reported: the half, bool ``[N]``.
        rows: rows of the curve.

    Returns:
        ``baseline_flipped``: share of the controls that the judge calls otherwise than the same image
        decoded with eta 0; ending in ``_original``: otherwise than the original. PSNR to the originals of
        images decoded with eta 0, ``psnr_plain``, with the noise of the edits, ``psnr_control``, and edited
        by 0, ``psnr_zero``.
    """
    cut = strips.sources_of(reported)
    found = summary("baseline_flipped", ((judge.score(strips.plain) > judge.cut) != before)[reported], cut)
    if strips.originals is None:
        return found
    differs = ((judge.score(strips.originals) > judge.cut) != before)[reported]
    found |= summary("baseline_flipped_original", differs, cut)
    for name, images in (("plain", strips.plain), ("control", strips.control)):
        psnr = np.array(quality(images[reported], strips.originals[reported]).psnr)
        found |= summary(f"psnr_{name}", psnr, cut)
    zero = next((row for row in rows if row["distance"] == 0), {})
    return found | {
        key.replace("original", "zero"): value
        for key, value in zero.items()
        if key.startswith("psnr_original")
    }


def distances_to_real(
    strips: Strips, judge: Judge, size: float, real: Mapping[str, Images], extractor: Extractor, seed: int = 0
) -> Json:
    """FID of edited images to the real ones of the kind that they were edited to be, of the reported half.

    Args:
        size: size of the edits.
        real: images ``with`` and ``without`` the attribute.
        seed: seed of the two halves and of the selection of equal numbers.

    Returns:
        ``fid_with`` and ``fid_without``; beside them, of as many images (``_n``) and to the same reference,
        those of controls that were of this kind from the start (``_plain``) and of real images that the
        reference lacks (``_real``): the floor. Each with its 95 % interval. Sets of fewer than two are left
        out.
    """
    before = judge.score(strips.control) > judge.cut
    reported = ~_chosen(strips, before, seed)
    found: Json = {}
    for name, distance in (("with", size), ("without", -size)):
        able, at = flippable(before, np.array([distance]))[:, 0], np.flatnonzero(strips.distances == distance)
        if not len(at):
            continue
        rng = generator(seed, f"images of the FID {name}")
        edited, own, known = (
            rng.permutation(items)
            for items in (np.flatnonzero(reported & able), np.flatnonzero(reported & ~able), len(real[name]))
        )
        n = min(len(edited), len(own), len(known) // 2)
        if n < 2:
            continue
        held_out = Subset(real[name], known[:n])
        sets: dict[str, tuple[Images, Sequence[str] | None]] = {
            f"_{name}": (strips.images[edited[:n], at[0]], strips.sources_of(edited[:n])),
            f"_{name}_plain": (strips.control[own[:n]], strips.sources_of(own[:n])),
            f"_{name}_real": (held_out, pictures_of(held_out)),
        }
        reference = fid.statistics(extractor, Subset(real[name], known[n:]))
        for suffix, (images, cut) in sets.items():
            measured = replace(fid.statistics(extractor, images), sources=cut)
            found |= fid.distances(measured, reference, kernel=False, suffix=suffix)
        found[f"fid_{name}_n"] = n
    return found
