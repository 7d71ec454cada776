"""Dual diffusion implicit bridges (Su et al. 2023): encoded by one network, decoded by another.

Both follow the probability-flow ODE, so nothing is drawn, and the inverse retraces the translation. It is the
same of images, here, and of points (`ddib_points`). A class-conditional network plays both parts when the
labels differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bridgepipe import samplers
from bridgepipe.config.ddib import TranslateImages
from bridgepipe.config.points import SolverSettings
from bridgepipe.errors import UserError
from bridgepipe.methods.gaussian import Diffusion, Model
from bridgepipe.names.classes import numbers_in
from bridgepipe.names.nfe import num_times
from bridgepipe.names.timesteps import timesteps
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.runtime.rng import Noise
from bridgepipe.samplers.denoiser import Denoiser
from bridgepipe.samplers.gaussian_loops import Grid, Sample
from bridgepipe.samplers.solvers import Pair
from bridgepipe.samplers.steps import respaced

Guidance = Literal["none", "classifier", "free"]
DRAW = "translation"  # purpose of the noise on the way to the target
# images of a batch of items, or their pairs of states
Start = Callable[[Sequence[int]], Tensor | Pair]


def steps_of(how: TranslateImages | SolverSettings, process: Gaussian) -> Grid:
    """Timesteps of encoding and decoding.

    Raises:
        UserError: a spelling that is unknown, more times than there are, or a single one.
    """
    if isinstance(how, SolverSettings):
        return _of_calls(how, process)
    spacing, _, count = how.respacing.rpartition(" ")
    if spacing == "log_snr" and count.isdigit():
        times = schedules.uniform_log_snr(process.alpha_bar, int(count))
    else:
        times = timesteps(process.T, how.respacing)
    if len(times) < 2:
        what = f"respacing {how.respacing!r} keeps {len(times)} time"
        raise UserError(what, "translation", "take 2 or more")
    return samplers.grid(how.grid, times, process.T)


def _of_calls(settings: SolverSettings, process: Gaussian) -> Grid:
    if settings.nfe is None:
        return samplers.grid(settings.grid, range(process.T), process.T)
    inner, spacing = settings.grid == "exact", settings.spacing
    count = num_times(process.T, settings.solver, settings.nfe, spacing, least=2, inner=inner)
    return samplers.grid(settings.grid, respaced(process, count, spacing, inner=True), process.T)


# The translation of DDIB's class-conditional ImageNet script, and that of the other implementation.
PUBLISHED = TranslateImages(
    solver="ddim", grid="ddib", respacing="", clip_decode=True, guidance="classifier", variant="published"
)
PUBLISHED_FOLDER = TranslateImages(
    solver="ddim", grid="dmi", respacing="uniform 100", clip_encode=True, clip_decode=True
)


@dataclass(frozen=True)
class Translated:
    """The two ends of a translation: a state each, or a state pair if the solver is invertible.

    Attributes:
        latent: final state of the source's ODE.
        target: final state of the target's ODE.
    """

    latent: Sample
    target: Sample

    @property
    def calls(self) -> int:
        """Network calls per item, encoding and decoding together."""
        return self.latent.calls + self.target.calls

    @property
    def calls_per_way(self) -> int:
        """Network calls per item of encoding or decoding, whichever makes more."""
        return max(self.latent.calls, self.target.calls)


def translate(
    source: Denoiser,
    target: Denoiser,
    x: Tensor | Pair,
    how: TranslateImages | SolverSettings,
    eta: float = 0.0,
    rng: Noise | None = None,
) -> Translated:
    """Encode along ``source``, decode along ``target`` (DDIB, algorithm 1).

    With the two exchanged it is the inverse, up to rounding error when x is the final state pair.

    Args:
        x: images ``[B, C, H, W]`` in [-1, 1], points ``[B, D]``, or the pair of an earlier translation's end.
        eta, rng: noise of DDIM on the way to the target; 0 draws none.

    Raises:
        UserError: the two networks denoise different processes.
    """
    a, b = source.process, target.process
    if not a.noises_as(b):
        mend = "take two models with the same schedule and T"
        raise UserError("the two networks denoise different processes", "translation", mend)
    steps = steps_of(how, a)
    latent = samplers.encode(source, x, steps.encode, solver=how.solver)
    end = samplers.decode(target, latent.start, steps.decode, rng, solver=how.solver, eta=eta)
    return Translated(latent, end)


def denoiser(
    model: Model,
    label: int | None,
    count: int,
    guidance: Guidance = "none",
    scale: float = 0.0,
    clip: bool = False,
    guide: Model | None = None,
    guided: int | None = None,
) -> Denoiser:
    """The denoiser of ``count`` images of the class ``label``.

    Args:
        model: denoiser; a class-conditional one receives ``label``, or its null class for None.
        guidance, scale: see `TranslateImages`; the classifier-free prediction is c + scale (c - u).
        clip: clamp every prediction of x0.
        guide: classifier of noisy images.
        guided: number of the class in the guide's list; None: that of the class called as the model's is.

    Raises:
        UserError: the model or the guide has no such class.
    """
    gradient = None
    if scale and guidance == "classifier":
        if guided is None and guide is not None and label is not None:
            guided = _guided(model, label, guide)
        if guide is None or guided is None:
            mend = "give a guide and a class, or guidance: none"
            raise UserError("nothing guides the translation", "classifier guidance", mend)
        gradient = guide.guidance(torch.full((count,), guided), scale)
    weight = 1 + scale if scale and guidance == "free" else None
    return model.denoiser(_labels(model, label, count), weight, clip, gradient)


def _guided(model: Model, label: int, guide: Model) -> int:
    """Number of a model's class in the guide's list, by name. Without names on either side, the same number.

    Raises:
        UserError: the guide has no class of this name, or one of the two does not name its classes.
    """
    if model.class_names is None and guide.class_names is None:
        return label
    if model.class_names is None or guide.class_names is None:
        who = "model" if model.class_names is None else "guide"
        mend = "train or import it again, or give the number of the class in the guide's list"
        raise UserError(f"the {who} does not name its classes", "classifier guidance", mend)
    return numbers_in(guide.class_names, [model.class_names[label]], "guide", "translation")[0]


@dataclass(frozen=True)
class Translator:
    """A source model and a target model, which may be the same, with the settings of a translation.

    Args:
        source, target: trained models.
        labels: numbers of the source's and the target's class, see `denoiser`.
        how: settings of the translation.
        guide: classifier of noisy images, for the guidance ``classifier``.
        guided: numbers of the two classes in the list of the guide; None: see `denoiser`.

    Raises:
        UserError: models, or a guide, of images of other sizes or of other processes.
    """

    source: Model
    target: Model
    labels: tuple[int | None, int | None]
    how: TranslateImages
    guide: Model | None = None
    guided: tuple[int | None, int | None] = (None, None)

    def __post_init__(self) -> None:
        for role, other in (("target model", self.target), ("guide", self.guide)):
            if other is not None:
                _same_process(role, other.diffusion, self.source.diffusion)

    @property
    def batch_size(self) -> int:
        """Images per network call that both models accept."""
        return min(self.source.batch_size, self.target.batch_size)

    def denoisers(self, count: int) -> tuple[Denoiser, Denoiser]:
        """The denoisers for encoding and for decoding ``count`` images."""
        how = self.how
        up = (how.guidance, how.scale_encode, how.clip_encode, self.guide, self.guided[0])
        down = (how.guidance, how.scale_decode, how.clip_decode, self.guide, self.guided[1])
        source, target = self.labels
        return denoiser(self.source, source, count, *up), denoiser(self.target, target, count, *down)

    def translate(self, x: Tensor | Pair, items: Sequence[int]) -> Translated:
        """A batch of images ``[B, C, H, W]`` in [-1, 1], or the pair of states of an earlier translation.

        Args:
            items: numbers of the images, to which their noise belongs.
        """
        how = self.how
        rng = self.target.noise(how.seed, DRAW, items) if how.eta else None
        source, target = self.denoisers(len(x))
        return translate(source, target, x.to(self.source.device), how, how.eta, rng)

    def inverse(self, x: Tensor | Pair) -> Translated:
        """A batch of translations taken back, guided as they were, and without noise."""
        source, target = self.denoisers(len(x))
        return translate(target, source, x.to(self.source.device), self.how)


def _same_process(role: str, other: Diffusion, source: Diffusion) -> None:
    """Refuse a model whose image size, schedule or T differs from the source's."""
    mend = "take models and a guide of one size, schedule and T"
    if other.shape != source.shape:
        what = f"the {role} is of images {list(other.shape)}, the source model of {list(source.shape)}"
        raise UserError(what, "translation", mend)
    if not other.process.noises_as(source.process):
        a, b = (f"{d.settings.schedule} with T {d.settings.T}" + _spectrum(d) for d in (other, source))
        what = f"different processes: the {role} denoises {a}, the source model {b}"
        raise UserError(what, "translation", mend)


def _spectrum(diffusion: Diffusion) -> str:
    how = diffusion.settings
    law = how.c1, how.c2, how.m
    return "" if None in law else f" and c1, c2, m {', '.join(f'{value:.4g}' for value in law)}"


def states_of(end: Sample) -> np.ndarray:
    """The starting point of the inverse: ``[B, 2, C, H, W]`` float64 of a pair, else ``[B, 1, C, H, W]``."""
    states = [end.x] if end.pair is None else [end.pair.x, end.pair.neighbour]
    return torch.stack(states, dim=1).cpu().numpy()


def restart(states: np.ndarray) -> Tensor | Pair:
    """A pair or an image from the states that `states_of` made of it."""
    first, *neighbour = torch.from_numpy(states).unbind(dim=1)
    return Pair(first, neighbour[0]) if neighbour else first


def _labels(model: Model, label: int | None, count: int) -> Tensor | None:
    """Labels of ``count`` images; None for a network without classes.

    Raises:
        UserError: the network has no such class.
    """
    if model.classes is None:
        return None
    number = model.null if label is None else label
    if number is None or not (0 <= number < model.classes or number == model.null):
        what = f"the network has the classes 0 to {model.classes - 1}, not {number}"
        raise UserError(what, "translation", "give the number of one of them")
    return torch.full((count,), number)
