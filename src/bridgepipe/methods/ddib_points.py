"""Dual diffusion implicit bridges between sets of points (Su et al. 2023, section 4.1).

Two models trained apart: the source's ODE takes a point to its latent, the target's takes the latent on
(`ddib.translate`).
A cycle goes on, back through the target's ODE and the source's; its ends would meet if no step had a length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bridgepipe import samplers
from bridgepipe.config.points import SolverSettings
from bridgepipe.errors import UserError
from bridgepipe.methods.ddib import steps_of, translate
from bridgepipe.methods.gaussian import Model
from bridgepipe.names.nfe import SOLVER_TRAITS, calls
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.runtime import running
from bridgepipe.runtime.rng import BlockNoise, repeat_seed
from bridgepipe.runtime.work import POINTS
from bridgepipe.samplers.denoiser import Denoiser
from bridgepipe.samplers.gaussian_loops import Grid
from bridgepipe.samplers.solvers import State
from bridgepipe.samplers.steps import decode_steps


def calls_of(settings: SolverSettings, process: Gaussian) -> int:
    """Network calls per point in the direction that makes more."""
    steps = steps_of(settings, process).encode
    return calls(settings.solver, len(steps) - 1, inner=steps[-1] < process.T)


# All steps of the process, and the two ways that differ by one step.
PUBLISHED = SolverSettings(solver="ddim", nfe=None, spacing="uniform", grid="ddib")


def denoisers(source: Model, target: Model) -> tuple[Denoiser, Denoiser]:
    """The denoisers of two models of points, for `ddib.translate`.

    Raises:
        UserError: the models' noise is not the same, so that a latent of one means nothing to the other.
    """
    same_shape = source.diffusion.shape == target.diffusion.shape
    if not same_shape or not source.process.noises_as(target.process):
        mend = "train both on points of one dimension with one schedule"
        raise UserError("the models have different latents", "translation", mend)
    return source.denoiser(), target.denoiser()


def sample(model: Model, items: Sequence[int], settings: SolverSettings, seed: int) -> Tensor:
    """Generated points ``[n, D]``; each depends on its number and the seed only."""
    steps = decode_steps(model.process, settings.solver, settings.nfe, settings.spacing)
    own = repeat_seed(seed, model.repeat)

    def run(piece: Sequence[int]) -> Tensor:
        start = BlockNoise(own, "generation", piece, model.device).normal(model.diffusion.shape)
        return samplers.decode(model.denoiser(), start, steps, solver=settings.solver).x.cpu()

    return torch.cat(running.shared_by_all(run, items, POINTS, "sampling"))


def over(
    points: Tensor, device: torch.device, run: Callable[[Tensor], Iterable[Tensor]], label: str
) -> list[Tensor]:
    """Results of ``run`` on batches of points ``[N, D]``, joined, on the CPU and in every process."""

    def of_piece(piece: Sequence[int]) -> tuple[Tensor, ...]:
        return tuple(r.cpu() for r in run(points[list(piece)].to(device)))

    batches = running.shared_by_all(of_piece, range(len(points)), POINTS, label)
    return [torch.cat(list(parts)) for parts in zip(*batches, strict=True)]


def stops_of(settings: SolverSettings, process: Gaussian, count: int) -> Grid:
    """So many of the timesteps that a translation passes each way, evenly among its calls; never an end."""
    steps = steps_of(settings, process)
    first = 1 + SOLVER_TRAITS[settings.solver].invertible  # a pair begins with two states

    def among(way: Sequence[int]) -> list[int]:
        places = np.linspace(0, len(way) - 1, count + 2).round().astype(int)[1:-1]
        return [way[place] for place in dict.fromkeys(places.tolist()) if first <= place < len(way) - 1]

    return Grid(among(steps.encode), among(steps.decode))


def on_the_way(
    source: Model, target: Model, points: Tensor, settings: SolverSettings, stops: Grid, label: str
) -> dict[str, Tensor]:
    """A translation of points ``[N, D]``: where they are at each stop, at the latent and at the end."""
    a, b = denoisers(source, target)
    steps = steps_of(settings, a.process)

    def run(x: Tensor) -> list[Tensor]:
        up: list[Tensor] = []
        down: list[Tensor] = []

        def seen(states: list[Tensor], wanted: Sequence[int]) -> Callable[[State], None]:
            return lambda state: states.append(state.x) if state.t in wanted else None

        latent = samplers.encode(a, x, steps.encode, solver=settings.solver, observe=seen(up, stops.encode))
        end = samplers.decode(
            b, latent.start, steps.decode, solver=settings.solver, observe=seen(down, stops.decode)
        )
        return [x, *up, latent.x, *down, end.x]

    heads = ["Source", *(f"encoding, t {t}" for t in stops.encode), "Latent"]
    heads += [*(f"decoding, t {t}" for t in stops.decode), "Target"]
    return dict(zip(heads, over(points, source.device, run, label), strict=True))


@dataclass(frozen=True)
class Cycle:
    """A cycle a -> b -> a of points.

    Attributes:
        target: the translated points in b, ``[N, D]``.
        error: distance of every point to its start after the cycle, ``[N]`` float64.
        calls: network calls per direction and point.
    """

    target: Tensor
    error: Tensor
    calls: int


def cycle(
    source: Model,
    target: Model,
    points: Tensor,
    settings: SolverSettings,
    state_pair: bool = True,
    label: str = "cycle",
) -> Cycle:
    """Translate points ``[N, D]`` a -> b -> a, and measure how far they end from where they started.

    Args:
        state_pair: go back from the pair of states that an exactly invertible solver ends in; else from the
            points alone, as anyone must who has nothing more.
    """
    a, b = denoisers(source, target)

    def run(x: Tensor) -> list[Tensor]:
        there = translate(a, b, x, settings)
        again = translate(b, a, there.target.start if state_pair else there.target.x, settings).target
        # the pair holds the state in float64; x is that in the network's precision
        end = again.x if again.pair is None else again.pair.x
        calls = torch.full((len(x),), there.calls_per_way)
        return [there.target.x, (end.double() - x.double()).norm(dim=1), calls]

    moved, error, calls = over(points, source.device, run, label)
    return Cycle(moved, error, int(calls[0]))
