"""Published numbers with their protocols, read from ``published.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bridgepipe.names import Json, seeds


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        system: name of the system with these tasks: i2sb, gaussian, ddib/points, ...
        by: name of the measured system, as printed.
        experiment: named as in params.yaml where we have the same experiment.
        metric: fid, accuracy (percent), ...
        value: number as printed.
        nfe: network calls, None where no number is known.
        protocol: dataset, samples, split, reference, extractor, ...
        source: paper or repository, and table.
        same: the protocol in the terms of our metric files, see `evaluation.comparable`.
        baseline: whether it is a number of another system of the same table.
    """

    system: str
    by: str
    experiment: str
    metric: str
    value: float
    nfe: int | None
    protocol: Mapping[str, Any]
    source: str
    same: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = False


def load_published(path: str | Path | None = None) -> list[Published]:
    """Every published number, in the order of the file."""
    text = Path(path or Path(__file__).with_name("published.yaml")).read_text("utf8")
    return [number for block in yaml.safe_load(text) for number in _of_block(block)]


def is_of(number: Published, method: str, experiment: str, how: Json) -> bool:
    """Whether a published number is of this experiment, in any number of calls.

    Samplers are published by name, points and colours without a name that an experiment could share.
    """
    if method != "spd":
        every = number.system in ("ddib/points", "ddib/color")
        return number.system == method and (every or number.experiment == seeds.repeated(experiment))
    sampler = how["sample"]["sampler"]
    if how["process"]["schedule"] == "shortest_path":
        return False
    name = f"ddpm-{how['process']['variance'].replace('_', '-')}" if sampler == "ancestral" else sampler
    return (number.system, number.experiment) == ("gaussian", name)


def _of_block(block: Mapping[str, Any]) -> Iterator[Published]:
    if "values" in block:
        yield from _numbers(block, block["by"], block["values"], block["protocol"])
    for name, others in block.get("baselines", {}).items():
        protocol = {**block["protocol"], "nfe": others.get("nfe")}
        yield from _numbers({**block, "same": {}}, name, others["values"], protocol, baseline=True)


def _numbers(
    block: Mapping[str, Any], by: str, table: Json, protocol: Json, baseline: bool = False
) -> Iterator[Published]:
    metrics = {metric for values in table.values() for metric in values}
    for experiment, values in table.items():
        for metric, value in values.items():
            words = _of_metric(protocol, metric, metrics)
            same = _of_metric(block.get("same", {}), metric, metrics)
            by_nfe = value if isinstance(value, Mapping) else {words.get("nfe"): value}
            words.pop("nfe", None)
            for nfe, number in by_nfe.items():
                yield Published(
                    block["system"],
                    by,
                    experiment,
                    metric,
                    float(number),
                    nfe,
                    words,
                    block["source"],
                    same,
                    baseline,
                )


def _of_metric(words: Mapping[str, Any], metric: str, metrics: Set[str]) -> Json:
    """What is said of all metrics, and of one."""
    common = {key: word for key, word in words.items() if key not in metrics}
    return {**common, **words.get(metric, {})}
