"""Solvers of the probability-flow ODE of a Gaussian process, by name, in both directions.

A path is a list of indices; a solver calls the denoiser at each but the last and yields the state at each but
the first. With a = sqrt(alpha_bar), s = sqrt(1 - alpha_bar) and sbar = s / a the ODE reads

    d(x/a) / d sbar = eps          or          d(x/s) / d log(a/s) = (a/s) x0,

and docs/gaussian-samplers.md derives every rule here from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.processes.gaussian import Gaussian, Prediction
from bridgepipe.runtime.rng import Normal
from bridgepipe.samplers.denoiser import Denoiser

QUADRATURE = np.polynomial.legendre.leggauss(16)  # places in [-1, 1] and weights

# What is a long step, where a solver goes down to a rule that errs less; docs/gaussian-samplers.md measures it.
FAR = 2.0  # extrapolation over more than this many times the mean step between the values it uses
CURVED = 0.55  # clock over which a parabola through three predictions says less than a line through two
FALL = 1.5  # fall of the noise, above the scale of the data, over which eps is not a line in sbar


@dataclass(frozen=True)
class Pair:
    """State pair: two successive states of an exactly invertible path, which its inverse starts from.

    Attributes:
        x: the state at the end of the path, float64 ``[B, ...]``.
        neighbour: the state one index before the end, float64 ``[B, ...]``.
        dtype: dtype of the network's inputs.
    """

    x: Tensor
    neighbour: Tensor
    dtype: torch.dtype = torch.float32

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Pair:
        return Pair(self.x.to(device), self.neighbour.to(device), self.dtype)


@dataclass(frozen=True)
class State:
    """Where the path of an ODE, of a Markov chain or of a bridge is after a step.

    Attributes:
        x: the state ``[B, ...]``.
        t: index of the state; -1 is the data, T pure noise.
        prediction: x0 and eps at the index before, from which the step was made; a solver of higher
            order also used others.
        pair: set by an exactly invertible solver.
    """

    x: Tensor
    t: int
    prediction: Prediction
    pair: Pair | None = None


Predict = Callable[[Tensor, int], Prediction]
# (denoiser, x, steps) -> the states of a path; only an invertible solver takes a pair for x.
Solver = Callable[..., Iterator[State]]


def ddim(
    denoiser: Denoiser, x: Tensor, steps: Sequence[int], eta: float = 0.0, noise: Normal | None = None
) -> Iterator[State]:
    """Order 1, one call per step (DDIM, eq. 12); with eta > 0 every step draws noise."""
    for t, s in pairwise(steps):
        p = denoiser(x, t)
        draw = None if noise is None else noise.normal(x.shape[1:]).to(x)
        x = denoiser.process.move(p, t, s, eta, draw)
        yield State(x, s, p)


def heun(denoiser: Denoiser, x: Tensor, steps: Sequence[int]) -> Iterator[State]:
    """Order 2, two calls per step: the trapezoid rule in sbar (EDM, algorithm 1); ends by DDIM.

    A long step from noise is that of x0 in log(a/s): eps changes there by x0 / sbar, which the trapezoid
    rule multiplies by the fall of sbar.
    """
    process = denoiser.process
    for t, s in pairwise(steps):
        p = denoiser(x, t)
        x = _heun_step(process, denoiser, x, p, t, s) if _is_inner(process, s) else process.move(p, t, s)
        yield State(x, s, p)


def _heun_step(process: Gaussian, predict: Predict, x: Tensor, p: Prediction, t: int, s: int) -> Tensor:
    p_s = predict(process.move(p, t, s), s)
    (a_t, s_t), (a_s, s_s) = _scales(process, t, x), _scales(process, s, x)
    less, more = sorted((float((s_t / a_t).mean()), float((s_s / a_s).mean())))
    if more > FALL * max(less, 1.0):
        return _exponential_step(process, x, [_node(process, q, i, x, s < t) for q, i in ((p_s, s), (p, t))], t, s)
    half = a_s * (s_s / a_s - s_t / a_t) / 2
    return process.mix((a_s / a_t, x), (half, p.eps), (half, p_s.eps))


@dataclass(frozen=True)
class Multistep:
    """Exponential multistep of order 1, 2 or 3, one call per step (the DPM-Solver++ family).

    Towards the data x0 is extrapolated in the clock log(a/s), towards noise eps in the clock log(s/a):
    each is the direction in which errors shrink, and exchanging (a, x0) with (s, eps) turns one into the
    other. Order 1 is DDIM. The step to the data or to pure noise, where the clock is infinite, is DDIM's.

    Args:
        order: number of predictions that a step uses. Order 3 takes one more call, as its first step is of
            second order.
        corrected: the prediction at the end of a step also improves that step, one order higher, before
            it serves the next (UniPC, Zhao et al. 2023); the end of the path takes one more call.
    """

    order: int
    corrected: bool = False

    def __call__(self, denoiser: Denoiser, x: Tensor, steps: Sequence[int]) -> Iterator[State]:
        process = denoiser.process
        history: list[Node] = []  # newest first
        ahead: Prediction | None = None
        to_data = steps[-1] < steps[0]
        for t, s in pairwise(steps):
            p, ahead = ahead or denoiser(x, t), None
            history = [_node(process, p, t, x, to_data), *history][: self.order]
            if not _is_inner(process, s):
                x = process.move(p, t, s)
                yield State(x, s, p)
                continue
            near = _within_reach(history, _clock(process, s, x, to_data))
            if self.corrected:
                guess = _exponential_step(process, x, near, t, s)
                ahead = denoiser(guess, s)
                x = _exponential_step(process, x, [_node(process, ahead, s, x, to_data), *near], t, s)
            elif self.order == 3 and len(history) == 1:
                after = denoiser(process.move(p, t, s), s)
                x = _exponential_step(process, x, [_node(process, after, s, x, to_data), *history], t, s)
            else:
                x = _exponential_step(process, x, near, t, s)
            yield State(x, s, p)


# Clock and prediction at an index.
Node = tuple[Tensor, Tensor]


def _node(process: Gaussian, p: Prediction, t: int, x: Tensor, to_data: bool) -> Node:
    return _clock(process, t, x, to_data), p.x0 if to_data else p.eps


def _clock(process: Gaussian, t: int, x: Tensor, to_data: bool) -> Tensor:
    a, s = _scales(process, t, x)
    return (a / s).log() if to_data else (s / a).log()


def _within_reach(history: Sequence[Node], end: Tensor) -> list[Node]:
    """The predictions, newest first, whose polynomial a step to the clock ``end`` uses: fewer if it is long."""
    newest, length = history[0][0], float((end - history[0][0]).mean())

    def mean_step(i: int) -> float:
        return float((newest - history[i][0]).mean()) / i

    count = 1
    while count < len(history) and length <= FAR * mean_step(count) and (count < 2 or length <= CURVED):
        count += 1
    return list(history[:count])


def _exponential_step(process: Gaussian, x: Tensor, nodes: Sequence[Node], t: int, s: int) -> Tensor:
    to_data = s < t
    (a_t, s_t), (a_s, s_s) = _scales(process, t, x), _scales(process, s, x)
    scale, shift = (s_s / s_t, a_s) if to_data else (a_s / a_t, s_s)
    start, end = (_clock(process, i, x, to_data) for i in (t, s))
    weights = exponential_weights([clock for clock, _ in nodes], start, end)
    terms = [(shift * w, f) for w, (_, f) in zip(weights, nodes, strict=True)]
    return process.mix((scale, x), *terms)


def exponential_weights(clocks: Sequence[Tensor], start: Tensor, end: Tensor) -> list[Tensor]:
    """Integral of e^(u - end) l_i(u) du from ``start`` to ``end``, l_i the Lagrange basis at the clocks.

    Eq. 4 of docs/gaussian-samplers.md, by Gauss-Legendre quadrature: exact to rounding on steps of any
    length that is used.
    """
    places, weights = (start.new_tensor(q).view(-1, *[1] * start.dim()) for q in QUADRATURE)
    half = (end - start) / 2
    u = start + half * (1 + places)
    density = half * weights * (u - end).exp()

    def basis(i: int) -> Tensor:
        others = [(u - c) / (clocks[i] - c) for j, c in enumerate(clocks) if j != i]
        return math.prod(others, start=torch.ones_like(u))

    return [(density * basis(i)).sum(dim=0) for i in range(len(clocks))]


def obelm(denoiser: Denoiser, x: Tensor | Pair, steps: Sequence[int]) -> Iterator[State]:
    """Order 2, exactly invertible, one call per step: O-BELM of two steps.

        xbar_n = (1 - r) xbar_c + r xbar_p + h1 (h1 + h2) / h2 eps(x_c),   r = (h1 / h2)^2

    over successive (p, c, n), with xbar = x/a, h1 = sbar_n - sbar_c and h2 = sbar_c - sbar_p. Solved for
    xbar_p it is the same rule with p and n exchanged, so that the reversed path retraces the states. They
    are kept in float64 whatever the dtype of the network.

    Args:
        x: the states at steps[0] and steps[1], from a path that ended there; of a state alone, one step of
            Heun's method (two calls) makes the second, and the start is not exact.
    """
    process = denoiser.process
    if len(steps) < 3 or not all(_is_inner(process, t) for t in steps):
        last = process.T - 1
        raise UserError(f"obelm on {list(steps)[:9]}", "solver", f"take 3 or more steps from 0 to {last}")
    dtype = x.dtype

    def predict(x: Tensor, t: int) -> Prediction:
        p = denoiser(x.to(dtype), t)
        return Prediction(p.x0.double(), p.eps.double())

    if isinstance(x, Pair):
        previous, current = x.x.double(), x.neighbour.double()
    else:
        previous = x.double()
        p = predict(previous, steps[0])
        current = _heun_step(process, predict, previous, p, steps[0], steps[1])
        yield State(current.to(dtype), steps[1], p, Pair(current, previous, dtype))
    for before, t, after in zip(steps, steps[1:], steps[2:], strict=False):
        p = predict(current, t)
        previous, current = current, _obelm_step(process, previous, current, p, (before, t, after))
        yield State(current.to(dtype), after, p, Pair(current, previous, dtype))


def _obelm_step(
    process: Gaussian, previous: Tensor, current: Tensor, p: Prediction, times: tuple[int, int, int]
) -> Tensor:
    (a_p, s_p), (a_c, s_c), (a_n, s_n) = (_scales(process, t, current) for t in times)
    h1, h2 = s_n / a_n - s_c / a_c, s_c / a_c - s_p / a_p
    r = (h1 / h2) ** 2
    return process.mix(
        (a_n / a_c * (1 - r), current), (a_n / a_p * r, previous), (a_n * h1 * (h1 + h2) / h2, p.eps)
    )


def _scales(process: Gaussian, t: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """a and s of index t, float64."""
    alpha_bar = process.alpha_bar_at(t, x)
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def _is_inner(process: Gaussian, t: int) -> bool:
    return 0 <= t < process.T


# What each name of `nfe.SOLVER_TRAITS` stands for.
SOLVERS: dict[str, Solver] = {
    "ddim": ddim,
    "heun": heun,
    "multistep2": Multistep(2),
    "multistep3": Multistep(3),
    "unipc3": Multistep(3, corrected=True),
    "obelm": obelm,
}
