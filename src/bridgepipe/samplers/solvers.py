"""Solvers of the probability-flow ODE of a Gaussian process, by name, in both directions.

A path is a list of indices; a solver asks for the prediction at each but the last and yields the state
at each but the first. With a = sqrt(alpha_bar), s = sqrt(1 - alpha_bar) and sbar = s / a the ODE reads

    d(x/a) / d sbar = eps          or          d(x/s) / d log(a/s) = (a/s) x0,

and docs/gaussian-samplers.md derives every rule here from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.processes.gaussian import Gaussian, Prediction
from bridgepipe.rng import Noise

QUADRATURE = np.polynomial.legendre.leggauss(16)  # places in [-1, 1] and weights


@dataclass(frozen=True)
class Pair:
    """Two successive states of an exactly invertible path: what its way back starts from.

    Attributes:
        x: the state at the end of the path, float64 ``[B, ...]``.
        neighbour: the state one index before the end, float64 ``[B, ...]``.
        dtype: in which the network is called.
    """

    x: Tensor
    neighbour: Tensor
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class State:
    """Where a path is after a step.

    Attributes:
        x: the state ``[B, ...]``.
        t: its index; -1 is the data, T pure noise.
        prediction: x0 and eps at the index before, from which the step was made; a solver of higher
            order also used others.
        pair: set by an exactly invertible solver.
    """

    x: Tensor
    t: int
    prediction: Prediction
    pair: Pair | None = None


@dataclass(frozen=True)
class Problem:
    """What a solver may ask: the process, the prediction at (x, t), and noise where a step draws it."""

    process: Gaussian
    predict: Callable[[Tensor, int], Prediction]
    eta: float = 0.0
    noise: Noise | None = None

    def draw(self, x: Tensor) -> Tensor | None:
        return self.noise.normal(x.shape[1:]).to(x) if self.noise is not None and self.eta else None

    def scales(self, t: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """a and s of index t, float64."""
        alpha_bar = self.process.alpha_bar_at(t, x)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def is_inner(self, t: int) -> bool:
        return 0 <= t < self.process.T


# The states of a path; only an invertible solver is started from a pair.
Solver = Callable[[Problem, Any, Sequence[int]], Iterator[State]]


def ddim(problem: Problem, x: Tensor, steps: Sequence[int]) -> Iterator[State]:
    """Order 1, one call per step (DDIM, eq. 12)."""
    for t, s in pairwise(steps):
        p = problem.predict(x, t)
        x = problem.process.move(p, t, s, problem.eta, problem.draw(x))
        yield State(x, s, p)


def heun(problem: Problem, x: Tensor, steps: Sequence[int]) -> Iterator[State]:
    """Order 2, two calls per step: the trapezoid rule in sbar (EDM, algorithm 1); ends by DDIM."""
    for t, s in pairwise(steps):
        p = problem.predict(x, t)
        x = heun_step(problem, x, p, t, s) if problem.is_inner(s) else problem.process.move(p, t, s)
        yield State(x, s, p)


def heun_step(problem: Problem, x: Tensor, p: Prediction, t: int, s: int) -> Tensor:
    p_s = problem.predict(problem.process.move(p, t, s), s)
    (a_t, s_t), (a_s, s_s) = problem.scales(t, x), problem.scales(s, x)
    half = a_s * (s_s / a_s - s_t / a_t) / 2
    return problem.process.mix((a_s / a_t, x), (half, p.eps), (half, p_s.eps))


@dataclass(frozen=True)
class Multistep:
    """Exponential multistep of order 1, 2 or 3, one call per step (the DPM-Solver++ family).

    Towards the data x0 is extrapolated in the clock log(a/s), towards noise eps in the clock log(s/a):
    each is the direction in which errors shrink, and exchanging (a, x0) with (s, eps) turns one into the
    other. Order 1 is DDIM. The step to the data or to pure noise, where the clock is infinite, is DDIM's.

    Args:
        order: how many predictions a step uses. Order 3 takes one more call, as its first step is of
            second order.
        corrected: the prediction at the end of a step also improves that step, one order higher, before
            it serves the next (UniPC, Zhao et al. 2023); the end of the path takes one more call.
    """

    order: int
    corrected: bool = False

    def __call__(self, problem: Problem, x: Tensor, steps: Sequence[int]) -> Iterator[State]:
        history: list[Node] = []  # newest first
        ahead: Prediction | None = None
        to_data = steps[-1] < steps[0]
        for t, s in pairwise(steps):
            p, ahead = ahead or problem.predict(x, t), None
            history = [_node(problem, p, t, x, to_data), *history][: self.order]
            if not problem.is_inner(s):
                x = problem.process.move(p, t, s)
            elif self.corrected:
                guess = _exponential_step(problem, x, history, t, s)
                ahead = problem.predict(guess, s)
                x = _exponential_step(problem, x, [_node(problem, ahead, s, x, to_data), *history], t, s)
            elif self.order == 3 and len(history) == 1:
                after = problem.predict(problem.process.move(p, t, s), s)
                x = _exponential_step(problem, x, [_node(problem, after, s, x, to_data), *history], t, s)
            else:
                x = _exponential_step(problem, x, history, t, s)
            yield State(x, s, p)


# Clock and prediction at an index.
Node = tuple[Tensor, Tensor]


def _node(problem: Problem, p: Prediction, t: int, x: Tensor, to_data: bool) -> Node:
    return _clock(problem, t, x, to_data), p.x0 if to_data else p.eps


def _clock(problem: Problem, t: int, x: Tensor, to_data: bool) -> Tensor:
    a, s = problem.scales(t, x)
    return (a / s).log() if to_data else (s / a).log()


def _exponential_step(problem: Problem, x: Tensor, nodes: Sequence[Node], t: int, s: int) -> Tensor:
    to_data = s < t
    (a_t, s_t), (a_s, s_s) = problem.scales(t, x), problem.scales(s, x)
    kept, gained = (s_s / s_t, a_s) if to_data else (a_s / a_t, s_s)
    start, end = (_clock(problem, i, x, to_data) for i in (t, s))
    weights = exponential_weights([clock for clock, _ in nodes], start, end)
    terms = [(gained * w, f) for w, (_, f) in zip(weights, nodes, strict=True)]
    return problem.process.mix((kept, x), *terms)


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


def obelm(problem: Problem, x: Tensor | Pair, steps: Sequence[int]) -> Iterator[State]:
    """Order 2, exactly invertible, one call per step: O-BELM of two steps.

        xbar_n = (1 - r) xbar_c + r xbar_p + h1 (h1 + h2) / h2 eps(x_c),   r = (h1 / h2)^2

    over successive (p, c, n), with xbar = x/a, h1 = sbar_n - sbar_c and h2 = sbar_c - sbar_p. Solved for
    xbar_p it is the same rule with p and n exchanged, so that the reversed path retraces the states. They
    are kept in float64 whatever the dtype of the network.

    Args:
        x: the states at steps[0] and steps[1], from a path that ended there; of a state alone, one step of
            Heun's method (two calls) makes the second, and the start is not exact.
    """
    if len(steps) < 3 or not all(problem.is_inner(t) for t in steps):
        last = problem.process.T - 1
        raise UserError(f"obelm on {list(steps)[:9]}", "solver", f"take 3 or more steps from 0 to {last}")
    dtype = x.dtype
    exact = replace(problem, predict=lambda x, t: _double(problem.predict(x.to(dtype), t)))
    if isinstance(x, Pair):
        previous, current = x.x.double(), x.neighbour.double()
    else:
        previous = x.double()
        p = exact.predict(previous, steps[0])
        current = heun_step(exact, previous, p, steps[0], steps[1])
        yield State(current.to(dtype), steps[1], p, Pair(current, previous, dtype))
    for before, t, after in zip(steps, steps[1:], steps[2:], strict=False):
        p = exact.predict(current, t)
        previous, current = current, _obelm_step(exact, previous, current, p, (before, t, after))
        yield State(current.to(dtype), after, p, Pair(current, previous, dtype))


def _obelm_step(
    problem: Problem, previous: Tensor, current: Tensor, p: Prediction, times: tuple[int, int, int]
) -> Tensor:
    (a_p, s_p), (a_c, s_c), (a_n, s_n) = (problem.scales(t, current) for t in times)
    h1, h2 = s_n / a_n - s_c / a_c, s_c / a_c - s_p / a_p
    r = (h1 / h2) ** 2
    return problem.process.mix(
        (a_n / a_c * (1 - r), current), (a_n / a_p * r, previous), (a_n * h1 * (h1 + h2) / h2, p.eps)
    )


def _double(p: Prediction) -> Prediction:
    return Prediction(p.x0.double(), p.eps.double())


# What each name of `nfe.SOLVER_TRAITS` stands for.
SOLVERS: dict[str, Solver] = {
    "ddim": ddim,
    "heun": heun,
    "multistep2": Multistep(2),
    "multistep3": Multistep(3),
    "unipc3": Multistep(3, corrected=True),
    "obelm": obelm,
}
