"""The latents that edits move: z at a timestep t, and the bottleneck h of the network there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bridgepipe import samplers
from bridgepipe.config.boundary_settings import Inversion
from bridgepipe.data.pixels import from_uint8
from bridgepipe.methods.gaussian import Model
from bridgepipe.names.timesteps import truncated
from bridgepipe.networks import adm
from bridgepipe.networks.hspace import Bottlenecked, HSpace
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers.denoiser import Denoiser, Network
from bridgepipe.samplers.solvers import State

Variant = Literal["published", "exact"]
PUBLISHED_STEPS = 999  # indices on the path from pure noise


@dataclass(frozen=True)
class Latents:
    """Latents of images at one timestep.

    Attributes:
        z: ``[B, C, H, W]``.
        h: bottleneck of the network ``[B, C', H', W']``.
        t: index of the process at which z lies.
    """

    z: Tensor
    h: Tensor
    t: int


class LostH(HSpace):
    """An h-space that ignores h.

    The published code hands h over in a place where the improved-DDPM network expects labels, so that only
    edits of z reach it.
    """

    def run(self, x: Tensor, t: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Output and bottleneck of x, whatever h is."""
        return super().run(x, t)


class _Bound:
    """A network called through its owner's wrapper, for example with t rescaled or in another precision."""

    def __init__(self, network: Bottlenecked, bound: Network) -> None:
        self._network, self._bound = network, bound

    @property
    def bottleneck(self) -> nn.Module:
        return self._network.bottleneck

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self._bound(x, t)


def space(network: Bottlenecked, bound: Network | None = None, variant: Variant = "exact") -> HSpace:
    """The h-space of an unconditional `adm.UNet` or `ddpm.UNet`.

    Args:
        network: not compiled.
        bound: calls the network, (x, original timestep) -> output; None: called as it is.
        variant: ``published`` loses h with `adm.UNet`, see `LostH`.
    """
    called = network if bound is None else _Bound(network, bound)
    lost = variant == "published" and isinstance(network, adm.UNet)
    return LostH(called) if lost else HSpace(called)


def space_of(model: Model, variant: Variant = "exact") -> HSpace:
    """The h-space of a model, called as the model calls its network."""
    return space(cast("Bottlenecked", model.network), model.bound(), variant)


class _Reading:
    """A network that remembers the bottleneck of every call."""

    def __init__(self, h_space: HSpace) -> None:
        self._space = h_space
        self.h: list[Tensor] = []

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        output, own = self._space.capture(x, t)
        self.h.append(own.to(x.dtype))
        return output


class _ReadingLast(_Reading):
    """The same, for the last call only."""

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.h.clear()
        return super().__call__(x, t)


def invert(h_space: HSpace, process: Gaussian, x0: Tensor, t: int, how: Inversion) -> Latents:
    """Images ``[B, C, H, W]`` in [-1, 1] at t, along the probability-flow ODE.

    Published: h is that of the last call, at the index before t on the image there. Exact: h is that of z at
    t, one call more.

    Raises:
        UserError: t outside the process, or more indices than there are.
    """
    reading = _ReadingLast(h_space)
    steps = truncated(t, how.count)
    z = samplers.encode(reading, x0, steps, process=process, solver=how.solver).x
    h = reading.h[0] if how.variant == "published" else bottleneck(h_space, process, z, t)
    return Latents(z, h, t)


@torch.no_grad()
def bottleneck(h_space: HSpace, process: Gaussian, z: Tensor, t: int) -> Tensor:
    """h of z at index t."""
    times = torch.full((len(z),), int(process.timesteps[t]), dtype=torch.int64, device=z.device)
    return h_space.capture(z, times)[1].to(z.dtype)


def trajectory(
    h_space: HSpace, process: Gaussian, x0: Tensor, steps: Sequence[int], every: int = 1
) -> list[Latents]:
    """Images at several indices of one inversion, each with its own h (exact timing).

    Args:
        steps: ascending indices, the first of which is the image's.
        every: every n-th step is returned, from the first on, and always the last.
    """
    reading, states = _Reading(h_space), [x0]

    def observe(state: State) -> None:
        states.append(state.x)

    samplers.encode(Denoiser(reading, process), x0, steps, observe=observe)
    hs = [*reading.h, bottleneck(h_space, process, states[-1], steps[-1])]
    latents = [Latents(z, h, t) for z, h, t in zip(states, hs, steps, strict=True)]
    return [one for k, one in enumerate(latents) if k % every == 0 or k == len(latents) - 1]


def generate(
    h_space: HSpace,
    process: Gaussian,
    noise: Tensor,
    t: int,
    count: int = PUBLISHED_STEPS,
    variant: Variant = "exact",
) -> Latents:
    """Latents at index t of generated images: noise ``[B, C, H, W]`` decoded to t deterministically.

    Args:
        count: indices from 0 to T-1, of which those above t are visited, and then t: where the published
            code finds no t among its own, of 999 it is 998, it goes on to the image.
        variant: ``published``: h is that of the last call, before t; ``exact``: it is that of z at t.

    Raises:
        UserError: t is not below T-1.
    """
    reading = _ReadingLast(h_space)
    steps = [*(s for s in reversed(truncated(process.T - 1, count)) if s > t), t]
    z = samplers.decode(Denoiser(reading, process), noise, steps).x
    h = reading.h[0] if variant == "published" else bottleneck(h_space, process, z, t)
    return Latents(z, h, t)


def photo(pixels: np.ndarray, size: int | tuple[int, int]) -> Tensor:
    """An image uint8 ``[H, W, C]`` as ``[1, C, size, size]`` in [-1, 1].

    Resized by Lanczos without a crop, as published: an image that is not square is distorted.
    """
    height, width = (size, size) if isinstance(size, int) else size
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
    return from_uint8(np.array(resized)[None])
