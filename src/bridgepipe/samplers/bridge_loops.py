"""Loops over a bridge, from the corrupted image x1 back to a clean one.

A denoiser is a function (x, t) -> output of the shape of x_n, with t the float32 network time ``[B]``;
the process turns outputs into images. With ``cond`` the sampler shows it cat(x_n, cond) along dim 1.
Noise comes from ``rng``: a source of noise per item, or a list of tensors to be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.processes.bridge import Bridge
from bridgepipe.rng import Noise, as_noise
from bridgepipe.timesteps import space_indices

Denoiser = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Path:
    """A restoration and how it came about; entry 0 along dim 1 is the end of the path.

    Attributes:
        x0: the restored images ``[B, ...]``.
        xs: states ``[B, log, ...]``; ``xs[:, 0]`` is x0.
        x0s: the network's x0 predictions from which those states were made ``[B, log, ...]``.
        steps: index of each logged state, ascending from 0.
    """

    x0: Tensor
    xs: Tensor
    x0s: Tensor
    steps: tuple[int, ...]


def bridge_steps(
    process: Bridge, nfe: int, spacing: Literal["uniform", "angle", "log_snr"] = "uniform"
) -> list[int]:
    """The nfe + 1 indices of a path of nfe network calls, ascending from 0 to interval - 1.

    ``uniform`` in the index is the published choice; ``angle`` and ``log_snr`` are uniform in theta and
    in log cot theta, and crowd towards both ends (see docs/bridge-samplers.md).

    Raises:
        UserError: nfe is not one of 1 .. interval - 1, or the spacing is unknown.
    """
    if not 1 <= nfe < process.interval:
        raise UserError(f"nfe is {nfe}", "bridge steps", f"take 1 to {process.interval - 1}")
    if spacing == "uniform":
        return space_indices(process.interval, nfe + 1)
    if spacing not in _ANGLES:
        raise UserError(f"unknown spacing {spacing!r}", "bridge steps", "take uniform, angle or log_snr")
    theta = process.angle()
    wanted = _ANGLES[spacing](theta[0], np.linspace(0, 1, nfe + 1))
    return _distinct(np.abs(theta[:, None] - wanted).argmin(axis=0), process.interval)


_ANGLES: dict[str, Callable[[float, np.ndarray], np.ndarray]] = {
    "angle": lambda first, u: u * np.pi / 2,
    # log cot theta from its value at index 0 to minus that, as it is infinite at x1.
    "log_snr": lambda first, u: np.arctan(np.tan(first) ** (1 - 2 * u)),
}


def _distinct(indices: np.ndarray, interval: int) -> list[int]:
    """The nearest strictly ascending indices that run from 0 to interval - 1."""
    k = np.arange(len(indices))
    indices[0], indices[-1] = 0, interval - 1
    ascending = np.maximum.accumulate(indices - k) + k
    return np.minimum(ascending, interval - 1 - k[::-1]).tolist()


@torch.no_grad()
def bridge(
    denoiser: Denoiser,
    x1: Tensor,
    steps: Sequence[int],
    rng: Noise | Sequence[Tensor],
    *,
    process: Bridge,
    mask: Tensor | None = None,
    cond: Tensor | None = None,
    clip: bool = False,
    log_count: int = 10,
    variant: Literal["published", "exact"] = "published",
) -> Path:
    """The published chain: x_m ~ q(x_m | x0_hat, x_n), or its mean when the bridge has no noise.

    Draws, in order: the hole (published, with a mask); then at every step the posterior's noise (not at
    m = 0) and the known pixels' (with a mask); none of the per-step ones without noise in the bridge.

    Args:
        x1: corrupted images ``[B, C, ...]``.
        steps: ascending indices from 0 to interval - 1; the network is called at all but index 0.
        mask: 1 = hole, 0 = known, broadcast over x1. ``published`` fills the hole of x1 with fresh
            noise first, even if the caller has, and leaves std_sb[0] of noise on the known pixels of
            the result. ``exact`` takes x1 as it comes and returns its known pixels untouched.
        cond: condition shown to the network beside x_n ``[B, C', ...]``; never altered.
        clip: clamp every x0 prediction to [-1, 1].
        log_count: at most so many states are kept.

    Raises:
        UserError: the steps don't run from 0 to interval - 1, or the variant is unknown.
    """
    _check(steps, process)
    if variant not in ("published", "exact"):
        raise UserError(f"unknown variant {variant!r}", "bridge sampler", "take published or exact")
    noise, published = as_noise(rng), variant == "published"
    if mask is not None and published:
        x1 = (1 - mask) * x1 + mask * _draw(noise, x1)
    x_n, log = x1, _Log(steps, log_count)
    for m, n in reversed(list(pairwise(steps))):
        x0_hat = _predict_x0(denoiser, process, x_n, n, cond, clip)
        random = m > 0 and not process.ot_ode
        x_n = process.posterior(x_n, n, m, x0_hat, _draw(noise, x1) if random else None)
        if mask is not None:
            noisy = not process.ot_ode and (published or m > 0)
            known = x1 + process.std_sb[m] * _draw(noise, x1) if noisy else x1
            x_n = (1 - mask) * known + mask * x_n
        log.add(m, x_n, x0_hat)
    return log.path(x_n)


@torch.no_grad()
def implicit_bridge(
    denoiser: Denoiser,
    x1: Tensor,
    steps: Sequence[int],
    rng: Noise | Sequence[Tensor],
    *,
    process: Bridge,
    eta: float = 0.0,
    order: Literal[1, 2] = 1,
    mask: Tensor | None = None,
    cond: Tensor | None = None,
    clip: bool = False,
    log_count: int = 10,
) -> Path:
    """The non-Markovian bridge, with the marginals of the published chain at any ``eta``.

    eta = 0 draws noise once, at the first step, and is deterministic from there; eta = 1 is the
    published chain; a bridge without noise draws none. The last step lands on the data itself.

    Args:
        x1, steps, cond, clip, log_count: as in ``bridge``.
        eta: how fast noise is renewed, >= 0.
        order: 2 extrapolates x0 from the last two predictions (eta 0 or 1).
        mask: 1 = hole, 0 = known. Known pixels bridge x1 to itself and come back untouched; the hole
            of x1 is taken as it comes.

    Raises:
        UserError: the steps don't run from 0 to interval - 1, or eta and order don't go together.
    """
    _check(steps, process)
    _check_knobs(process, eta, order)
    noise, x_n, log = as_noise(rng), x1, _Log(steps, log_count)
    before: tuple[int, Tensor] | None = None
    for m, n in reversed(list(pairwise(steps))):
        x0_hat = _predict_x0(denoiser, process, x_n, n, cond, clip)
        x0_bar = x0_hat
        if order == 2 and before is not None:
            p, x0_before = before
            x0_bar = x0_hat + process.extrapolation(p, n, m, eta) * (x0_hat - x0_before)
            x0_bar = x0_bar.clamp(-1, 1) if clip else x0_bar
        if mask is not None:
            x0_bar = (1 - mask) * x1 + mask * x0_bar
        random = process.implicit_step(n, m, eta).std > 0
        x_n = process.implicit(x_n, n, m, x0_bar, x1, _draw(noise, x1) if random else None, eta)
        before = n, x0_hat
        log.add(m, x_n, x0_hat)
    return log.path(x_n)


@dataclass
class _Log:
    """Keeps the states at evenly spread target indices, the published ones."""

    steps: Sequence[int]
    count: int
    _rows: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        calls = len(self.steps) - 1
        self._kept = {self.steps[i] for i in space_indices(calls, min(calls, self.count))}

    def add(self, m: int, x_m: Tensor, x0_hat: Tensor) -> None:
        if m in self._kept:
            self._rows.insert(0, (m, x_m, x0_hat))

    def path(self, x0: Tensor) -> Path:
        steps, xs, x0s = zip(*self._rows, strict=True)
        return Path(x0=x0, xs=torch.stack(xs, dim=1), x0s=torch.stack(x0s, dim=1), steps=steps)


def _predict_x0(
    denoiser: Denoiser, process: Bridge, x_n: Tensor, n: int, cond: Tensor | None, clip: bool
) -> Tensor:
    t = process.network_time(torch.full((len(x_n),), n, device=x_n.device))
    output = denoiser(x_n if cond is None else torch.cat([x_n, cond], dim=1), t)
    return process.predict_x0(x_n, n, output, clip)


def _draw(noise: Noise, x: Tensor) -> Tensor:
    return noise.normal(x.shape[1:]).to(x)


def _check(steps: Sequence[int], process: Bridge) -> None:
    ascending = all(a < b for a, b in pairwise(steps))
    if len(steps) < 2 or not ascending or steps[0] != 0 or steps[-1] != process.interval - 1:
        last = process.interval - 1
        raise UserError(f"steps {list(steps)[:9]}", "bridge sampler", f"take ascending ones from 0 to {last}")


def _check_knobs(process: Bridge, eta: float, order: int) -> None:
    where = "implicit bridge"
    if order not in (1, 2):
        raise UserError(f"order is {order}", where, "take 1 or 2")
    if eta < 0 or (eta and process.ot_ode):
        raise UserError(f"eta is {eta}", where, "take 0 or more, and 0 for a bridge without noise")
    if order == 2 and eta not in (0, 1):
        raise UserError(f"eta is {eta} at order 2", where, "take eta 0 or 1, or order 1")
