"""A number and how it was obtained, so that no two numbers are compared by mistake.

A metric file has three parts:

- ``values``: the numbers;
- ``protocol``: everything that two values must share to be comparable (the
  metric's definition, extractor and weights, reference images, number of
  images, resize and quantisation rule), with its hash;
- ``made_with``: what this value was made with and another may differ in (nfe,
  seed, digest of the checkpoint). Comparing those is the purpose of the
  numbers, so they are recorded beside the hash and not in it.

Timings and host names have no place here: a repeated run writes the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridgepipe.artifacts import digest_of, write_json
from bridgepipe.errors import UserError
from bridgepipe.names import QUANTISATION

# The published conversion of a sample in [-1, 1].
TRUNCATION = QUANTISATION["published"]
# More digits of a float64 sum depend on the order in which threads added it up.
SIGNIFICANT_DIGITS = 8

Value = float | int | None
Metric = dict[str, Any]


def protocol(
    metric: str,
    *,
    n: int,
    extractor: Mapping[str, Any] | None = None,
    reference: str | None = None,
    reference_digest: str | None = None,
    reference_origin: Mapping[str, Any] | None = None,
    quantisation: str = TRUNCATION,
    **details: Any,
) -> dict[str, Any]:
    """What makes values comparable, always under the same keys.

    Args:
        metric: name and definition, for example "fid: float64, unbiased covariance".
        n: number of evaluated images.
        extractor: name, digest and resize rule (`features.describe`), where one is used.
        reference: name of the real images, such as "digits/test".
        reference_digest: digest of the real images.
        reference_origin: what they are (`lineage.origin`), where that is known.
        quantisation: how samples became uint8.
        details: further keys of this metric.
    """
    return {
        "metric": metric,
        "extractor": dict(extractor) if extractor is not None else None,
        "reference": {
            "name": reference,
            "digest": reference_digest,
            **({"origin": dict(reference_origin)} if reference_origin else {}),
        },
        "n": n,
        "quantisation": quantisation,
        **details,
    }


def metric(
    values: Mapping[str, Value], protocol: Mapping[str, Any], made_with: Mapping[str, Any] | None = None
) -> Metric:
    """Content of a metric file.

    Args:
        values: numbers by name; floats are kept to 8 significant digits.
        protocol: what two values must share to be comparable (`protocol`).
        made_with: nfe, seed, digest of the checkpoint and the like.

    Raises:
        UserError: a value is not finite.
    """
    return {
        "values": {name: _rounded(name, value) for name, value in values.items()},
        "protocol": dict(protocol),
        "protocol_hash": digest_of(protocol),
        "made_with": dict(made_with or {}),
    }


def write_metric(
    path: str | Path,
    values: Mapping[str, Value],
    protocol: Mapping[str, Any],
    made_with: Mapping[str, Any] | None = None,
) -> None:
    """Write `metric` as JSON; equal arguments give equal bytes."""
    write_json(path, metric(values, protocol, made_with))


def comparable(a: Metric, b: Metric) -> list[str]:
    """Protocol entries in which two metric files differ, as dotted keys; empty: compare freely."""
    return _differences(a["protocol"], b["protocol"])


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted(set(a) | set(b)):
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += _differences(left, right, f"{prefix}{key}.")
        elif left != right or (key in a) != (key in b):
            found.append(prefix + key)
    return found


def errors(mean: float, largest: float) -> dict[str, float | None]:
    """The mean and the largest of some errors, and their logarithms to base 10.

    `dvc metrics show` and its like round to 5 decimals: an exact cycle of 9e-10 would be 0.0 there, and its
    logarithm is -9.04. None for an error of 0.
    """
    found: dict[str, float | None] = {"mean": mean, "max": largest}
    logarithms = {f"log10_{k}": math.log10(v) if v else None for k, v in found.items()}
    return found | logarithms


def _rounded(name: str, value: Value) -> Value:
    if not isinstance(value, float):
        return value
    if value - value != 0:
        raise UserError(f"{name} is {value}", "metric", "look at the images: the samples are not usable")
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
