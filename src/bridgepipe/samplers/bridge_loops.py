"""Loops over a bridge, from the corrupted image x1 back to a clean one.

In place of a `BridgeDenoiser` the loops take its network alone, and then its ``process``, ``clip`` and
``cond``.
Noise comes from ``rng``: a source of noise per item, or a list of tensors to be replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.names.timesteps import space_indices
from bridgepipe.processes.bridge import Bridge
from bridgepipe.runtime.rng import Normal, as_noise
from bridgepipe.samplers.denoiser import BridgeDenoiser, Network, as_bridge_denoiser
from bridgepipe.samplers.solvers import State


@dataclass(frozen=True)
class Path:
    """A restoration and the path to it; entry 0 along dim 1 is the end of the path.

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
    denoiser: BridgeDenoiser | Network,
    x1: Tensor,
    steps: Sequence[int],
    rng: Normal | Sequence[Tensor],
    *,
    process: Bridge | None = None,
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
        log_count: maximum number of states to return.

    Raises:
        UserError: the steps don't run from 0 to interval - 1, or the variant is unknown.
    """
    denoiser = as_bridge_denoiser(denoiser, process, clip, cond)
    check(steps, denoiser.process)
    if variant not in ("published", "exact"):
        raise UserError(f"unknown variant {variant!r}", "bridge sampler", "take published or exact")
    return logged(chain(denoiser, x1, steps, as_noise(rng), mask, variant == "published"), steps, log_count)


def chain(
    denoiser: BridgeDenoiser,
    x1: Tensor,
    steps: Sequence[int],
    noise: Normal,
    mask: Tensor | None,
    published: bool,
) -> Iterator[State]:
    """The states of `bridge` as they are made, with their gradients where they are wanted."""
    process = denoiser.process
    if mask is not None and published:
        x1 = (1 - mask) * x1 + mask * draw(noise, x1)
    x_n = x1
    for m, n in reversed(list(pairwise(steps))):
        p = denoiser(x_n, n)
        random = m > 0 and not process.ot_ode
        x_n = process.posterior(x_n, n, m, p.x0, draw(noise, x1) if random else None)
        if mask is not None:
            noisy = not process.ot_ode and (published or m > 0)
            known = x1 + process.std_sb[m] * draw(noise, x1) if noisy else x1
            x_n = (1 - mask) * known + mask * x_n
        yield State(x_n, m, p)


def logged(states: Iterator[State], steps: Sequence[int], count: int) -> Path:
    """The end of a path, and its states at ``count`` evenly spread target indices, the published ones."""
    calls = len(steps) - 1
    wanted = {steps[i] for i in space_indices(calls, min(calls, count))}
    log: list[State] = []
    for state in states:
        if state.t in wanted:
            log.insert(0, state)
    xs, x0s = (torch.stack(rows, dim=1) for rows in ([s.x for s in log], [s.prediction.x0 for s in log]))
    return Path(x0=state.x, xs=xs, x0s=x0s, steps=tuple(s.t for s in log))


def draw(noise: Normal, x: Tensor) -> Tensor:
    """Unit noise of the shape of x ``[B, ...]``."""
    return noise.normal(x.shape[1:]).to(x)


def check(steps: Sequence[int], process: Bridge) -> None:
    """Raises UserError unless the steps ascend from 0 to interval - 1."""
    ascending = all(a < b for a, b in pairwise(steps))
    if len(steps) < 2 or not ascending or steps[0] != 0 or steps[-1] != process.interval - 1:
        last = process.interval - 1
        raise UserError(f"steps {list(steps)[:9]}", "bridge sampler", f"take ascending ones from 0 to {last}")
