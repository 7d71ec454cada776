"""Loops of a Gaussian process: encode to noise, decode to data, and the ancestral sampler.

``steps`` are indices of the process in the order of travel: the denoiser is called at each but the last, -1
is the data and T is pure noise. In place of a `Denoiser` every loop takes its network alone, and then its
``process``, ``clip`` and ``gradient``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.names.nfe import INVERTIBLE, SOLVER_TRAITS, STOCHASTIC
from bridgepipe.processes.gaussian import CLEAN, Gaussian
from bridgepipe.runtime.rng import Normal, as_noise
from bridgepipe.samplers.denoiser import Counted, Denoiser, Gradient, Network, as_denoiser
from bridgepipe.samplers.solvers import SOLVERS, Pair, Solver, State

Grids = Literal["ddib", "dmi", "boundary", "exact"]


@dataclass(frozen=True)
class Sample:
    """The end of a path.

    Attributes:
        x: the state at the last step ``[B, ...]``.
        calls: network calls; classifier-free guidance makes two at each step.
        pair: state pair that the inverse of an exactly invertible solver starts from; None for other solvers.
    """

    x: Tensor
    calls: int
    pair: Pair | None = None

    @property
    def start(self) -> Tensor | Pair:
        """The starting point of a path that continues from here: the state pair if there is one."""
        return self.x if self.pair is None else self.pair


@dataclass(frozen=True)
class Grid:
    """Timesteps of encoding and decoding."""

    encode: list[int]
    decode: list[int]


def grid(kind: Grids, indices: Sequence[int], T: int) -> Grid:
    """The published steps, or matched ones, over the ascending ``indices`` of 0 .. T-1.

    Args:
        kind: ``ddib`` encodes on to pure noise, where alpha_bar is 0, but decodes from the last index;
            ``dmi`` and ``boundary`` encode to the last index; all three decode on to alpha_bar = 1.
            ``exact`` decodes along the very steps that it encodes along, so that image and latent
            belong to the first and the last index in both directions.
    """
    if kind not in get_args(Grids):
        raise UserError(f"unknown grid {kind!r}", "sampler", f"take one of {', '.join(get_args(Grids))}")
    up, down = list(indices), list(reversed(indices))
    return Grid([*up, T] if kind == "ddib" else up, down if kind == "exact" else [*down, CLEAN])


@torch.no_grad()
def encode(
    denoiser: Denoiser | Network,
    x: Tensor | Pair,
    steps: Sequence[int],
    *,
    process: Gaussian | None = None,
    solver: str = "ddim",
    clip: bool = False,
    gradient: Gradient | None = None,
    observe: Callable[[State], Any] | None = None,
) -> Sample:
    """From the data to noise along the probability-flow ODE.

    Args:
        x: images ``[B, C, ...]``, taken as the state at steps[0]; or the pair of an earlier decoding
            along the reversed steps, which an exactly invertible solver retraces to rounding error.
        steps: time indices, ascending.
        solver: a name of `solvers.SOLVERS`.
        observe: callback, given every state of the path.

    Raises:
        UserError: an unknown solver, steps that don't ascend, or a pair for a solver that is not invertible.
    """
    denoiser = as_denoiser(denoiser, process, clip, gradient)
    _check(steps, denoiser.process, ascending=True)
    return _end(_rule(solver, x), denoiser, x, steps, observe)


@torch.no_grad()
def decode(
    denoiser: Denoiser | Network,
    x: Tensor | Pair,
    steps: Sequence[int],
    rng: Normal | Sequence[Tensor] | None = None,
    *,
    process: Gaussian | None = None,
    solver: str = "ddim",
    eta: float = 0.0,
    clip: bool = False,
    gradient: Gradient | None = None,
    observe: Callable[[State], Any] | None = None,
) -> Sample:
    """From noise to the data along the probability-flow ODE, or with noise of DDIM's ``eta``.

    Args:
        x, solver, observe: see `encode`.
        steps: time indices, descending.
        rng: source of the noise, drawn once per step when eta > 0.
        eta: 0 draws nothing, 1 is the ancestral sampler of fixed_small variance; DDIM only.

    Raises:
        UserError: as in `encode`; or eta without a source of noise, or with another solver.
    """
    denoiser = as_denoiser(denoiser, process, clip, gradient)
    _check(steps, denoiser.process, ascending=False)
    rule = _rule(solver, x)
    if eta:
        if not SOLVER_TRAITS[solver].stochastic or rng is None or eta < 0:
            mend = f"take {' or '.join(STOCHASTIC)}, eta >= 0 and a source of noise"
            raise UserError(f"eta is {eta} with {solver}", "decode", mend)
        rule = partial(rule, eta=eta, noise=as_noise(rng))
    return _end(rule, denoiser, x, steps, observe)


@torch.no_grad()
def ancestral(
    denoiser: Denoiser | Network,
    x: Tensor,
    steps: Sequence[int],
    rng: Normal | Sequence[Tensor],
    *,
    process: Gaussian | None = None,
    clip: bool = False,
    gradient: Gradient | None = None,
    unit_stride: bool = False,
    observe: Callable[[State], Any] | None = None,
) -> Sample:
    """The Markov chain x_s ~ p(x_s | x_t), its variance as the process says (DDPM, algorithm 2).

    Args:
        x, observe: see `encode`.
        steps: time indices, descending; no noise is added at -1, though it is drawn there too.
        unit_stride: every step is that from t to t - 1 even where the steps skip (BoundaryDiffusion).
    """
    denoiser = as_denoiser(denoiser, process, clip, gradient)
    _check(steps, denoiser.process, ascending=False)
    chain = partial(_markov_chain, noise=as_noise(rng), unit_stride=unit_stride)
    return _end(chain, denoiser, x, steps, observe)


def _markov_chain(
    denoiser: Denoiser, x: Tensor, steps: Sequence[int], noise: Normal, unit_stride: bool
) -> Iterator[State]:
    for t, s in pairwise(steps):
        to = t - 1 if unit_stride else s
        posterior = denoiser.posterior(x, t, to)
        draw = noise.normal(x.shape[1:]).to(x)
        x = posterior.mean if to == CLEAN else denoiser.process.sample(posterior, draw)
        yield State(x, s, posterior.prediction)


def _rule(name: str, x: Tensor | Pair) -> Solver:
    """The solver of a name that goes on from x."""
    if name not in SOLVERS:
        raise UserError(f"unknown solver {name!r}", "sampler", f"take one of {', '.join(SOLVERS)}")
    if isinstance(x, Pair) and not SOLVER_TRAITS[name].invertible:
        mend = f"take {' or '.join(INVERTIBLE)}, or the image alone"
        raise UserError(f"a pair of states for {name}", "sampler", mend)
    return SOLVERS[name]


def _end(
    rule: Solver,
    denoiser: Denoiser,
    x: Tensor | Pair,
    steps: Sequence[int],
    observe: Callable[[State], Any] | None,
) -> Sample:
    network = Counted(denoiser.network)
    for state in rule(replace(denoiser, network=network), x, steps):
        if observe is not None:
            observe(state)
    return Sample(state.x, network.calls, state.pair)


def _check(steps: Sequence[int], process: Gaussian, ascending: bool) -> None:
    sign = 1 if ascending else -1
    right = all(sign * (s - t) > 0 for t, s in pairwise(steps))
    inside = all(0 <= t < process.T for t in steps[:-1]) and -1 <= steps[-1] <= process.T
    if len(steps) < 2 or not right or not inside:
        order = "ascending" if ascending else "descending"
        raise UserError(
            f"steps {list(steps)[:9]}",
            "sampler",
            f"take {order} ones, from 0 to {process.T - 1} until the last",
        )
