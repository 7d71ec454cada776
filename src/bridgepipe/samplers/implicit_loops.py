"""The implicit bridge: from x1 to a clean image with few network calls (docs/bridge-samplers.md).

Its marginals are those of the published chain. Between them it is the exact solution for an x0 that is
a polynomial of the bridge's variable, through predictions made before, inside or at the end of a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.processes.bridge import Bridge
from bridgepipe.runtime.rng import Normal, as_noise
from bridgepipe.samplers.bridge_loops import Path, check, draw, logged
from bridgepipe.samplers.denoiser import BridgeDenoiser, Network, as_bridge_denoiser
from bridgepipe.samplers.solvers import State

BridgeSolver = Literal["multistep", "midpoint", "heun"]
Known = tuple[int, Tensor]  # an index, and the x0 predicted there


@torch.no_grad()
def implicit_bridge(
    denoiser: BridgeDenoiser | Network,
    x1: Tensor,
    steps: Sequence[int],
    rng: Normal | Sequence[Tensor],
    *,
    process: Bridge | None = None,
    eta: float = 0.0,
    order: Literal[1, 2, 3] = 1,
    solver: BridgeSolver = "multistep",
    mask: Tensor | None = None,
    cond: Tensor | None = None,
    clip: bool = False,
    log_count: int = 10,
) -> Path:
    """The non-Markovian bridge, with the marginals of the published chain at any ``eta``.

    eta = 0 draws noise once, at the first step, and is deterministic from there; eta = 1 is the
    published chain; a bridge without noise draws none. The last step lands on the data itself.

    Args:
        x1, log_count: see ``bridge``.
        steps: ascending indices from 0 to interval - 1; there is one network call less than indices.
        eta: rate at which noise is renewed, >= 0.
        order: 2 and 3 take x0 as a polynomial through as many predictions (2: eta 0 or 1; 3: eta 0).
        solver: ``multistep`` uses the predictions before (DBIM); of order 2 with eta 0 also
            ``midpoint``, one inside the step (DBMSolver), and ``heun``, one at its end.
        mask: 1 = hole, 0 = known. Known pixels bridge x1 to itself and come back untouched; the hole
            of x1 is taken as it comes.

    Raises:
        UserError: the steps don't run from 0 to interval - 1, or the settings don't go together.
    """
    denoiser = as_bridge_denoiser(denoiser, process, clip, cond)
    check(steps, denoiser.process)
    _check_knobs(denoiser.process, eta, order, solver)
    chain = _chain(denoiser, x1, steps, as_noise(rng), eta, order, solver, mask)
    return logged(chain, steps, log_count)


def _chain(
    denoiser: BridgeDenoiser,
    x1: Tensor,
    steps: Sequence[int],
    noise: Normal,
    eta: float,
    order: int,
    solver: str,
    mask: Tensor | None,
) -> Iterator[State]:
    process, x_n = denoiser.process, x1
    others: list[Known] = []

    def step(n: int, m: int, x0: Tensor, z: Tensor | None) -> Tensor:
        x0 = x0 if mask is None else (1 - mask) * x1 + mask * x0
        return process.implicit(x_n, n, m, x0, x1, z, eta)

    for n, inner, m in _parts(steps, solver):
        p = denoiser(x_n, n)
        latest = n, p.x0
        ends = [m] if inner is None else [inner, m]
        random = any(process.implicit_step(n, end, eta).std > 0 for end in ends)
        z = draw(noise, x1) if random else None
        if inner is not None:
            p = denoiser(step(n, inner, p.x0, z), inner)
            others = [(inner, p.x0)]
        x_n = step(n, m, _mean(denoiser, latest, others, m, eta), z)
        others = [latest, *others][: order - 1] if solver == "multistep" else []
        yield State(x_n, m, p)


def _parts(steps: Sequence[int], solver: str) -> Iterator[tuple[int, int | None, int]]:
    """Steps n -> m, each with the index of its second call: of two intervals, or of one without it.

    The midpoint of two intervals is the index between them. Heun's last step has one call only, as no
    network knows the data's end; a single call that is left over is the first.
    """
    back = list(steps)[::-1]
    calls = len(back) - 1
    in_pairs = {"multistep": 0, "midpoint": calls, "heun": calls - 1}[solver]
    first, last = in_pairs % 2, in_pairs
    for n, m in pairwise(back[: first + 1]):
        yield n, None, m
    for i in range(first, last, 2):
        n, middle, m = back[i : i + 3]
        yield n, middle if solver == "midpoint" else m, m
    for n, m in pairwise(back[last:]):
        yield n, None, m


def _mean(denoiser: BridgeDenoiser, latest: Known, others: list[Known], m: int, eta: float) -> Tensor:
    """The constant x0 that has the effect of the polynomial through the predictions on a step to m."""
    n, x0 = latest
    if not others:
        return x0
    weights = denoiser.process.extrapolation([k for k, _ in others], n, m, eta)
    mean = x0
    for weight, (_, other) in zip(weights, others, strict=True):
        mean = mean + weight * (x0 - other)
    return mean.clamp(-1, 1) if denoiser.clip else mean


def _check_knobs(process: Bridge, eta: float, order: int, solver: str) -> None:
    where = "implicit bridge"
    if order not in (1, 2, 3):
        raise UserError(f"order is {order}", where, "take 1, 2 or 3")
    if solver not in ("multistep", "midpoint", "heun"):
        raise UserError(f"unknown solver {solver!r}", where, "take multistep, midpoint or heun")
    if eta < 0 or (eta and process.ot_ode):
        raise UserError(f"eta is {eta}", where, "take 0 or more, and 0 for a bridge without noise")
    if order == 2 and eta not in (0, 1):
        raise UserError(f"eta is {eta} at order 2", where, "take eta 0 or 1, or order 1")
    if order == 3 and eta:
        raise UserError(f"eta is {eta} at order 3", where, "take eta 0, or a lower order")
    if solver != "multistep" and (order != 2 or eta):
        raise UserError(f"{solver} of order {order} with eta {eta}", where, "take order 2 and eta 0")
