"""A Gaussian diffusion model: a network, the process that it denoises, and its conditioning.

DDPM, improved DDPM, ADM, the point networks of DDIB and Shortest-Path Diffusion are all one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bridgepipe import samplers
from bridgepipe.config.gaussian import Process
from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError
from bridgepipe.networks import adm, ddpm, mlp
from bridgepipe.processes import losses, schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.runtime.rng import ItemNoise, repeat_seed
from bridgepipe.runtime.running import RUNTIME, Inference
from bridgepipe.samplers.denoiser import Denoiser, Gradient, Network
from bridgepipe.training.objective import Batch, Objective

Kind = Literal["adm", "ddpm", "points"]
NETWORKS: dict[str, type[nn.Module]] = {"adm": adm.UNet, "ddpm": ddpm.UNet, "points": mlp.PointNet}
PROCESS = Process()


@dataclass(frozen=True)
class Diffusion:
    """The shape of the data, the diffusion process, and the network's parametrisation.

    Args:
        shape: shape of one item: ``(C, H, W)`` for an image, ``(D,)`` for a point.
        settings: schedule, prediction, variance, loss and times. ``shortest_path`` needs its c1, c2 and m.
    """

    shape: tuple[int, ...]
    settings: Process = PROCESS

    @cached_property
    def process(self) -> Gaussian:
        how = self.settings
        if how.schedule != "shortest_path":
            alpha_bar = getattr(schedules, how.schedule)(how.T)
            return Gaussian(alpha_bar, prediction=how.prediction, variance=how.variance)
        if how.c1 is None or how.c2 is None or how.m is None:
            raise UserError("no spectrum", "shortest_path", "give c1, c2 and m, or fit them to the data")
        height, width = self.shape[1:]
        alpha_bar = schedules.shortest_path(how.T, (height, width), how.c1, how.c2, how.m, how.variant)
        return Gaussian(alpha_bar, "fourier", how.prediction, how.variance)

    def network_time(self, t: Tensor) -> Tensor:
        """The time that the network receives for the original timestep t."""
        return t.float() * (1000.0 / self.settings.T) if self.settings.rescale_timesteps else t


def network(
    kind: Kind, diffusion: Diffusion, classes: int | None = None, seed: int = 0, **arguments: Any
) -> nn.Module:
    """A freshly initialised denoiser.

    Args:
        kind: ``adm``, ``ddpm`` or ``points``.
        diffusion: process and shape of the data that it denoises.
        classes: number of labels, including a null class; None: unconditional.
        seed: seed of the initial weights.
        arguments: arguments of the network's constructor.

    Raises:
        UserError: classes for a network that takes none.
    """
    if classes is not None and kind != "adm":
        raise UserError(f"class labels for a network of kind {kind}", "network", "take kind: adm")
    torch.manual_seed(seed)
    channels, size = diffusion.shape[0], max(diffusion.shape[1:], default=0)
    outputs = 2 * channels if diffusion.settings.variance.startswith("learned") else channels
    if kind == "points":
        return mlp.PointNet(in_channels=channels, out_channels=outputs, **arguments)
    if kind == "ddpm":
        return ddpm.UNet(size, channels, out_ch=outputs, **arguments)
    return adm.UNet(size, channels, out_channels=outputs, num_classes=classes, **arguments)


def classifier(diffusion: Diffusion, classes: int, seed: int = 0, **arguments: Any) -> adm.Classifier:
    """A freshly initialised classifier of noisy images, for guidance."""
    torch.manual_seed(seed)
    channels, height, width = diffusion.shape
    return adm.Classifier((height, width), channels, out_channels=classes, **arguments)


class Denoising:
    """Loss of a batch at random times (DDPM, algorithm 1; improved DDPM, sections 3.1 and 3.3).

    Args:
        diffusion: process, loss, and how times are drawn.
        labels: class of every training item, for a class-conditional network.
        null: the class that stands for none.
        drop: share of the items whose label is replaced by ``null`` (classifier-free guidance).
    """

    def __init__(
        self, diffusion: Diffusion, labels: np.ndarray | None = None, null: int = 0, drop: float = 0.0
    ) -> None:
        self._diffusion, self._labels, self._null, self._drop = diffusion, labels, null, drop
        self._times = losses.TIMES[diffusion.settings.times](diffusion.settings.T)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, network: nn.Module, batch: Batch) -> Tensor:
        process, x0 = self._diffusion.process, batch.images
        (t, weights), noise = self._times.sample(batch.rng), batch.rng.normal(x0.shape[1:])
        x_t = process.perturb(x0, t, noise)
        output = network(x_t, self._diffusion.network_time(t), *self._conditioning(batch))
        loss = losses.gaussian(process, x0, t, noise, output, self._diffusion.settings.loss).loss
        self._seen.append((t, loss.detach()))
        return loss * weights

    def _conditioning(self, batch: Batch) -> list[Tensor]:
        if self._labels is None:
            return []
        y = _labels(self._labels, batch)
        return [torch.where(batch.rng.uniform() < self._drop, self._null, y) if self._drop else y]

    def begin(self) -> None:
        self._seen = []

    def finish(self, gather: Callable[[Tensor], Tensor]) -> None:
        if isinstance(self._times, losses.LossAware):
            t, loss = (gather(torch.cat(values)) for values in zip(*self._seen, strict=True))
            self._times.update(t, loss)

    def state_dict(self) -> dict[str, Tensor]:
        return self._times.state_dict() if isinstance(self._times, losses.LossAware) else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if isinstance(self._times, losses.LossAware):
            self._times.load_state_dict(state)


def classifier_objective(diffusion: Diffusion, labels: np.ndarray) -> Objective:
    """Cross-entropy of the label of x_t at random times (ADM, section 4)."""

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        logits = _noisy_logits(diffusion, network, batch)
        return nn.functional.cross_entropy(logits, _labels(labels, batch), reduction="none")

    return loss


def classifier_hits(diffusion: Diffusion, labels: np.ndarray) -> Objective:
    """Whether the label of x_t is the likeliest, 1 or 0, at the times and with the noise of the loss."""

    def hits(network: nn.Module, batch: Batch) -> Tensor:
        logits = _noisy_logits(diffusion, network, batch)
        return (logits.argmax(dim=1) == _labels(labels, batch)).float()

    return hits


def _noisy_logits(diffusion: Diffusion, network: nn.Module, batch: Batch) -> Tensor:
    x0, process = batch.images, diffusion.process
    t = batch.rng.integers(process.T)
    x_t = process.perturb(x0, t, batch.rng.normal(x0.shape[1:]))
    return network(x_t, diffusion.network_time(t))


def _labels(labels: np.ndarray, batch: Batch) -> Tensor:
    return torch.from_numpy(labels[batch.items].astype(np.int64)).to(batch.images.device)


class Model(Inference):
    """A trained network on a device, ready for sampling.

    Args:
        network: denoiser, or classifier of noisy images.
        diffusion: process and shape of the data that it denoises.
        digest: SHA-256 of the weights.
        classes: number of classes, without the null class; None: unconditional.
        null: label of the null class, if the network was trained for classifier-free guidance.
        class_names: names of the classes that it is conditioned on or predicts, by label.
        repeat: seed of its training, of which its noise is another draw (`rng.repeat_seed`).
        runtime: device, precision and batch size, see `Inference`.
    """

    def __init__(
        self,
        network: nn.Module,
        diffusion: Diffusion,
        digest: str,
        classes: int | None = None,
        null: int | None = None,
        class_names: Sequence[str] | None = None,
        repeat: int = 0,
        runtime: Runtime = RUNTIME,
    ) -> None:
        super().__init__(network, runtime)
        self.diffusion, self.digest, self.classes, self.null = diffusion, digest, classes, null
        self.repeat = repeat
        self.class_names = class_names

    @property
    def process(self) -> Gaussian:
        return self.diffusion.process

    def noise(self, seed: int, purpose: str, items: Sequence[int]) -> ItemNoise:
        """Noise of items on the model's device, different for every training seed (see `ItemNoise`)."""
        return ItemNoise(repeat_seed(seed, self.repeat), purpose, items, self.device)

    def denoiser(
        self,
        labels: Tensor | None = None,
        scale: float | None = None,
        clip: bool = False,
        gradient: Gradient | None = None,
    ) -> Denoiser:
        """The denoiser that samplers call; see `bound` and `Denoiser`."""
        return Denoiser(self.bound(labels, scale), self.process, clip, gradient)

    def bound(self, labels: Tensor | None = None, scale: float | None = None) -> Network:
        """(x, t) -> output, with labels bound.

        Args:
            labels: int64 [B] on any device; needed exactly when the network has classes.
            scale: scale of classifier-free guidance; None: no guidance.

        Raises:
            UserError: labels missing or unexpected, or guidance without a null class.
        """
        if (labels is None) != (self.classes is None):
            is_conditional = labels is None
            what = f"this model is {'class-conditional' if is_conditional else 'unconditional'}"
            mend = "pass labels" if is_conditional else "do not pass labels"
            raise UserError(what, "denoiser", f"{mend}, or choose another model")
        if labels is None:
            return self._call
        conditional = self._bound(labels)
        if scale is None:
            return conditional
        if self.null is None:
            raise UserError("no null class", "classifier-free guidance", "train with drop_labels above 0")
        nothing = self._bound(torch.full_like(labels, self.null))
        return samplers.classifier_free(conditional, nothing, scale, self.diffusion.shape[0])

    def _bound(self, labels: Tensor) -> Network:
        y = labels.to(self.device)
        return lambda x, t: self._call(x, t, y)

    def _call(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        return self.call(x, self.diffusion.network_time(t), *labels)

    def guidance(self, labels: Tensor, scale: float) -> Gradient:
        """Gradient of log p(label | x_t), when the network is a classifier."""
        return samplers.classifier_gradient(self._call, labels.to(self.device), scale)
