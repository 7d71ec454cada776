"""Denoisers: a network with its process, guidance and clipping. Samplers call nothing else.

A network is a function (x, t) -> output; whoever builds it binds labels, scales t or casts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bridgepipe.processes.bridge import Bridge
from bridgepipe.processes.gaussian import Gaussian, Posterior, Prediction

Network = Callable[[Tensor, Tensor], Tensor]
Gradient = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Denoiser:
    """The denoiser of a Gaussian process: network, process, guidance and clipping.

    Args:
        network: (x, t) -> output, t the int64 original timestep ``[B]`` that it was trained with.
        process: process that the network denoises.
        clip: clamp every x0 prediction to [-1, 1].
        gradient: (x, t) -> gradient of log p(y | x), see `classifier_gradient`; None: unguided.
    """

    network: Network
    process: Gaussian
    clip: bool = False
    gradient: Gradient | None = None

    def __call__(self, x: Tensor, t: int) -> Prediction:
        """x0 and eps of the state x ``[B, ...]`` at an index of the process."""
        slope = self._slope(x, t)
        return self.process.predict(x, t, self.network(x, self._time(x, t)), self.clip, slope)

    def posterior(self, x: Tensor, t: int, s: int) -> Posterior:
        """p(x_s | x_t) of the Markov chain, whose mean the gradient moves."""
        output = self.network(x, self._time(x, t))
        return self.process.posterior(x, t, output, s, self.clip, self._slope(x, t))

    def _time(self, x: Tensor, t: int) -> Tensor:
        return torch.full((len(x),), int(self.process.timesteps[t]), dtype=torch.int64, device=x.device)

    def _slope(self, x: Tensor, t: int) -> Tensor | None:
        return None if self.gradient is None else self.gradient(x, self._time(x, t))


def as_denoiser(
    denoiser: Denoiser | Network, process: Gaussian | None, clip: bool, gradient: Gradient | None
) -> Denoiser:
    """The denoiser itself, or that of a network alone, which comes with its process."""
    if not isinstance(denoiser, Denoiser):
        if process is None:
            raise TypeError("a network alone needs process=")
        return Denoiser(denoiser, process, clip, gradient)
    if process is not None or clip or gradient is not None:
        raise TypeError("process, clip and gradient are those of the denoiser: give them to it")
    return denoiser


@dataclass(frozen=True)
class BridgeDenoiser:
    """The denoiser of a bridge: network, process, conditioning and clipping.

    Args:
        network: (x_n, t) -> output of the shape of x_n, t the float32 network time ``[B]``.
        process: bridge process.
        clip: clamp every x0 prediction to [-1, 1].
        cond: what the network sees beside x_n, along dim 1 ``[B, C', ...]``; None: nothing.
        agree: brings a prediction of x0 into agreement with what was seen (data consistency; CDDB, Chung
            et al. 2023); None: predictions stay as they are.
    """

    network: Network
    process: Bridge
    clip: bool = False
    cond: Tensor | None = None
    agree: Callable[[Tensor], Tensor] | None = None

    def __call__(self, x_n: Tensor, n: int) -> Prediction:
        """x0 of the state x_n at an index of the bridge; eps is (x_n - x0) / std_fwd, the output."""
        t = self.process.network_time(torch.full((len(x_n),), n, device=x_n.device))
        output = self.network(x_n if self.cond is None else torch.cat([x_n, self.cond], dim=1), t)
        x0 = self.process.predict_x0(x_n, n, output, self.clip)
        return Prediction(x0 if self.agree is None else self.agree(x0), output)


def as_bridge_denoiser(
    denoiser: BridgeDenoiser | Network, process: Bridge | None, clip: bool, cond: Tensor | None
) -> BridgeDenoiser:
    """The denoiser itself, or that of a network alone, which comes with its bridge."""
    if not isinstance(denoiser, BridgeDenoiser):
        if process is None:
            raise TypeError("a network alone needs process=")
        return BridgeDenoiser(denoiser, process, clip, cond)
    if process is not None or clip or cond is not None:
        raise TypeError("process, clip and cond are those of the denoiser: give them to it")
    return denoiser


def classifier_gradient(classifier: Network, labels: Tensor, scale: float = 1.0) -> Gradient:
    """(x, t) -> scale times the gradient of log p(label | x, t) in x, for classifier guidance."""

    def gradient(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            logits = nn.functional.log_softmax(classifier(x, t), dim=-1)
            chosen = logits[torch.arange(len(logits), device=logits.device), labels]
            return torch.autograd.grad(chosen.sum(), x)[0] * scale

    return gradient


def classifier_free(conditional: Network, unconditional: Network, scale: float, channels: int) -> Network:
    """A network guided by its own null class: u + scale (c - u); 1 is the plain conditional one.

    Args:
        channels: channels of the image; what the output has beyond them, the variance, is the conditional's.
    """
    return _ClassifierFree(conditional, unconditional, scale, channels)


@dataclass(frozen=True)
class _ClassifierFree:
    conditional: Network
    unconditional: Network
    scale: float
    channels: int
    network_calls: ClassVar[int] = 2  # each time that it is asked

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        c, u = self.conditional(x, t), self.unconditional(x, t)
        of_image = slice(self.channels)
        guided = u[:, of_image] + self.scale * (c[:, of_image] - u[:, of_image])
        return torch.cat([guided, c[:, self.channels :]], dim=1)


def rescaled(network: Network, T: int) -> Network:
    """A network that receives t * 1000 / T as float32, with the T of its training."""
    return lambda x, t: network(x, t.float() * (1000.0 / T))


@dataclass
class Counted:
    """A network that counts its calls."""

    network: Network
    calls: int = 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += getattr(self.network, "network_calls", 1)
        return self.network(x, t)
