"""Unconditional generation: DDPM, DDIM and Shortest-Path Diffusion (Ho 2020, Song 2021, Das 2023).

The three differ in the process of the model (`processes.gaussian`) and in the sampler only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bridgepipe import samplers
from bridgepipe.config.gaussian import Generate
from bridgepipe.data.pixels import to_uint8
from bridgepipe.methods.gaussian import Model
from bridgepipe.names.nfe import calls_made
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers.steps import decode_steps


def as_made(how: Generate, process: Gaussian) -> Generate:
    """The same, ``nfe`` being the number of calls that it makes, which tables and labels show.

    Raises:
        UserError: a number of calls that the sampler and the spacing don't give.
    """
    made = calls_made(process.T, how.sampler, how.nfe, how.spacing)
    return how.model_copy(update={"nfe": made})


def labels_of(model: Model, items: Sequence[int]) -> Tensor | None:
    """Class of every sample: all classes in turn; None for an unconditional model."""
    if model.classes is None:
        return None
    return torch.tensor([item % model.classes for item in items])


def clips(how: Generate, process: Gaussian) -> bool:
    """Whether x0 is clamped: the published Shortest-Path Diffusion has the option, and no use of it."""
    return how.clip and not (how.variant == "published" and process.basis == "fourier")


def generate(model: Model, items: Sequence[int], how: Generate) -> Tensor:
    """A batch of samples ``[b, *shape]``; each depends on its index and the seed only."""
    noise = model.noise(how.seed, "generation", items)
    start = noise.normal(model.diffusion.shape)
    denoiser = model.denoiser(labels_of(model, items), clip=clips(how, model.process))
    steps = decode_steps(model.process, how.sampler, how.nfe, how.spacing)
    if how.sampler == "ancestral":
        return samplers.ancestral(denoiser, start, steps, noise).x
    return samplers.decode(denoiser, start, steps, noise, solver=how.sampler, eta=how.eta).x


def images(model: Model, items: Sequence[int], how: Generate) -> np.ndarray:
    """A batch of samples as uint8 ``[b, H, W, C]``."""
    return to_uint8(generate(model, items, how), how.variant)
