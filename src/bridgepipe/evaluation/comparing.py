"""Two sets of images compared: distances of their distributions, and similarities of their pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from bridgepipe.data import lineage
from bridgepipe.data.subset import Subset
from bridgepipe.datasets.patches import pictures_of
from bridgepipe.errors import UserError
from bridgepipe.evaluation import extractors, fid, neighbours, protocol, real
from bridgepipe.evaluation.features import contents
from bridgepipe.evaluation.fid import Statistics
from bridgepipe.evaluation.image_sets import ImageSet
from bridgepipe.evaluation.pairing import Pairs
from bridgepipe.evaluation.restoration import quality
from bridgepipe.names import Json
from bridgepipe.runtime.rng import generator

if TYPE_CHECKING:
    from bridgepipe.evaluation.perceptual import Clip, Identity, Lpips

SIMILARITY = "psnr, ssim: per image on uint8, mean and its 95 % interval"


@dataclass
class Found:
    """What was measured, each metric with its protocol, and what was not, with the reason."""

    a: Json
    b: Json
    metrics: dict[str, protocol.Metric] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        return {"a": self.a, "b": self.b, **{k: getattr(self, k) for k in ("metrics", "missing", "notes")}}


def statistics_alone(a: ImageSet, b: ImageSet) -> bool:
    """Whether no network is needed for the distance of distributions."""
    return a.images is None and b.images is None


def distributions(
    a: ImageSet,
    b: ImageSet,
    network: extractors.Extractor | None,
    pairs: Pairs | str,
    recall: bool,
    found: Found,
    batch_size: int,
) -> None:
    """Add FID, KID, precision and recall to ``found``, with the floor of halves of the reference.

    Args:
        network: extractor of the features; None where both sets are statistics alone.
        recall: whether precision and recall are wanted.
        batch_size: images per call of the extractor.

    Raises:
        UserError: the statistics of the two sets are of different extractors.
    """
    ours, theirs = (_statistics(one, name, network, batch_size, found) for one, name in ((a, "A"), (b, "B")))
    if a.images is not None and b.images is not None and isinstance(pairs, Pairs):
        originals = Subset(b.images, pairs.second)
        ours = replace(ours, pictures=contents(originals), sources=pictures_of(originals) or ours.sources)
    _same_width(ours, theirs, a, b)
    kernel = min(len(ours.sample), len(theirs.sample)) > 1
    if not kernel:
        found.missing["kid, precision, recall"] = "statistics hold no features of single images: give images"
    floor = _floor(ours, theirs)
    sets = {"": (ours, theirs), **floor}
    values: Json = {}
    for suffix, (x, y) in sets.items():
        values |= fid.distances(x, y, kernel, suffix)
    entries = _protocol(a, b, ours, theirs, floor)
    found.metrics["distance"] = protocol.metric(values, protocol.protocol(real.METRIC, **entries))
    if kernel and recall:
        shares = _shares(sets)
        if not shares:
            found.missing["precision, recall"] = f"{neighbours.K} neighbours of each image need more images"
        else:
            metric = protocol.protocol(neighbours.METRIC, **entries)
            found.metrics["precision and recall"] = protocol.metric(shares, metric)
    if (held := fid.held(ours, theirs)) > 0:
        found.notes.append(
            f"B holds what {held} of {len(ours.pictures)} images of A show: a small FID says less"
        )


def _shares(sets: Mapping[str, tuple[Statistics, Statistics]]) -> Json:
    """Precision and recall of all sets that have more images than neighbours are looked at."""
    shares: Json = {}
    for suffix, (x, y) in sets.items():
        if min(len(x.sample), len(y.sample)) > neighbours.K:
            cut = x.sampled_sources, y.sampled_sources
            precision, recall = neighbours.precision_and_recall(x.sample, y.sample, cut)
            shares |= precision.values(f"precision{suffix}") | recall.values(f"recall{suffix}")
    return shares


def _statistics(
    one: ImageSet, name: str, network: extractors.Extractor | None, batch_size: int, found: Found
) -> Statistics:
    """Those that came with the images, else their own.

    Raises:
        UserError: the statistics were made with another extractor.
    """
    if one.images is None:
        assert one.known is not None
        return _of_extractor(one.known, one, name, network, found)
    assert network is not None
    measured = fid.statistics(network, one.images, batch_size, label=f"features of {name}")
    measured = replace(measured, sources=pictures_of(one.images))
    if one.known is None:
        return measured
    found.notes.append(f"{name}: mean and covariance are those of the file, of more images than are in it")
    whole = _of_extractor(one.known, one, name, network, found)
    return replace(measured, mu=whole.mu, sigma=whole.sigma)


def _of_extractor(
    known: Statistics, one: ImageSet, name: str, network: extractors.Extractor | None, found: Found
) -> Statistics:
    if known.extractor:
        if network is not None and known.extractor != extractors.describe(network):
            what = f"statistics of {known.extractor['name']}, images measured with {network.name}"
            raise UserError(what, one.path, "choose the extractor that made them, with its weights")
        return known
    taken = {} if network is None else extractors.describe(network)
    said = f", taken for features of {network.name}" if network is not None else ""
    found.notes.append(f"{name} ({one.path}) does not tell its extractor{said}")
    return replace(known, extractor=taken)


def _same_width(ours: Statistics, theirs: Statistics, a: ImageSet, b: ImageSet) -> None:
    if len(ours.mu) != len(theirs.mu):
        what = f"features of {len(ours.mu)} numbers in A ({a.path}), of {len(theirs.mu)} in B"
        raise UserError(what, b.path, "compare what one extractor made")
    if ours.extractor != theirs.extractor and not (ours.extractor and theirs.extractor):
        what = "one of two files of statistics tells its extractor, the other does not"
        raise UserError(what, f"{a.path}, {b.path}", "give the images themselves of one of them")


def _floor(ours: Statistics, theirs: Statistics) -> dict[str, tuple[Statistics, Statistics]]:
    """Half of the real images against the other half, and as many evaluated ones against that half.

    Empty where there are too few images, or only their moments.
    """
    half = len(theirs.sample) // 2
    n = min(half, len(ours.sample))
    if n < 2:
        return {}
    order = torch.from_numpy(generator(0, "halves").permutation(len(theirs.sample)))
    other = theirs.part(order[half : 2 * half])
    rows = torch.from_numpy(generator(0, "as many").permutation(len(ours.sample)))[:n]
    return {"_real": (theirs.part(order[:n]), other), "_equal": (ours.part(rows), other)}


def _protocol(
    a: ImageSet,
    b: ImageSet,
    ours: Statistics,
    theirs: Statistics,
    floor: Mapping[str, tuple[Statistics, Statistics]],
) -> Json:
    reference = {"digest": theirs.data, "n": theirs.n or None, "kind": b.kind, "held": fid.held(ours, theirs)}
    if floor:
        real_half, other = floor["_real"]
        halves: Json = {"n": real_half.n, "against": other.n, "from": "halves of the reference"}
    else:
        halves = {}
    return {
        "n": ours.n or len(ours.sample),
        "settings": {},
        "inputs": {"reference": theirs.data},
        "extractor": ours.extractor or None,
        "reference": reference,
        "quantisation": _quantisation(a),
        "floor": halves or None,
        **protocol.over_pictures(ours.sources),
    }


def _quantisation(one: ImageSet) -> str:
    return "as in the files" if one.store is None else lineage.quantisation(one.store)


# pairs


def similarities(
    a: ImageSet, b: ImageSet, pairs: Pairs, networks: Mapping[str, Lpips | Identity], found: Found
) -> None:
    """Add PSNR and SSIM of every pair to ``found``, and its distances by networks, by their names."""
    assert a.images is not None
    assert b.images is not None
    ours, theirs = Subset(a.images, pairs.first), Subset(b.images, pairs.second)
    cut = pictures_of(theirs) or pictures_of(ours)

    def metric(name: str, values: Mapping[str, float], definition: str, **inputs: Any) -> None:
        read = {"originals": theirs, **inputs}
        about: Json = {"n": len(ours), "settings": {"pairs": pairs.how}, "inputs": read}
        about |= {"quantisation": _quantisation(a), **protocol.over_pictures(cut)}
        found.metrics[name] = protocol.metric(values, protocol.protocol(definition, **about))

    def distance(name: str, network: Lpips | Identity) -> None:
        values = protocol.Estimate.of(network.distances(ours, theirs), cut).values(name, 0.0)
        metric(name, values, network.metric, network=network.digest)

    ways: dict[str, Callable[[], None]] = {
        "psnr, ssim": lambda: metric("similarity", quality(ours, theirs, "pairs").values("", cut), SIMILARITY)
    }
    ways |= {name: partial(distance, name, network) for name, network in networks.items()}
    for name, way in ways.items():
        try:
            way()
        except UserError as e:  # sizes that differ, or are too small: what else was measured is not lost
            found.missing[name] = str(e)


def fit_to_text(a: ImageSet, text: str, network: Clip, found: Found) -> None:
    """Add the CLIP score of the evaluated images to ``found``."""
    assert a.images is not None
    scores = network.scores(a.images, text)
    about: Json = {"n": len(scores), "settings": {"text": text}, "inputs": {"network": network.digest}}
    cut = pictures_of(a.images)
    about |= {"quantisation": _quantisation(a), **protocol.over_pictures(cut)}
    values = protocol.Estimate.of(scores, cut).values("clip")
    found.metrics["clip"] = protocol.metric(values, protocol.protocol(network.metric, **about))
