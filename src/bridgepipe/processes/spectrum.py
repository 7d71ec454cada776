"""The power spectrum of a data set, and the power law that Shortest-Path Diffusion takes for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.processes.schedules import Table, radial_frequency

NATURAL = 2.0  # exponent of the power of natural images (Field 1987): their amplitude falls as 1/|k|


@dataclass(frozen=True)
class PowerLaw:
    """Power c1 / (c2 + |k|)^m; ``residual`` is the root mean square misfit of its natural logarithm."""

    c1: float
    c2: float
    m: float
    residual: float


def power_spectrum(batches: Iterable[Tensor]) -> Table:
    """Mean of |FFT|^2 over images and channels, float64 ``[H, W]`` in FFT order.

    The transform is orthonormal, so that white noise of variance 1 has power 1 everywhere: the unit in
    which Shortest-Path Diffusion compares data and noise. The mean image is not subtracted.

    Args:
        batches: images ``[B, C, H, W]`` in [-1, 1].

    Raises:
        UserError: there are no images.
    """
    total, count = None, 0
    for images in batches:
        power = torch.fft.fft2(images.double(), norm="ortho").abs().square().flatten(0, 1)
        total = power.sum(0) if total is None else total + power.sum(0)
        count += len(power)
    if total is None or not count:
        raise UserError("no images", "power spectrum", "give at least one batch")
    return (total / count).cpu().numpy()


def fit(power: NDArray[np.float64]) -> tuple[float, float, float]:
    """(c1, c2, m) of the power law nearest to a spectrum ``[H, W]`` in FFT order, see `fit_power_law`."""
    return astuple(fit_power_law(power))[:3]


def fit_power_law(power: NDArray[np.float64]) -> PowerLaw:
    """Least squares in log power, every frequency of the plane counting the same.

    For a given c2 the logarithm is linear in (log c1, m); c2 is found on a logarithmic grid that is
    refined around its best point, from 1e-4 of the lowest frequency to 10 times the highest.

    Raises:
        UserError: the spectrum isn't a positive matrix of more than one frequency.
    """
    power = np.asarray(power, dtype=np.float64)
    if power.ndim != 2 or power.size < 4 or not (power > 0).all():
        raise UserError(f"a spectrum of shape {power.shape}", "spectrum fit", "take positive powers [H, W]")
    k, log_power = radial_frequency(power.shape).ravel(), np.log(power).ravel()
    low, high = np.log(1e-4), np.log(10 * k.max())
    for _ in range(6):
        candidates = np.linspace(low, high, 41)
        best = candidates[np.argmin([_line(np.exp(c), k, log_power)[2] for c in candidates])]
        width = candidates[1] - candidates[0]
        low, high = best - width, best + width
    log_c1, m, residual = _line(float(np.exp(best)), k, log_power)
    return PowerLaw(float(np.exp(log_c1)), float(np.exp(best)), m, residual)


def exponent(power: NDArray[np.float64]) -> float:
    """m of the power law c / |k|^m nearest to a spectrum ``[H, W]`` in FFT order, the mean left out.

    Least squares in log power over log frequency, every frequency of the plane counting the same.
    """
    k = radial_frequency(power.shape).ravel()
    return _line(0.0, k[k > 0], np.log(power.ravel()[k > 0]))[1]


def radial_mean(power: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies 1, 2, ... of the shorter side, and the geometric mean of the power around each."""
    k = radial_frequency(power.shape).round().astype(int).ravel()
    rings = np.arange(1, min(power.shape) // 2 + 1)
    log_power = np.log(power.ravel())
    return rings.astype(np.float64), np.exp([log_power[k == ring].mean() for ring in rings])


def _line(c2: float, k: NDArray[np.float64], log_power: NDArray[np.float64]) -> tuple[float, float, float]:
    """log c1, m and the root mean square residual of log_power = log c1 - m log(c2 + k)."""
    design = np.stack([np.ones_like(k), -np.log(c2 + k)], axis=1)
    solution = np.linalg.lstsq(design, log_power, rcond=None)[0]
    residual = np.sqrt(np.mean((design @ solution - log_power) ** 2))
    return float(solution[0]), float(solution[1]), float(residual)
