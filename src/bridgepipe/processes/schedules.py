"""Noise schedules: numbers in, float64 NumPy tables out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.names.timesteps import space_indices as space_indices
from bridgepipe.names.timesteps import timesteps as timesteps
from bridgepipe.names.timesteps import truncated as truncated

Table = NDArray[np.float64]
MAX_BETA = 0.999


def i2sb(interval: int = 1000, beta_max: float = 0.3) -> Table:
    """Betas ``[interval]`` of the image-to-image Schrödinger bridge, symmetric in time.

    sqrt(beta) would run linearly from sqrt(1e-4) to sqrt(beta_max / interval) over all the steps; the
    first half of that line and its mirror image are kept, so the peak, in the middle, stays below
    beta_max / interval. The published start of 1e-4 does not scale with the interval.

    Args:
        interval: number of discrete times, even and >= 2.
        beta_max: end of the line times the interval, > 0.

    Raises:
        UserError: the interval is odd or too small, or beta_max is not positive.
    """
    if interval < 2 or interval % 2:
        raise UserError(f"interval is {interval}", "i2sb schedule", "take an even number of at least 2")
    if not beta_max > 0:
        raise UserError(f"beta_max is {beta_max}", "i2sb schedule", "take a number above 0")
    line = np.linspace(np.sqrt(1e-4), np.sqrt(beta_max / interval), interval) ** 2
    rising = line[: interval // 2]
    return np.concatenate([rising, rising[::-1]])


def linear(T: int = 1000) -> Table:
    """alpha_bar ``[T]`` of betas that run linearly from 1e-4 to 0.02, times 1000/T (DDPM)."""
    scale = 1000 / _positive(T)
    return _alpha_bar(np.linspace(1e-4 * scale, 0.02 * scale, T))


def scaled_linear(T: int = 1000, first: float = 1e-4, last: float = 0.02) -> Table:
    """alpha_bar ``[T]`` of betas whose square root runs linearly; latent diffusion takes 0.00085, 0.012."""
    return _alpha_bar(np.linspace(first**0.5, last**0.5, _positive(T)) ** 2)


def constant(T: int = 1000, beta: float = 0.02) -> Table:
    """alpha_bar ``[T]`` of one beta at all times."""
    return _alpha_bar(np.full(_positive(T), beta))


def cosine(T: int = 1000) -> Table:
    """alpha_bar ``[T]``: a squared cosine with offset 0.008, betas at most 0.999 (improved DDPM, eq. 17)."""
    f = np.cos((np.arange(_positive(T) + 1) / T + 0.008) / 1.008 * np.pi / 2) ** 2
    return _alpha_bar(np.minimum(1 - f[1:] / f[:-1], MAX_BETA))


def shortest_path(
    T: int, size: int | tuple[int, int], c1: float, c2: float, m: float, variant: str = "published"
) -> Table:
    """alpha_bar ``[T, 1, H, W]`` of Shortest-Path Diffusion, in FFT order, for a power-law spectrum S:

        alpha_bar_t = (1 - S^tau) / (1 - S),  tau = (T - t) / T,  t from 1 to T-1 in T steps

    Args:
        T: number of steps, >= 2.
        size: height and width, or the side of a square.
        c1, c2, m: constants of the spectrum, see `power_law`; `spectrum.fit` finds them for a data set.
        variant: ``published`` evaluates in float32, whose cancellations move a beta by up to 2%;
            ``exact`` in float64, with the limit tau where S is 1.

    Raises:
        UserError: T < 2, an unknown variant, or a spectrum that is not positive.
    """
    if not (c1 > 0 and c2 > 0):
        raise UserError(f"c1 is {c1} and c2 is {c2}", "shortest_path", "take numbers above 0")
    k = torch.from_numpy(radial_frequency(size))
    return from_spectrum(power_law(k.float() if variant == "published" else k, c1, c2, m), T, variant)


def from_spectrum(S: Tensor, T: int, variant: str = "exact") -> Table:
    """alpha_bar ``[T, 1, H, W]`` for any spectrum S ``[H, W]`` in FFT order, see `shortest_path`."""
    if T < 2 or variant not in ("published", "exact"):
        raise UserError(f"T is {T}, variant {variant!r}", "shortest_path", "take T >= 2, published or exact")
    if not bool((S > 0).all()):
        raise UserError("the spectrum is not positive", "shortest_path", "take powers above 0")
    alpha_bar = geodesic(S.float() if variant == "published" else S.double(), T)
    betas = 1 - alpha_bar / torch.cat([torch.ones_like(alpha_bar[:1]), alpha_bar[:-1]])
    return _alpha_bar(betas.clamp(max=MAX_BETA).numpy())[:, None]


def geodesic(S: Tensor, T: int) -> Tensor:
    """alpha_bar ``[T, H, W]`` along the shortest path, in the dtype of S and before betas are bounded."""
    tau = ((T - torch.linspace(1, T - 1, T, dtype=S.dtype)) / T)[:, None, None]
    if S.dtype == torch.float32:  # as published; other dtypes take care of cancellation
        return (1 - S**tau) / (1 - S)
    log_S = S.log()
    flat = log_S.abs() < 1e-9  # S = 1: both differences vanish and their ratio is tau
    log_S = torch.where(flat, 1.0, log_S)
    return torch.where(flat, tau, torch.expm1(tau * log_S) / torch.expm1(log_S))


def power_law(k: Tensor, c1: float, c2: float, m: float) -> Tensor:
    """Power c1 / |c2 + k|^m at frequency k, in units of white noise of variance 1."""
    return c1 / torch.abs(c2 + k) ** m


def radial_frequency(size: int | tuple[int, int]) -> Table:
    """|k| ``[H, W]`` in FFT order, in cycles per shorter side of the image."""
    height, width = (size, size) if isinstance(size, int) else size
    ky, kx = np.fft.fftfreq(height), np.fft.fftfreq(width)
    return np.hypot(ky[:, None], kx[None]) * min(height, width)


@dataclass(frozen=True)
class Respaced:
    """A respaced schedule: ``alpha_bar`` at the ``timesteps`` of the full one."""

    alpha_bar: Table
    timesteps: NDArray[np.int64]


def respace(alpha_bar: Table, steps: str | int) -> Respaced:
    """The schedule at the timesteps that ``steps`` describes (see `timesteps`)."""
    indices = timesteps(len(alpha_bar), steps)
    return Respaced(alpha_bar[indices], np.asarray(indices))


def uniform_log_snr(alpha_bar: Table, count: int, last: int | None = None) -> list[int]:
    """``count`` distinct times from 0 to ``last`` (T-1), as uniform in log SNR as integers can be.

    Where neighbouring times lie further apart than the spacing asked for, each is taken once and the
    rest is spread anew. With a schedule per frequency the mean log SNR counts.

    Raises:
        UserError: fewer than two times, or more than there are, are asked for.
    """
    last = len(alpha_bar) - 1 if last is None else last
    if not 2 <= count <= last + 1 <= len(alpha_bar):
        raise UserError(f"{count} of times 0 to {last}", "log-SNR grid", f"take 2 to {last + 1}")
    log_snr = np.log(alpha_bar / (1 - alpha_bar)).reshape(len(alpha_bar), -1).mean(axis=1)
    times = [0]
    for left in range(count - 1, 0, -1):
        wanted = log_snr[times[-1]] + (log_snr[last] - log_snr[times[-1]]) / left
        candidates = np.arange(times[-1] + 1, last - left + 2)
        times.append(int(candidates[np.abs(log_snr[candidates] - wanted).argmin()]))
    return times


def _alpha_bar(betas: NDArray[Any]) -> Table:
    if not (betas < 1).all():
        raise UserError(
            f"betas reach {float(betas.max()):.3g}", "schedule", "take more steps or smaller betas"
        )
    return np.cumprod(1 - np.asarray(betas, dtype=np.float64), axis=0, dtype=np.float64)


def _positive(T: int) -> int:
    if T < 1:
        raise UserError(f"T is {T}", "schedule", "take at least 1 step")
    return T
