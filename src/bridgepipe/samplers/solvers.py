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

# Steps that are long for a rule, which then gives way to a safer one (measured in docs/gaussian-samplers.md):
MOST_STRETCH = 2.0  # a step over the mean step between the predictions that it extrapolates
LONGEST_CUBIC = 0.55  # a step of order 3, in the clock
MOST_FALL = 1.5  # sbar over sbar, or over 1 below it, of the trapezoid rule


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

    Over a long step above the scale of the data eps is no straight line in sbar, and the rule multiplies
    its error by the ratio of sbar: such a step takes x0 for a line in log(a/s), as `Multistep` does.
    """
    process = denoiser.process
    for t, s in pairwise(steps):
        p = denoiser(x, t)
        x = _heun_step(process, denoiser, x, p, t, s) if _is_inner(process, s) else process.move(p, t, s)
        yield State(x, s, p)


def _heun_step(process: Gaussian, predict: Predict, x: Tensor, p: Prediction, t: int, s: int) -> Tensor:
    p_s = predict(process.move(p, t, s), s)
    (a_t, s_t), (a_s, s_s) = _scales(process, t, x), _scales(process, s, x)
    low, high = sorted(float((noise / scale).mean()) for scale, noise in ((a_t, s_t), (a_s, s_s)))
    if high > MOST_FALL * max(low, 1.0):
        nodes = [_node(process, q, i, x, s < t) for q, i in ((p_s, s), (p, t))]
        return _exponential_step(process, x, nodes, t, s)
    half = a_s * (s_s / a_s - s_t / a_t) / 2
    return process.mix((a_s / a_t, x), (half, p.eps), (half, p_s.eps))


@dataclass(frozen=True)
class Multistep:
    """Exponential multistep of order 1, 2 or 3, one call per step (the DPM-Solver++ family).

    Towards the data x0 is extrapolated in the clock log(a/s), towards noise eps in the clock log(s/a):
    each is the direction in which errors shrink, and exchanging (a, x0) with (s, eps) turns one into the
    other. Order 1 is DDIM. The step to the data or to pure noise, where the clock is infinite, is DDIM's; a
    step that is long for its order takes fewer predictions.

    Args:
        order: number of predictions that a step uses at most. Order 3 takes one more call, as its first
            step is of second order.
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
            if _is_inner(process, s):
                x, ahead = self._inner_step(denoiser, x, p, history, t, s)
            else:
                x = process.move(p, t, s)
            yield State(x, s, p)

    def _inner_step(
        self, denoiser: Denoiser, x: Tensor, p: Prediction, history: list[Node], t: int, s: int
    ) -> tuple[Tensor, Prediction | None]:
        """The state at s, and the prediction there if it is known already."""
        process, to_data = denoiser.process, s < t
        near = _within_reach(history, _clock(process, s, x, to_data))
        if self.corrected:
            ahead = denoiser(_exponential_step(process, x, near, t, s), s)
            return _exponential_step(process, x, [_node(process, ahead, s, x, to_data), *near], t, s), ahead
        if self.order == 3 and len(history) == 1:
            after = denoiser(process.move(p, t, s), s)
            near = [_node(process, after, s, x, to_data), *history]
        return _exponential_step(process, x, near, t, s), None


# Clock and prediction at an index.
Node = tuple[Tensor, Tensor]


def _node(process: Gaussian, p: Prediction, t: int, x: Tensor, to_data: bool) -> Node:
    return _clock(process, t, x, to_data), p.x0 if to_data else p.eps


def _clock(process: Gaussian, t: int, x: Tensor, to_data: bool) -> Tensor:
    a, s = _scales(process, t, x)
    return (a / s).log() if to_data else (s / a).log()


def _within_reach(history: list[Node], end: Tensor) -> list[Node]:
    """Those of the predictions, newest first, that a step to the clock ``end`` may extrapolate."""

    def length(start: Tensor, end: Tensor) -> float:
        return float((end - start).mean())  # a schedule per frequency has a clock for each

    newest = history[0][0]
    step, count = length(newest, end), 1
    for clock, _ in history[1:]:
        stretched = step > MOST_STRETCH * length(clock, newest) / count
        if stretched or (count == 2 and step > LONGEST_CUBIC):
            break
        count += 1
    return history[:count]


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
