"""What `bridgepipe measure` and `fid` do: open two sets of images, choose networks, compare, and print."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe.config.runtime import Runtime
from bridgepipe.downloads.sources import load_sources
from bridgepipe.errors import UserError
from bridgepipe.evaluation import extractors
from bridgepipe.evaluation.comparing import (
    Found,
    distributions,
    fit_to_text,
    similarities,
    statistics_alone,
)
from bridgepipe.evaluation.image_sets import ImageSet, about
from bridgepipe.evaluation.measures import FEW
from bridgepipe.evaluation.pairing import Pairs, pair
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable

if TYPE_CHECKING:
    from bridgepipe.evaluation.perceptual import Clip, Identity, Lpips

DATA = Path("data")
MEASURES = ("fid", "kid", "precision", "recall", "psnr", "ssim", "lpips", "identity", "clip")


@dataclass(frozen=True)
class Asked:
    """What a person asked for.

    Attributes:
        extractor: kind of the extractor.
        weights: file of its weights; None: where `fetch` puts it.
        pairs: way of pairing, see `pairing.pair`; ``none`` also where only distributions are compared.
        lpips: weights of the backbone of LPIPS; None: where `fetch` puts them.
        recall: whether precision and recall are wanted.
        clip: text that the evaluated images are to show; None: no CLIP score.
        clip_weights: file of CLIP's weights; None: where `fetch` puts it.
        identity: face recognition by which identities are compared, a file or a source; None: they are not.
    """

    extractor: str = "inception"
    weights: Path | None = None
    pairs: str = "auto"
    lpips: Path | None = None
    recall: bool = True
    clip: str | None = None
    clip_weights: Path | None = None
    identity: str | None = None


def measure(a: ImageSet, b: ImageSet, asked: Asked, output: Path | None, speed: Runtime) -> Found:
    """Compare images with real ones.

    Args:
        a: the evaluated images, or their statistics.
        b: those that they are compared with.
        output: file that the caller writes, beside which finished batches are kept; None: they are not.

    Raises:
        UserError: nothing can be measured, or weights were named that are no file.
    """
    found = Found(about(a), about(b))
    network = _network(a, b, asked, found.missing, speed)
    pairs = pair(a, b, asked.pairs)
    of_pairs = _of_pairs(pairs, asked, found.missing, speed)
    clip = _clip(a, asked, speed)
    if network is None and clip is None and isinstance(pairs, str) and not statistics_alone(a, b):
        raise UserError(*_cannot(found.missing, pairs, asked))
    networks = [getattr(one, "digest", None) for one in (network, clip, *of_pairs.values())]
    with _resumable(output, a, b, asked, networks, speed):
        if network is not None or statistics_alone(a, b):
            distributions(a, b, network, pairs, asked.recall, found, speed.batch_size)
        if isinstance(pairs, Pairs):
            similarities(a, b, pairs, of_pairs, found)
        if clip is not None:
            fit_to_text(a, str(asked.clip), clip, found)
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


def _resumable(
    output: Path | None, a: ImageSet, b: ImageSet, asked: Asked, networks: list[Any], speed: Runtime
) -> AbstractContextManager[Any]:
    if output is None:
        return nullcontext()
    sets = [one.images.digest if one.images is not None else None for one in (a, b)]  # type: ignore[attr-defined]
    identity = {"sets": sets, "networks": networks, "pairs": asked.pairs, "text": asked.clip}
    return resumable(output, identity, speed)


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
    if statistics_alone(a, b):
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
    device = running.placed(speed.device).device
    network = extractors.load_extractor(asked.extractor, path, device=device)
    for one in (a, b):
        if one.store is not None:
            extractors.check_fits(network, one.store)
    return network


def _of_pairs(
    pairs: Pairs | str, asked: Asked, missing: dict[str, str], speed: Runtime
) -> dict[str, Lpips | Identity]:
    """Networks that compare pairs, by what they measure: LPIPS where it can be had, identity where asked for.

    Raises:
        UserError: identities cannot be compared.
    """
    from bridgepipe.evaluation import perceptual

    found: dict[str, Lpips | Identity] = {}
    if isinstance(pairs, str):
        if asked.identity is not None:
            raise UserError(f"no pairs: {pairs}", "--identity", "give images and what they were made from")
        return found
    path = _weights(perceptual.LPIPS, asked.lpips, "--lpips")
    if isinstance(path, str):
        missing["lpips"] = path
    else:
        found["lpips"] = perceptual.Lpips(path, running.placed(speed.device).device)
    if asked.identity is not None:
        found["identity"] = perceptual.Identity(perceptual.file_of(asked.identity))
    return found


def _clip(a: ImageSet, asked: Asked, speed: Runtime) -> Clip | None:
    from bridgepipe.evaluation import perceptual

    if asked.clip is None:
        return None
    if a.images is None:
        raise UserError("statistics, which show nothing", a.path, "give images, or leave --clip-text out")
    path = perceptual.file_of(str(asked.clip_weights or perceptual.CLIP))
    return perceptual.Clip(path, running.placed(speed.device).device)


# for people


def report(
    a: ImageSet, b: ImageSet, asked: Asked, as_json: bool, output: Path | None, speed: Runtime
) -> None:
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
    settings = [metric["protocol"]["settings"] for metric in found.metrics.values()]
    lines += [f"pairs: {how}" for how in dict.fromkeys(s["pairs"] for s in settings if "pairs" in s)]
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
