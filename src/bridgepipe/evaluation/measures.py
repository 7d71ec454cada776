"""What is measured: every number of a metric file by name, which way is better, what it is read beside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bridgepipe.artifacts import digest_of
from bridgepipe.evaluation import comparable, point_tables
from bridgepipe.evaluation.protocol import Metric, Value
from bridgepipe.evaluation.published_numbers import Published
from bridgepipe.names import Json

TASK = ("corruption", "variant", "mask_file", "source", "target")  # settings that decide what is asked for
FEW = 100  # images below which no measure of a distribution is worth a digit
ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class Measure:
    """One number of a metric file.

    Attributes:
        title: the usual name.
        metric: name of the metric file, without its ending.
        key: name of the value in it.
        better: the direction of better values.
        floor: name of the same measure of as many real images or points, the best that can be expected.
        before: names that the same measure of the input may have: of degraded images, or of untouched ones.
        percent: whether the value is a share, which is shown in percent.
        unit: unit of the value.
        own_points: whether every experiment is measured on points of its own.
    """

    title: str
    metric: str
    key: str
    better: Literal["lower", "higher"]
    floor: str = ""
    before: tuple[str, ...] = ()
    percent: bool = False
    unit: str = ""
    own_points: bool = False

    @property
    def heading(self) -> str:
        """The title with its unit and an arrow that points to the better values."""
        unit = "%" if self.percent else self.unit
        return f"{self.title}{unit and f', {unit}'} {ARROWS[self.better]}"


MEASURES = (
    Measure("FID", "fid", "fid", "lower", "fid_real", ("fid_corrupted", "fid_source")),
    Measure("KID", "fid", "kid", "lower", "kid_real", ("kid_corrupted", "kid_source")),
    Measure("Precision", "fid", "precision", "higher", "precision_real"),
    Measure("Recall", "fid", "recall", "higher", "recall_real"),
    Measure(
        "Accuracy", "accuracy", "accuracy", "higher", "accuracy_originals", ("accuracy_corrupted",), True
    ),
    Measure("PSNR", "restoration", "psnr", "higher", before=("psnr_corrupted",), unit="dB"),
    Measure("SSIM", "restoration", "ssim", "higher", before=("ssim_corrupted",)),
    Measure("PSNR to the source", "similarity", "psnr", "higher", before=("psnr_random",), unit="dB"),
    Measure("SSIM to the source", "similarity", "ssim", "higher", before=("ssim_random",)),
    Measure("Cycle error of the pair", "cycle", "pair_mean", "lower"),
    Measure("Cycle error", "cycle", "image_mean", "lower"),
    Measure("Cycle error, 8 bits", "cycle", "uint8_mean", "lower"),
    Measure("Cycle error of points", "cycle", "mean", "lower", own_points=True),
    Measure("Accuracy of the boundary", "accuracy", "z_accuracy", "higher", percent=True),
    Measure("Accuracy of the boundary, h-space", "accuracy", "h_accuracy", "higher", percent=True),
    Measure("Flipped by the edit", "edit", "flipped", "higher", before=("baseline_flipped",), percent=True),
    Measure("Class preserved", "edit", "preserved_class_at_best", "higher", percent=True),
    Measure("PSNR to unedited", "edit", "psnr_at_best", "higher", unit="dB"),
    Measure("Evenness of the edit", "edit", "spearman", "higher"),
    Measure("FID with the attribute", "edit", "fid_with", "lower", "fid_with_real", ("fid_with_plain",)),
    Measure("FID without it", "edit", "fid_without", "lower", "fid_without_real", ("fid_without_plain",)),
    Measure("Sliced W2", "metrics", "sliced_w2", "lower", "sliced_w2_floor", own_points=True),
    Measure(
        "Sliced W2 to the target",
        "transport",
        "sliced_w2",
        "lower",
        "sliced_w2_floor",
        ("sliced_w2_untouched",),
        own_points=True,
    ),
    Measure("MSE to optimal transport", "transport", "mse_ot", "lower", own_points=True),
    Measure("MSE to optimal transport", "transfer", "mse_ot", "lower", own_points=True),
)


@dataclass(frozen=True)
class Reading:
    """One measure of one experiment, with all that it is read beside, under one protocol.

    Attributes:
        experiment: full name, and after it the part that is measured where there are several.
        value, low, high, floor, before: numbers in the unit of the heading.
        gain: 95 % interval of what is gained over the input, of every image over its own; None where that was
            not measured.
        n: number of images or points.
        published: the published number; None unless it was measured under the same protocol.
        nfe: network calls an image.
        protocol: hash of the protocol.
        alike: hash of the protocol but for which points were measured, and of the `task`: what stands under
            one heading.
        metric: the whole file, of the first of several seeds.
        members: the readings of which this is the mean over seeds; none where it was measured itself.
    """

    experiment: str
    measure: Measure
    value: float
    low: float | None
    high: float | None
    floor: float | None
    before: float | None
    gain: tuple[float, float] | None
    n: int
    published: float | None
    nfe: int | None
    protocol: str
    alike: str
    metric: Metric
    members: tuple[Reading, ...] = ()

    @property
    def few(self) -> bool:
        """Whether there are too few images for the number to mean much."""
        return self.n < FEW

    @property
    def worse_than_input(self) -> bool:
        """Whether the interval of the gain lies below zero."""
        return self.gain is not None and self.gain[1] < 0

    @property
    def like_input(self) -> bool:
        """Whether the interval of the gain holds zero."""
        return self.gain is not None and self.gain[0] <= 0 <= self.gain[1]

    @property
    def like_real(self) -> bool:
        """Whether the value can't be told from that of as many real images."""
        end = self.low if self.measure.better == "lower" else self.high
        if self.floor is None or end is None:
            return False
        return end <= self.floor if self.measure.better == "lower" else end >= self.floor


def readings(experiment: str, stem: str, metric: Metric, published: list[Published]) -> Iterator[Reading]:
    """What one metric file of an experiment tells, in the order of `MEASURES`.

    Args:
        experiment: full name, ``method/name``.
        stem: name of the file without its ending.
        metric: content of the file.
        published: published numbers of this experiment.
    """
    parts = point_tables.parts(metric["values"])
    for measure in MEASURES:
        for part, values in parts.items() if measure.metric == stem else ():
            if isinstance(values.get(measure.key), int | float):
                yield _reading(f"{experiment} {part}".strip(), measure, values, metric, published)


def _reading(
    experiment: str,
    measure: Measure,
    values: Mapping[str, Value],
    metric: Metric,
    published: list[Published],
) -> Reading:
    def scaled(*names: str) -> float | None:
        found = next((values[name] for name in names if values.get(name) is not None), None)
        return None if found is None else float(found) * (100 if measure.percent else 1)

    low, high = scaled(f"{measure.key}_gain_low"), scaled(f"{measure.key}_gain_high")
    key, protocol, sample = measure.key, metric["protocol"], _settings(metric).get("sample", {})
    compared = _but_for_points(protocol) if measure.own_points else protocol
    same = [p for p in published if p.metric == key and comparable.beside(p, metric)]
    return Reading(
        experiment,
        measure,
        scaled(key) or 0.0,
        scaled(f"{key}_low"),
        scaled(f"{key}_high"),
        scaled(measure.floor),
        scaled(*measure.before),
        None if low is None or high is None else (low, high),
        int(values.get(f"{key}_n") or protocol["n"]),
        same[0].value if same else None,
        sample.get("nfe", values.get("calls")),
        metric["protocol_hash"],
        digest_of([compared, {} if measure.own_points else task(metric)]),
        metric,
    )


def task(metric: Metric) -> Json:
    """What a restoration began with or a translation was to become; nothing where images were generated.

    It is no part of the protocol, which tells how values were measured, and yet no value of one task is
    better than one of another: its input was nearer to begin with.
    """
    found = {key: value for key, value in _settings(metric).items() if key in TASK}
    if not {"corruption", "target"} & found.keys():
        return {}
    return {**found, "images": metric["made_with"].get("data")}


def _settings(metric: Metric) -> Mapping[str, Any]:
    return metric["made_with"].get("settings", {})


def _but_for_points(protocol: Mapping[str, Any]) -> Json:
    """The protocol without the entries that say which points were measured."""
    rest = {key: value for key, value in protocol.items() if key not in point_tables.POINTS}
    settings = protocol.get("settings", {})
    of_settings = {k: v for k, v in settings.items() if f"settings.{k}" not in point_tables.POINTS}
    return {**rest, "settings": of_settings}


def decimals(reading: Reading) -> int:
    """Decimals that the interval of a value is worth: two digits of its width; else three of the value."""
    if reading.low is not None and reading.high is not None and reading.high > reading.low:
        return max(0, 1 - math.floor(math.log10(reading.high - reading.low)))
    return 2 if not reading.value else max(1, 2 - math.floor(math.log10(abs(reading.value))))
