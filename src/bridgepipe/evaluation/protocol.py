"""A number and how it was obtained, so that no two numbers are compared by mistake.

A metric file has three parts:

- ``values``: the numbers;
- ``protocol``: everything that the value was computed from besides the evaluated
  artefacts: all settings of the stage and the digest of everything else that it read, with their hash.
  Nothing is chosen for it from a list: a setting or an input that is added later is in the hash;
- ``made_with``: what the evaluated artefacts were made with (nfe, seed, digest of the
  checkpoint). Comparing those is the purpose of the numbers, so they are recorded
  beside the hash and not in it.

Timings and host names have no place here: a repeated run writes the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict, cast

import numpy as np
from numpy.typing import ArrayLike

from bridgepipe.artifacts import digest_of, read_object, write_json
from bridgepipe.errors import UserError
from bridgepipe.names import QUANTISATION, Json

# The published conversion of a sample in [-1, 1].
TRUNCATION = QUANTISATION["published"]
# More digits of a float64 sum depend on the order in which threads added it up.
SIGNIFICANT_DIGITS = 8

Z95 = 1.959963984540054  # two-sided 95 % point of the normal distribution

Value = float | int | None


class Metric(TypedDict):
    """Content of a metric file.

    Attributes:
        values: numbers by name.
        protocol: what two values must share to be comparable, see `protocol`.
        protocol_hash: digest of the protocol.
        made_with: what made the measured artefacts: nfe, seed, digest of the checkpoint and the like.
    """

    values: dict[str, Value]
    protocol: Json
    protocol_hash: str
    made_with: Json


def read_metric(path: str | Path) -> Metric:
    """A metric file.

    Raises:
        UserError: the file is missing or damaged; also later, where a name is read that it lacks.
    """
    return cast(Metric, read_object(path))


def students_t(freedom: int) -> float:
    """Two-sided 95 % point of Student's t with so many degrees of freedom."""
    from scipy.special import stdtrit  # scipy.stats takes a second to load, and asks this, too

    return float(stdtrit(freedom, 0.975))


def measured(file: Path) -> tuple[str, str]:
    """Method and experiment that a metric file ``…/METHOD/EXPERIMENT/METRIC.json`` is of."""
    *folders, experiment = file.parent.parts
    of_method = folders[folders.index("results") + 1 :] if "results" in folders else folders[-1:]
    return "/".join(of_method), experiment


@dataclass(frozen=True)
class Estimate:
    """A number that was measured on some images, and its standard error.

    The error is that of another draw of as many images; what they are compared with is taken as it is. None
    where there are too few images to tell.

    Attributes:
        reach: half of the 95 % interval, in standard errors.
    """

    value: float
    error: float | None
    reach: float = Z95

    @classmethod
    def of(cls, numbers: ArrayLike, sources: Sequence[str] | None = None) -> Self:
        """The mean of numbers ``[N]``, such as one for every image.

        Args:
            numbers: independent ones, unless there are sources.
            sources: what each number is of, such as the photograph that a patch was cut from. Numbers of one
                source may depend on one another, and another draw is one of as many sources.
        """
        found = np.asarray(numbers, np.float64)
        if sources is not None:
            return cls._over_sources(found, sources)
        error = float(found.std(ddof=1) / math.sqrt(len(found))) if len(found) > 1 else None
        return cls(float(found.mean()), error)

    @classmethod
    def _over_sources(cls, found: np.ndarray, sources: Sequence[str]) -> Self:
        """With the error that is robust to clusters, and Student's t with one less degree of freedom."""
        _, source = np.unique(sources, return_inverse=True)
        sums = np.bincount(source, found - found.mean())
        if (k := len(sums)) < 2:
            return cls(float(found.mean()), None)
        error = math.sqrt(k / (k - 1) * np.square(sums).sum()) / len(found)
        return cls(float(found.mean()), error, students_t(k - 1))

    def values(self, name: str, least: float = -math.inf, most: float = math.inf) -> dict[str, float]:
        """The value and the ends of its 95 % interval, which stays between ``least`` and ``most``."""
        if self.error is None:
            return {name: self.value}
        low, high = self.value - self.reach * self.error, self.value + self.reach * self.error
        return {name: self.value, f"{name}_low": max(least, low), f"{name}_high": min(most, high)}


def protocol(
    metric: str,
    *,
    n: int,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Any],
    extractor: Mapping[str, Any] | None = None,
    reference: Mapping[str, Any] | None = None,
    quantisation: str = TRUNCATION,
    **details: Any,
) -> Json:
    """What makes values comparable, always under the same keys.

    Args:
        metric: name and definition, for example "fid: float64, unbiased covariance".
        n: number of evaluated items.
        settings: the whole configuration of the stage, and the options of its verb.
        inputs: everything that it read besides the evaluated artefacts, by role: what has a ``digest``, or
            the digest itself.
        extractor: name, digest and resize rule (`extractors.describe`), where one is used.
        reference: what the real items are, where that says more than their digest.
        quantisation: rule by which samples became uint8.
        details: further keys of this metric.
    """
    return {
        "metric": metric,
        "settings": dict(settings),
        "inputs": {role: getattr(read, "digest", read) for role, read in inputs.items()},
        "extractor": dict(extractor) if extractor is not None else None,
        "reference": dict(reference) if reference is not None else None,
        "n": n,
        "quantisation": quantisation,
        **details,
    }


def over_pictures(pictures: Sequence[str] | None) -> Json:
    """Entry of a protocol whose intervals are over the pictures that patches were cut from; else none."""
    return {} if pictures is None else {"intervals_over": f"{len(set(pictures))} pictures of the patches"}


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


def as_columns(values: Mapping[str, Any], name: str, column: str) -> Json:
    """A value and the ends of its interval as columns of a study: FID, low of FID, high of FID."""
    keys = {column: name, f"low of {column}": f"{name}_low", f"high of {column}": f"{name}_high"}
    return {title: values[key] for title, key in keys.items() if values.get(key) is not None}


def write_metric(
    path: str | Path,
    values: Mapping[str, Value],
    protocol: Mapping[str, Any],
    made_with: Mapping[str, Any] | None = None,
) -> None:
    """Write `metric` as JSON; equal arguments give equal bytes."""
    write_json(path, metric(values, protocol, made_with))


def comparable(a: Metric, b: Metric, but_for: Sequence[str] = ()) -> list[str]:
    """Protocol entries in which two metric files differ, as dotted keys; empty: compare freely.

    Args:
        but_for: dotted keys that may differ, with all below them: what a table shows beside each other.
    """
    found = _differences(a["protocol"], b["protocol"])
    return [key for key in found if not any(f"{key}.".startswith(f"{allowed}.") for allowed in but_for)]


def groups(rows: Sequence[Mapping[str, Metric]], but_for: Sequence[str] = ()) -> list[str]:
    """A letter for each row of a table; rows with one letter have `comparable` values.

    Args:
        rows: metric files by what they measure; two rows are compared in all that both have, and rows that
            share nothing are never in one group.
        but_for: see `comparable`.
    """
    found: list[int] = []
    for k, row in enumerate(rows):
        others = [rows[i] for i in range(k)]
        fitting = (
            group
            for group in range(max(found, default=-1) + 1)
            if all(
                _alike(row, other, but_for) for other, of in zip(others, found, strict=True) if of == group
            )
        )
        found.append(next(fitting, max(found, default=-1) + 1))
    return [chr(ord("A") + group) if group < 26 else str(group + 1) for group in found]


def _alike(a: Mapping[str, Metric], b: Mapping[str, Metric], but_for: Sequence[str]) -> bool:
    shared = a.keys() & b.keys()
    return bool(shared) and not any(comparable(a[name], b[name], but_for) for name in shared)


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted(set(a) | set(b)):
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += _differences(left, right, f"{prefix}{key}.")
        elif left != right or (key in a) != (key in b):
            found.append(prefix + key)
    return found


def errors(found: ArrayLike) -> dict[str, float | None]:
    """The mean of errors ``[N]`` with its 95 % interval, the largest, and logarithms to base 10 of both.

    `dvc metrics show` and its like round to 5 decimals: an exact cycle of 9e-10 would be 0.0 there, and its
    logarithm is -9.04. None for an error of 0.
    """
    values: dict[str, float | None] = {**Estimate.of(found).values("mean", 0.0), "max": float(np.max(found))}
    return values | {f"log10_{k}": math.log10(v) if (v := values[k]) else None for k in ("mean", "max")}


def _rounded(name: str, value: Value) -> Value:
    if not isinstance(value, float):
        return value
    if value - value != 0:
        raise UserError(f"{name} is {value}", "metric", "look at the images: the samples are not usable")
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def protocol_columns(described: Mapping[str, Any]) -> Json:
    """What a reader must know of a FID: numbers of images, the reference, and the hash of the protocol."""
    floor = described.get("floor")
    return {
        "n": described["n"],
        **({"n real": floor["n"]} if floor is not None and floor["n"] != described["n"] else {}),
        "reference": reference_of(described),
        "protocol": digest_of(described)[:8],
    }


def reference_of(described: Mapping[str, Any]) -> str:
    """The reference of a protocol in words: split, number of images, and which known ones are among them."""
    about = described["reference"]
    words = f"{about['name']} ({about['n'] or 'an unknown number of'} images)"
    if about["originals"] is not None:
        return f"{words}, {_among(about['originals'], described['n'])} the originals in it"
    return f"{words}, the training images" if about.get("training_images") else words


def _among(held: int, n: int) -> str:
    return "none of" if held == 0 else "all" if held == n else f"{held} of"
