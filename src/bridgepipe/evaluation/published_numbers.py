"""Published numbers with their protocols, read from ``published.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bridgepipe.names import Json


@dataclass(frozen=True)
class Published:
    """One printed number.

    Attributes:
        system: i2sb, gaussian, ddib.
        experiment: named as in params.yaml where we have the same experiment.
        metric: fid, accuracy (percent), ...
        value: number as printed.
        nfe: network calls, None where no number is known.
        protocol: dataset, samples, split, reference, extractor, ...
        source: paper or repository, and table.
        same: the protocol in the terms of our metric files, see `evaluation.comparable`.
    """

    system: str
    experiment: str
    metric: str
    value: float
    nfe: int | None
    protocol: Mapping[str, Any]
    source: str
    same: Mapping[str, Any] = field(default_factory=dict)


def load_published(path: str | Path | None = None) -> list[Published]:
    """Every published number, in the order of the file."""
    text = Path(path or Path(__file__).with_name("published.yaml")).read_text("utf8")
    return [number for block in yaml.safe_load(text) for number in _numbers(block)]


def _numbers(block: Mapping[str, Any]) -> Iterator[Published]:
    metrics = {metric for values in block["values"].values() for metric in values}
    for experiment, values in block["values"].items():
        for metric, value in values.items():
            protocol = _of_metric(block["protocol"], metric, metrics)
            same = _of_metric(block.get("same", {}), metric, metrics)
            by_nfe = value if isinstance(value, Mapping) else {protocol.pop("nfe", None): value}
            for nfe, number in by_nfe.items():
                yield Published(
                    block["system"], experiment, metric, float(number), nfe, protocol, block["source"], same
                )


def _of_metric(words: Mapping[str, Any], metric: str, metrics: Set[str]) -> Json:
    """What is said of all metrics, and of one."""
    common = {key: word for key, word in words.items() if key not in metrics}
    return {**common, **words.get(metric, {})}
