"""Edits: latents moved along the normals of boundaries at one step, then brought back to images.

The paper edits once, at the mixing step: z and h move there, and every later step is that of the unedited
network (its algorithm, "one-step editing"). ``exact`` does this. ``published`` is what the code does: after
the first step the decoder gets, at every step, the bottleneck of the step before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bridgepipe import samplers
from bridgepipe.config.boundary_settings import Edit
from bridgepipe.errors import UserError
from bridgepipe.methods.boundary import Boundaries, Boundary
from bridgepipe.methods.boundary_latents import Latents
from bridgepipe.names.timesteps import truncated
from bridgepipe.networks.hspace import HSpace
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.runtime.rng import Noise
from bridgepipe.samplers.denoiser import Denoiser, Network
from bridgepipe.samplers.solvers import State

Source = Noise | Sequence[Tensor]


@dataclass(frozen=True)
class Move:
    """A move along the boundaries of one attribute.

    Args:
        boundaries: boundaries in z, in h, or in both; both move by the same distance.
        distance: signed; a number, or one per latent ``[B]``.
    """

    boundaries: Boundaries
    distance: float | Tensor


def steps_of(how: Edit, t: int, process: Gaussian, stochastic: bool) -> list[int]:
    """Indices from t down. Without noise the exact way back ends where the inversion began, index 0."""
    matched = how.variant == "exact" and not stochastic
    return samplers.grid("exact" if matched else "boundary", truncated(t, how.count), process.T).decode


DRAW = "boundary edit"  # purpose of the noise of edits
PUBLISHED = Edit(variant="published", eta=1.0, relative=False)


class _Lagged:
    """Published: each call decodes with the bottleneck of the call before, the first with the moved h."""

    def __init__(self, h_space: HSpace, h: Tensor) -> None:
        self._space, self._h = h_space, h

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        output, self._h = self._space.run(x, t, self._h)
        return output


class _Displaced:
    """Exact: the moved h at the mixing step, own h plus the same displacement at ``later`` timesteps."""

    def __init__(self, h_space: HSpace, h: Tensor, by: Tensor, at: int, later: Collection[int]) -> None:
        self._space, self._h, self._by, self._at, self._later = h_space, h, by, at, later

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        now = int(t[0])
        if now == self._at:
            return self._space.replace(x, t, self._h)
        output, own = self._space.capture(x, t)
        return self._space.replace(x, t, own + self._by) if now in self._later else output


def moved(latents: Latents, moves: Sequence[Move], how: Edit) -> Latents:
    """Latents moved in z and in h together, one attribute after the other."""
    z, h = latents.z, latents.h
    for move in moves:
        z = _along(move.boundaries.z, z, move.distance, how, raw=False)
        h = _along(move.boundaries.h, h, move.distance, how, raw=how.raw_h)
    return Latents(z, h, latents.t)


def _along(boundary: Boundary | None, z: Tensor, distance: float | Tensor, how: Edit, raw: bool) -> Tensor:
    if boundary is None:
        return z
    if how.variant == "published":
        boundary = boundary.through_origin()
    if not raw:
        return boundary.move(z, distance, how.relative)
    # (d - <h, a>) a with a = scale * normal: a move by that many lengths of the normal.
    by = distance if how.relative else distance - boundary.decide(z)
    return boundary.move(z, torch.as_tensor(by, dtype=z.dtype) * boundary.scale, relative=True)


def edit(
    h_space: HSpace,
    process: Gaussian,
    latents: Latents,
    moves: Sequence[Move],
    how: Edit,
    rng: Source | None = None,
    observe: Callable[[State], Any] | None = None,
) -> Tensor:
    """Images ``[B, C, H, W]`` of latents after the moves.

    Args:
        h_space: layer of the h-space, see `boundary_latents.space`.
        moves: one move per attribute, applied in sequence.
        rng: noise, drawn once per step when eta > 0 or kind is ddpm.
        observe: callback, given every state of the way back.

    Raises:
        UserError: noise is needed and not given, or a boundary is of another size.
    """
    h_moves = any(move.boundaries.h is not None for move in moves)
    return _from(h_space, process, latents, moved(latents, moves, how), h_moves, how, rng, observe)


def control(
    h_space: HSpace, process: Gaussian, latents: Latents, how: Edit, rng: Source | None = None
) -> Tensor:
    """Images ``[B, C, H, W]`` of unmoved latents, otherwise decoded as `edit` decodes them.

    With the same noise, what an edit changes is the difference to these; `reconstruct` draws none.
    """
    return _from(h_space, process, latents, latents, True, how, rng)


def _from(
    h_space: HSpace,
    process: Gaussian,
    latents: Latents,
    to: Latents,
    h_moves: bool,
    how: Edit,
    rng: Source | None,
    observe: Callable[[State], Any] | None = None,
) -> Tensor:
    """Images of ``latents`` that were moved ``to``."""
    steps = steps_of(how, latents.t, process, _random(how, how.eta))
    if not h_moves:
        network: Network = _plain(h_space)
    elif how.variant == "published":
        network = _Lagged(h_space, to.h)
    else:
        first, *later = (int(process.timesteps[s]) for s in steps[: how.h_steps])
        network = _Displaced(h_space, to.h, to.h - latents.h, first, later)
    return _decode(Denoiser(network, process), to.z, steps, how, how.eta, rng, observe)


def reconstruct(
    h_space: HSpace, process: Gaussian, latents: Latents, how: Edit, rng: Source | None = None
) -> Tensor:
    """Images ``[B, C, H, W]`` of unmoved latents, with eta 0 (kind ddpm draws noise here too)."""
    steps = steps_of(how, latents.t, process, _random(how, 0.0))
    return _decode(Denoiser(_plain(h_space), process), latents.z, steps, how, 0.0, rng)


def strip(
    h_space: HSpace,
    process: Gaussian,
    latents: Latents,
    boundaries: Boundaries,
    distances: Sequence[float],
    how: Edit,
    rng: Callable[[int], Source] | None = None,
) -> Tensor:
    """Images ``[B, K, C, H, W]`` at K distances.

    Args:
        rng: noise of distance number k; the same for all makes images differ by the distance alone.
    """
    images = [
        edit(h_space, process, latents, [Move(boundaries, d)], how, None if rng is None else rng(k))
        for k, d in enumerate(distances)
    ]
    return torch.stack(images, dim=1)


def _plain(h_space: HSpace) -> Network:
    return lambda x, t: h_space.capture(x, t)[0]


def _random(how: Edit, eta: float) -> bool:
    return how.kind == "ddpm" or eta > 0


def _decode(
    denoiser: Denoiser,
    z: Tensor,
    steps: Sequence[int],
    how: Edit,
    eta: float,
    rng: Source | None,
    observe: Callable[[State], Any] | None = None,
) -> Tensor:
    if _random(how, eta) and rng is None:
        raise UserError(f"{how.kind} with eta {eta} draws noise", "boundary edit", "give a source of noise")
    if how.kind == "ddpm" and rng is not None:
        unit_stride = how.variant == "published"
        return samplers.ancestral(denoiser, z, steps, rng, unit_stride=unit_stride, observe=observe).x
    solver = "ddim" if eta else how.solver
    return samplers.decode(denoiser, z, steps, rng, solver=solver, eta=eta, observe=observe).x
