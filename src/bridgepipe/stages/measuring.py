"""Two sets of images compared: their distributions and, where they are paired, image by image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bridgepipe import artifacts
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import lineage
from bridgepipe.data.subset import Subset
from bridgepipe.downloads.sources import load_sources
from bridgepipe.errors import UserError
from bridgepipe.evaluation import extractors, fid, neighbours, protocol, real
from bridgepipe.evaluation.features import contents
from bridgepipe.evaluation.fid import Statistics
from bridgepipe.evaluation.image_sets import ImageSet, Pairs, about, open_set, pair
from bridgepipe.evaluation.restoration import quality
from bridgepipe.names import Json
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable
from bridgepipe.runtime.rng import generator

if TYPE_CHECKING:
    from bridgepipe.evaluation.perceptual import Lpips

FEW = 100  # images below which no measure of a distribution is worth a digit
DATA = Path("data")
SIMILARITY = "psnr, ssim: per image on uint8, mean and its 95 % interval"
MEASURES = ("fid", "kid", "precision", "recall", "psnr", "ssim", "lpips")


@dataclass(frozen=True)
class Asked:
    """What a person asked for.

    Attributes:
        extractor: kind of the extractor.
        weights: file of its weights; None: where `fetch` puts it.
        pairs: way of pairing, see `image_sets.pair`; ``none`` also where only distributions are compared.
        lpips: weights of the backbone of LPIPS; None: where `fetch` puts them.
        recall: whether precision and recall are wanted.
    """

    extractor: str = "inception"
    weights: Path | None = None
    pairs: str = "auto"
    lpips: Path | None = None
    recall: bool = True


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


def measure(first: Path, second: Path, asked: Asked, output: Path | None, speed: Runtime) -> Found:
    """Compare images with real ones.

    Args:
        first: the evaluated images, or their statistics.
        second: those that they are compared with.
        output: file that the caller writes, beside which finished batches are kept; None: they are not.

    Raises:
        UserError: a set cannot be opened, nothing can be measured, weights were named that are not there.
    """
    a, b = open_set(first), open_set(second)
    found = Found(about(a), about(b))
    network = _network(a, b, asked, found.missing, speed)
    pairs = pair(a, b, asked.pairs)
    perceptual = _lpips(pairs, asked, found.missing, speed)
    if network is None and isinstance(pairs, str) and not _statistics_alone(a, b):
        raise UserError(*_cannot(found.missing, pairs, asked))
    with _resumable(output, a, b, asked, [getattr(n, "digest", None) for n in (network, perceptual)], speed):
        if network is not None or _statistics_alone(a, b):
            _distributions(a, b, network, pairs, asked, found, speed)
        if isinstance(pairs, Pairs):
            _similarities(a, b, pairs, perceptual, found)
    if isinstance(pairs, str) and asked.pairs != "none":
        found.missing["psnr, ssim, lpips"] = f"no pairs: {pairs}"
    small = {name: one.n for name, one in (("A", a), ("B", b)) if 0 < one.n < FEW}
    if small:
        counts = ", ".join(f"{name} has {n}" for name, n in small.items())
        found.notes.append(f"fewer than {FEW} images ({counts}): FID, KID, precision and recall say little")
    return found


def _cannot(missing: Mapping[str, str], pairs: str, asked: Asked) -> tuple[str, str, str]:
    why, _, mend = next(iter(missing.values())).partition(": ")
    unpaired = "" if asked.pairs == "none" else f", and no pairs: {pairs}"
    return f"nothing can be measured: {why}{unpaired}", asked.extractor, mend


def _statistics_alone(a: ImageSet, b: ImageSet) -> bool:
    """Whether no network is needed for the distance of distributions."""
    return a.images is None and b.images is None


def _resumable(
    output: Path | None, a: ImageSet, b: ImageSet, asked: Asked, networks: list[Any], speed: Runtime
) -> AbstractContextManager[Any]:
    if output is None:
        return nullcontext()
    sets = [one.images.digest if one.images is not None else None for one in (a, b)]  # type: ignore[attr-defined]
    return resumable(output, {"sets": sets, "networks": networks, "pairs": asked.pairs}, speed)


# networks


def _weights(source: str, given: Path | None, option: str) -> Path | str:
    """The file of published weights, or why it is missing.

    Raises:
        UserError: a file was named that is not there.
    """
    path = given or DATA / load_sources()[source].path
    mend = f"run `bridgepipe fetch {source}`, or give the file to {option}"
    if path.is_file():
        return path
    if given is not None:
        raise UserError("no such weights", given, mend)
    return f"no weights at {path}: {mend}"


def _network(
    a: ImageSet, b: ImageSet, asked: Asked, missing: dict[str, str], speed: Runtime
) -> extractors.Extractor | None:
    if _statistics_alone(a, b):
        return None
    if asked.extractor == "classifier":
        if asked.weights is None:
            raise UserError("a classifier needs its file", "--extractor", "give it to --weights")
        path: Path | str = asked.weights
    else:
        path = _weights(f"extractor/{asked.extractor}", asked.weights, "--weights")
    if isinstance(path, str):
        missing["fid, kid, precision, recall"] = path
        return None
    device = running.accelerator(speed.device).device
    network = extractors.load_extractor(asked.extractor, path, device=device)
    for one in (a, b):
        if one.store is not None:
            extractors.check_fits(network, one.store)
    return network


def _lpips(pairs: Pairs | str, asked: Asked, missing: dict[str, str], speed: Runtime) -> Lpips | None:
    from bridgepipe.evaluation import perceptual

    if isinstance(pairs, str):
        return None
    path = _weights(perceptual.SOURCE, asked.lpips, "--lpips")
    if isinstance(path, str):
        missing["lpips"] = path
        return None
    return perceptual.Lpips(path, running.accelerator(speed.device).device)


# distributions


def _distributions(
    a: ImageSet,
    b: ImageSet,
    network: extractors.Extractor | None,
    pairs: Pairs | str,
    asked: Asked,
    found: Found,
    speed: Runtime,
) -> None:
    """FID, KID, precision and recall, with the floor of halves of the reference."""
    ours, theirs = (_statistics(one, name, network, speed, found) for one, name in ((a, "A"), (b, "B")))
    if a.images is not None and b.images is not None and isinstance(pairs, Pairs):
        shown = contents(Subset(b.images, pairs.second))
        ours = replace(ours, pictures=shown)
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
    if kernel and asked.recall:
        shares: Json = {}
        for suffix, (x, y) in sets.items():
            if min(len(x.sample), len(y.sample)) > neighbours.K:
                precision, recall = neighbours.precision_and_recall(x.sample, y.sample)
                shares |= precision.values(f"precision{suffix}") | recall.values(f"recall{suffix}")
        if not shares:
            found.missing["precision, recall"] = f"{neighbours.K} neighbours of each image need more images"
        else:
            metric = protocol.protocol(neighbours.METRIC, **entries)
            found.metrics["precision and recall"] = protocol.metric(shares, metric)
    if (held := fid.held(ours, theirs)) > 0:
        found.notes.append(
            f"B holds what {held} of {len(ours.pictures)} images of A show: a small FID says less"
        )


def _statistics(
    one: ImageSet, name: str, network: extractors.Extractor | None, speed: Runtime, found: Found
) -> Statistics:
    """Those that came with the images, else their own.

    Raises:
        UserError: the statistics were made with another extractor.
    """
    if one.images is None:
        assert one.known is not None
        return _of_extractor(one.known, one, name, network, found)
    assert network is not None
    measured = fid.statistics(network, one.images, speed.batch_size, label=f"features of {name}")
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
    }


def _quantisation(one: ImageSet) -> str:
    return "as in the files" if one.store is None else lineage.quantisation(one.store)


# pairs


def _similarities(a: ImageSet, b: ImageSet, pairs: Pairs, perceptual: Lpips | None, found: Found) -> None:
    """PSNR, SSIM and LPIPS of every pair."""
    assert a.images is not None
    assert b.images is not None
    ours, theirs = Subset(a.images, pairs.first), Subset(b.images, pairs.second)

    def metric(name: str, values: Mapping[str, float], definition: str, **inputs: Any) -> None:
        read = {"originals": theirs, **inputs}
        about = {"n": len(ours), "settings": {"pairs": pairs.how}, "inputs": read}
        entries = protocol.protocol(definition, **about, quantisation=_quantisation(a))  # type: ignore[arg-type]
        found.metrics[name] = protocol.metric(values, entries)

    ways: dict[str, Callable[[], None]] = {
        "psnr, ssim": lambda: metric("similarity", quality(ours, theirs, "pairs").values(), SIMILARITY)
    }
    if perceptual is not None:
        from bridgepipe.evaluation.perceptual import METRIC

        def distance() -> None:
            values = protocol.Estimate.of(perceptual.distances(ours, theirs)).values("lpips", 0.0)
            metric("lpips", values, METRIC, network=perceptual.digest)

        ways["lpips"] = distance
    for name, way in ways.items():
        try:
            way()
        except UserError as e:  # sizes that differ, or are too small: what else was measured is not lost
            found.missing[name] = str(e)


# for people


def report(a: Path, b: Path, asked: Asked, as_json: bool, output: Path | None, speed: Runtime) -> None:
    """`measure`, as a table or as JSON on standard output, and as JSON in a file.

    Raises:
        UserError: as `measure`.
    """
    found = measure(a, b, asked, output, speed)
    if not running.is_main():
        return
    if output is not None:
        artifacts.write_json(output, found.as_json())
    print(json.dumps(found.as_json(), indent=2, allow_nan=False) if as_json else text(found))


def text(found: Found) -> str:
    """A table, and what a reader must know."""
    lines = [_described(name, getattr(found, name.lower())) for name in ("A", "B")]
    extractor = next(
        (m["protocol"]["extractor"] for m in found.metrics.values() if m["protocol"]["extractor"]), None
    )
    if extractor:
        lines.append(f"extractor: {extractor['name']}, {extractor['digest']}")
    rows = [HEADINGS, *_rows(found)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADINGS))]
    lines += [
        "",
        *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows),
        "",
    ]
    if any(row[3] for row in rows[1:]):
        lines.append("floor: half of B against the other half; beside it as many of A against that half")
    lines += found.notes
    lines += [f"not measured: {name}: {why}" for name, why in found.missing.items()]
    return "\n".join(lines)


HEADINGS = ("measure", "value", "95 % interval", "floor", "as many of A", "n", "protocol")


def _described(name: str, one: Mapping[str, Any]) -> str:
    count = f"{one['n']} images" if one["n"] else "number of images not told"
    return f"{name}: {one['path']} ({one['kind']}, {count})"


def _rows(found: Found) -> Iterator[tuple[str, ...]]:
    for name in MEASURES:
        metric = next((m for m in found.metrics.values() if name in m["values"]), None)
        if metric is None:
            continue
        values, entries = metric["values"], metric["protocol"]
        n = f"{entries['n']}" + (f" / {entries['reference']['n'] or '?'}" if entries["reference"] else "")
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        interval = "" if low is None else f"{_number(low)} to {_number(high)}"
        floor = values.get(f"{name}_real")
        beside = ("", "")
        if floor is not None:
            beside = f"{_number(floor)} (n {entries['floor']['n']})", _number(values[f"{name}_equal"])
        yield name, _number(values[name]), interval, *beside, n, metric["protocol_hash"][:8]


def _number(value: Any) -> str:
    return f"{value:.4g}"
