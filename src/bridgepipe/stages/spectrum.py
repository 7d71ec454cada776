"""The power spectrum of a split, and the power law that Shortest-Path Diffusion takes from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridgepipe import artifacts
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets.patches import by_picture
from bridgepipe.evaluation.protocol import students_t
from bridgepipe.figures import images as figures
from bridgepipe.names import Json
from bridgepipe.processes import schedules
from bridgepipe.processes import spectrum as power


def fit(
    data: Path,
    output: Path,
    figure: Path,
    title: str,
    batch_size: int,
) -> None:
    """Fit the power law of Shortest-Path Diffusion to a split; picture of spectrum and fit.

    Of patches also the exponent of every picture, and the interval of their mean over the pictures.
    """
    images = ImageStore(data)

    def power_of(items: Sequence[int]) -> NDArray[np.float64]:
        pieces = (items[i : i + batch_size] for i in range(0, len(items), batch_size))
        return power.power_spectrum(images.batch(piece) for piece in pieces)

    measured = power_of(range(len(images)))
    law = power.fit_power_law(measured)
    of_pictures = {name: power_of(items) for name, items in (by_picture(images) or {}).items()}
    sloped = {name: p for name, p in of_pictures.items() if (p > 0).all()}  # one of one colour has no slope
    k = schedules.radial_frequency(measured.shape).ravel()
    fitted, lines = law.c1 / (law.c2 + k) ** law.m, [power.radial_mean(p) for p in sloped.values()]
    figures.spectrum_fit(figure, k, measured.ravel(), fitted, title, lines, power.NATURAL)
    exponents = {name: power.exponent(p) for name, p in sloped.items()}
    artifacts.write_json(output, {**asdict(law), **_of_pictures(exponents), "data": images.digest})


def _of_pictures(exponents: Mapping[str, float]) -> Json:
    """Exponents of pictures, their mean and Student's 95 % interval of it; nothing of fewer than two."""
    if len(exponents) < 2:
        return {}
    values = list(exponents.values())
    mean, error = sum(values) / len(values), np.std(values, ddof=1) / np.sqrt(len(values))
    half = float(students_t(len(values) - 1) * error)
    interval = {"exponent_low": mean - half, "exponent_high": mean + half, "exponent_n": len(values)}
    return {"exponent": mean, **interval, "exponents": dict(exponents)}
