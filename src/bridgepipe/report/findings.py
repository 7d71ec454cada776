"""One sentence per finding, made of the numbers that were measured and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bridgepipe.evaluation.measures import Reading
from bridgepipe.evaluation.one_table import Block, cells

# what an experiment is about, by metric file and value: the first two that it has make its sentence
HEADLINES = {
    ("restoration", "psnr"): "a PSNR",
    ("edit", "flipped"): "a share of flipped images",
    ("fid", "fid"): "an FID",
    ("accuracy", "accuracy"): "an accuracy",
    ("accuracy", "z_accuracy"): "an accuracy of its boundary",
    ("transport", "sliced_w2"): "a sliced W2 to its target",
    ("metrics", "sliced_w2"): "a sliced W2",
    ("transport", "mse_ot"): "an MSE to optimal transport",
    ("transfer", "mse_ot"): "an MSE to optimal transport",
    ("cycle", "image_mean"): "a cycle error",
    ("cycle", "mean"): "a cycle error",
}
SENTENCE = 2  # measures of one sentence


@dataclass(frozen=True)
class Finding:
    """A sentence about an experiment.

    Attributes:
        experiment: full name.
        text: the rest of the sentence, whose subject is the experiment.
        reading: the number that it begins with; None where it is of no metric file.
    """

    experiment: str
    text: str
    reading: Reading | None


def finding(experiment: str, found: Sequence[Reading]) -> Finding | None:
    """What the readings of an experiment say; None where nothing of it is a headline."""
    by_key = {(r.measure.metric, r.measure.key): r for r in reversed(found)}
    named = [by_key[headline] for headline in HEADLINES if headline in by_key][:SENTENCE]
    if not named:
        return None
    ending = "" if not named[0].few else f"; {named[0].n} images are too few to say much"
    return Finding(experiment, f"has {' and '.join(map(_said, named))}{ending}.", named[0])


def best(found: Sequence[Finding], blocks: Sequence[Block]) -> list[Finding]:
    """The finding that leads each method: the best under the protocol that most of its experiments share.

    Findings without a reading follow, of the methods that have no other.
    """
    leading: dict[str, tuple[int, Finding]] = {}
    for one in found:
        if one.reading is None:
            continue
        method = _method(one)
        block = next(b for b in blocks if one.reading in b.readings)
        peers = [r for r in block.readings if r.protocol == one.reading.protocol]
        leads = one.reading.experiment in block.best or len(peers) == 1
        if leads and len(peers) > leading.get(method, (0, one))[0]:
            leading[method] = len(peers), one
    alone = {_method(one): one for one in found if one.reading is None}
    return [_among(peers, one) for peers, one in leading.values()] + [
        one for method, one in alone.items() if method not in leading
    ]


def _method(one: Finding) -> str:
    return one.experiment.rsplit("/", 1)[0]


def _among(peers: int, one: Finding) -> Finding:
    if peers == 1:
        return one
    return Finding(one.experiment, f"{one.text[:-1]}, the best of {peers} under one protocol.", one.reading)


def _said(reading: Reading) -> str:
    """A number in words, with its interval and what it is read beside."""
    measure, cell = reading.measure, cells(reading)
    unit = "%" if measure.percent else measure.unit
    beside = [f"95 % interval {cell['95 %']}"] if cell["95 %"] else []
    beside += [_beside_input(reading, cell["input"])] if cell["input"] else []
    beside += [f"real {cell['real']}, from which it can't be told"] if reading.like_real else []
    beside += [f"real {cell['real']}"] if cell["real"] and not reading.like_real else []
    aside = f" ({'; '.join(beside)})" if beside else ""
    title = HEADLINES[measure.metric, measure.key]
    return f"{title} of {cell['value']}{unit and ' '}{unit}{aside}"


def _beside_input(reading: Reading, given: str) -> str:
    """The value of the input, and whether the result is worse or can't be told from it."""
    if reading.worse_than_input:
        return f"worse than its input, {given}"
    return f"input {given}, from which it can't be told" if reading.like_input else f"input {given}"
