"""Loops of a Gaussian process: encode to noise, decode to data, and the ancestral sampler.

A denoiser is a function (x, t) -> output with t the int64 original timestep ``[B]`` that the network was
trained with; whoever builds it binds labels, scales t or casts. ``steps`` are indices of the process in
the order of travel: the denoiser is called at each but the last, -1 is the data and T is pure noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from bridgepipe.errors import UserError
from bridgepipe.nfe import INVERTIBLE, SOLVER_TRAITS
from bridgepipe.processes.gaussian import CLEAN, Gaussian, Prediction
from bridgepipe.rng import Noise, as_noise
from bridgepipe.samplers.solvers import SOLVERS, Pair, Problem, State

Denoiser = Callable[[Tensor, Tensor], Tensor]
Gradient = Callable[[Tensor, Tensor], Tensor]
Grids = Literal["ddib", "dmi", "boundary", "exact"]


@dataclass(frozen=True)
class Sample:
    """The end of a path.

    Attributes:
        x: the state at the last step ``[B, ...]``.
        calls: how often the network was called: twice at a time by classifier-free guidance.
        pair: what the way back of an exactly invertible solver starts from; None of the others.
    """

    x: Tensor
    calls: int
    pair: Pair | None = None


@dataclass(frozen=True)
class Grid:
    """Steps of the way to noise and of the way back."""

    encode: list[int]
    decode: list[int]


def grid(kind: Grids, kept: Sequence[int], T: int) -> Grid:
    """The published steps, or matched ones, over the ascending indices ``kept`` of 0 .. T-1.

    Args:
        kind: ``ddib`` encodes on to pure noise, where alpha_bar is 0, but decodes from the last index;
            ``dmi`` and ``boundary`` encode to the last index; all three decode on to alpha_bar = 1.
            ``exact`` decodes along the very steps that it encodes along, so that image and latent
            belong to the first and the last index both ways.
    """
    if kind not in get_args(Grids):
        raise UserError(f"unknown grid {kind!r}", "sampler", f"take one of {', '.join(get_args(Grids))}")
    there, back = list(kept), list(reversed(kept))
    return Grid([*there, T] if kind == "ddib" else there, back if kind == "exact" else [*back, CLEAN])


def encode(
    denoiser: Denoiser,
    x: Tensor | Pair,
    steps: Sequence[int],
    *,
    process: Gaussian,
    solver: str = "ddim",
    clip: bool = False,
    gradient: Gradient | None = None,
    observe: Callable[[State], Any] | None = None,
) -> Sample:
    """From the data to noise along the probability-flow ODE.

    Args:
        x: images ``[B, C, ...]``, taken as the state at steps[0]; or the pair of an earlier decoding
            along the reversed steps, which an exactly invertible solver retraces to rounding error.
        steps: ascending.
        solver: a name of `solvers.SOLVERS`.
        clip: clamp every x0 prediction to [-1, 1].
        gradient: (x, t) -> gradient of log p(y | x), see `classifier_gradient`.
        observe: called with every state of the path.

    Raises:
        UserError: an unknown solver, steps that don't ascend, or a pair for a solver that is not invertible.
    """
    _check(steps, process, ascending=True)
    return _solve(denoiser, x, steps, None, process, solver, 0.0, clip, gradient, observe)


def decode(
    denoiser: Denoiser,
    x: Tensor | Pair,
    steps: Sequence[int],
    rng: Noise | Sequence[Tensor] | None = None,
    *,
    process: Gaussian,
    solver: str = "ddim",
    eta: float = 0.0,
    clip: bool = False,
    gradient: Gradient | None = None,
    observe: Callable[[State], Any] | None = None,
) -> Sample:
    """From noise to the data along the probability-flow ODE, or with noise of DDIM's ``eta``.

    Args:
        x, solver, clip, gradient, observe: as in `encode`.
        steps: descending.
        rng: source of the noise, drawn once per step when eta > 0.
        eta: 0 draws nothing, 1 is the ancestral sampler of fixed_small variance; DDIM only.

    Raises:
        UserError: as in `encode`; or eta without a source of noise, or with another solver.
    """
    _check(steps, process, ascending=False)
    if eta and (solver != "ddim" or rng is None or eta < 0):
        raise UserError(f"eta is {eta} with {solver}", "decode", "take ddim, eta >= 0 and a source of noise")
    noise = None if rng is None else as_noise(rng)
    return _solve(denoiser, x, steps, noise, process, solver, eta, clip, gradient, observe)


@torch.no_grad()
def ancestral(
    denoiser: Denoiser,
    x: Tensor,
    steps: Sequence[int],
    rng: Noise | Sequence[Tensor],
    *,
    process: Gaussian,
    clip: bool = False,
    gradient: Gradient | None = None,
    unit_stride: bool = False,
    observe: Callable[[State], Any] | None = None,
) -> Sample:
    """The Markov chain x_s ~ p(x_s | x_t), its variance as the process says (DDPM, algorithm 2).

    Args:
        x, clip, observe: as in `encode`.
        steps: descending; no noise is added at -1, though it is drawn there too.
        gradient: moves the mean by variance times gradient.
        unit_stride: every step is that from t to t - 1 even where the steps skip (BoundaryDiffusion).
    """
    _check(steps, process, ascending=False)
    noise, calls = as_noise(rng), _Calls(denoiser, process)
    for t, s in pairwise(steps):
        output = calls(x, t)
        slope = None if gradient is None else gradient(x, calls.time(x, t))
        to = t - 1 if unit_stride else s
        posterior = process.posterior(x, t, output, to, clip, slope)
        draw = noise.normal(x.shape[1:]).to(x)
        x = posterior.mean if to == CLEAN else process.sample(posterior, draw)
        if observe is not None:
            observe(State(x, s, posterior.prediction))
    return Sample(x, calls.count)


def classifier_gradient(classifier: Denoiser, labels: Tensor, scale: float = 1.0) -> Gradient:
    """(x, t) -> scale times the gradient of log p(label | x, t) in x, for classifier guidance."""

    def gradient(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            logits = nn.functional.log_softmax(classifier(x, t), dim=-1)
            chosen = logits[torch.arange(len(logits), device=logits.device), labels]
            return torch.autograd.grad(chosen.sum(), x)[0] * scale

    return gradient


def classifier_free(conditional: Denoiser, unconditional: Denoiser, scale: float, channels: int) -> Denoiser:
    """A denoiser guided by its own null class: u + scale (c - u); 1 is the plain conditional one.

    Args:
        channels: of the image; what the output says beyond them, of the variance, is the conditional's.
    """
    return _ClassifierFree(conditional, unconditional, scale, channels)


@dataclass(frozen=True)
class _ClassifierFree:
    conditional: Denoiser
    unconditional: Denoiser
    scale: float
    channels: int
    network_calls: ClassVar[int] = 2  # each time that it is asked

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        c, u = self.conditional(x, t), self.unconditional(x, t)
        of_image = slice(self.channels)
        guided = u[:, of_image] + self.scale * (c[:, of_image] - u[:, of_image])
        return torch.cat([guided, c[:, self.channels :]], dim=1)


def rescaled(denoiser: Denoiser, T: int) -> Denoiser:
    """A denoiser whose network is told t 1000/T as float32, T being that of its training."""
    return lambda x, t: denoiser(x, t.float() * (1000.0 / T))


class _Calls:
    """The denoiser at an index of the process, counting the calls of its network."""

    def __init__(self, denoiser: Denoiser, process: Gaussian) -> None:
        self._denoiser, self._process, self.count = denoiser, process, 0
        self._each: int = getattr(denoiser, "network_calls", 1)

    def time(self, x: Tensor, t: int) -> Tensor:
        return torch.full((len(x),), int(self._process.timesteps[t]), dtype=torch.int64, device=x.device)

    def __call__(self, x: Tensor, t: int) -> Tensor:
        self.count += self._each
        return self._denoiser(x, self.time(x, t))


@torch.no_grad()
def _solve(
    denoiser: Denoiser,
    x: Tensor | Pair,
    steps: Sequence[int],
    noise: Noise | None,
    process: Gaussian,
    solver: str,
    eta: float,
    clip: bool,
    gradient: Gradient | None,
    observe: Callable[[State], Any] | None,
) -> Sample:
    if solver not in SOLVERS:
        raise UserError(f"unknown solver {solver!r}", "sampler", f"take one of {', '.join(SOLVERS)}")
    if isinstance(x, Pair) and not SOLVER_TRAITS[solver].invertible:
        mend = f"take {' or '.join(INVERTIBLE)}, or the image alone"
        raise UserError(f"a pair of states for {solver}", "sampler", mend)
    calls, solve = _Calls(denoiser, process), SOLVERS[solver]

    def predict(x: Tensor, t: int) -> Prediction:
        slope = None if gradient is None else gradient(x, calls.time(x, t))
        return process.predict(x, t, calls(x, t), clip, slope)

    problem = Problem(process, predict, eta, noise)
    for state in solve(problem, x, steps):
        if observe is not None:
            observe(state)
    return Sample(state.x, calls.count, state.pair)


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
