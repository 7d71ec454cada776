"""The Gaussian diffusion process: DDPM and DDIM in pixels, Shortest-Path Diffusion per frequency.

    x_t = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps                     DDPM, eq. 4

is read in a basis. In the pixel basis alpha_bar is one number per time; in the (orthonormal) Fourier
basis it may be one number per time and frequency, which is Shortest-Path Diffusion. Every rule below is
a weighted sum of images in that basis, so nothing else distinguishes the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridgepipe.errors import UserError

Basis = Literal["pixel", "fourier"]
Output = Literal["eps", "x0", "v"]
Variance = Literal["fixed_large", "fixed_small", "learned", "learned_range"]
CLEAN = -1  # the index of the data itself, alpha_bar = 1; the index T is pure noise, alpha_bar = 0


@dataclass(frozen=True)
class Prediction:
    """What a network output says about x_t: x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps."""

    x0: Tensor
    eps: Tensor


@dataclass(frozen=True)
class Posterior:
    """p(x_s | x_t), and the prediction behind it.

    ``mean`` is an image; ``log_variance`` holds in the basis of the process and broadcasts over it.
    """

    mean: Tensor
    log_variance: Tensor
    prediction: Prediction

    @property
    def variance(self) -> Tensor:
        return self.log_variance.exp()


class Gaussian:
    """A diffusion of data into white noise over the indices 0 .. T-1.

    Images are ``[B, C, ...]`` of any floating dtype, for the Fourier basis ``[B, C, H, W]``. A time is an
    int or an int64 tensor ``[B]``: an index of this process, CLEAN (-1) for the data or T for pure noise.
    A network receives ``timesteps[index]``, the index in the process that it was trained on.

    Args:
        alpha_bar: cumulative product of 1 - beta, values in (0, 1), ``[T]``, or ``[T, 1, H, W]`` for one
            schedule per frequency in FFT order (per pixel in the pixel basis).
        basis: basis in which the process is diagonal.
        prediction: what the network predicts; v = sqrt(alpha_bar) eps - sqrt(1-alpha_bar) x0.
        variance: variance of p(x_s | x_t): beta, the posterior's, the output's second half as its logarithm
            ("learned"), or that half as an interpolation between the logarithms of both ("learned_range").
        timesteps: timestep that the network receives at each index, int64 ``[T]``; default: the index.

    Raises:
        UserError: an unknown name, a table that is no alpha_bar, or a learned variance per frequency.
    """

    def __init__(
        self,
        alpha_bar: NDArray[np.float64] | Tensor,
        basis: Basis = "pixel",
        prediction: Output = "eps",
        variance: Variance = "fixed_large",
        timesteps: Sequence[int] | NDArray[Any] | None = None,
    ) -> None:
        for name, value, known in (
            ("basis", basis, Basis),
            ("prediction", prediction, Output),
            ("variance", variance, Variance),
        ):
            if value not in get_args(known):
                raise UserError(f"unknown {name} {value!r}", "Gaussian", f"take one of {get_args(known)}")
        if basis == "fourier" and variance.startswith("learned"):
            raise UserError("a learned variance is per pixel", "Gaussian", "take fixed_large or fixed_small")
        table = torch.as_tensor(np.asarray(alpha_bar, dtype=np.float64))
        if not table.numel() or not bool(((table > 0) & (table < 1)).all()):
            raise UserError("alpha_bar leaves (0, 1)", "Gaussian", "take the cumulative product of 1 - beta")
        self.basis, self.prediction, self.variance = basis, prediction, variance
        self.alpha_bar = table.numpy()
        self.T = len(table)
        self.timesteps = torch.as_tensor(np.arange(self.T) if timesteps is None else np.asarray(timesteps))
        # One row more for pure noise, and one for the data, which index -1 reaches.
        self._table = torch.cat([table, torch.zeros_like(table[:1]), torch.ones_like(table[:1])])
        self._floor = self._posterior_variance(table[1], table[0]) if self.T > 1 else 1 - table[0]

    def respace(self, indices: Sequence[int]) -> Gaussian:
        """The same process on some of its indices alone; betas follow from the ratios of alpha_bar."""
        rows = np.asarray(indices, dtype=np.int64)
        timesteps = self.timesteps.numpy()[rows]
        return Gaussian(self.alpha_bar[rows], self.basis, self.prediction, self.variance, timesteps)

    def noises_as(self, other: Gaussian) -> bool:
        """Whether a noisy state of one process is one of the other: the same schedule in the same basis."""
        return self.basis == other.basis and np.array_equal(self.alpha_bar, other.alpha_bar)

    @property
    def betas(self) -> NDArray[np.float64]:
        """1 - alpha_bar_t / alpha_bar_{t-1}, of the shape of alpha_bar."""
        before = np.concatenate([np.ones_like(self.alpha_bar[:1]), self.alpha_bar[:-1]])
        return 1 - self.alpha_bar / before

    def alpha_bar_at(self, t: int | Tensor, x: Tensor) -> Tensor:
        """alpha_bar of index t, CLEAN or T, float64 on the CPU, broadcast over x."""
        if not isinstance(t, Tensor):
            return self._table[int(t)]
        rows = self._table[t.cpu()]
        return rows if self._table.dim() > 1 else rows.reshape(-1, *[1] * (x.dim() - 1))

    def perturb(self, x0: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """x_t ~ q(x_t | x0); ``noise`` is white and of the shape of x0, in pixels in either basis."""
        alpha_bar = self.alpha_bar_at(t, x0)
        return self.mix((alpha_bar.sqrt(), x0), ((1 - alpha_bar).sqrt(), noise))

    def predict(
        self,
        x_t: Tensor,
        t: int | Tensor,
        output: Tensor,
        clip: bool = False,
        gradient: Tensor | None = None,
    ) -> Prediction:
        """x0 and eps from a network output.

        Args:
            output: network output of the shape of x_t, or with twice the channels, of which half count here.
            clip: clamp x0 to [-1, 1] and derive eps from it.
            gradient: gradient of the classifier's log p(y | x_t). eps - sqrt(1 - alpha_bar) gradient replaces
                eps (ADM, algorithm 2), and x0 follows from it without being clamped again.
        """
        alpha_bar = self.alpha_bar_at(t, x_t)
        a, b = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        output = self.split(x_t, output)[0]
        if self.prediction == "x0":
            x0 = output
        elif self.prediction == "v":
            x0 = self.mix((a, x_t), (-b, output))
        else:
            x0 = self.mix((1 / a, x_t), (-b / a, output))
        if clip:
            x0 = x0.clamp(-1, 1)
        eps = output if self.prediction == "eps" and not clip else self.mix((1 / b, x_t), (-a / b, x0))
        if gradient is not None:
            eps = self.mix((torch.ones_like(b), eps), (-b, gradient))
            x0 = self.mix((1 / a, x_t), (-b / a, eps))
        return Prediction(x0, eps)

    def predict_x0(self, x_t: Tensor, t: int | Tensor, output: Tensor, clip: bool = False) -> Tensor:
        """The clean image that a network output stands for, clamped to [-1, 1] when ``clip``."""
        return self.predict(x_t, t, output, clip).x0

    def target(self, x0: Tensor, t: int | Tensor, noise: Tensor) -> Tensor:
        """The training target of the network for x_t = perturb(x0, t, noise)."""
        if self.prediction == "v":
            alpha_bar = self.alpha_bar_at(t, x0)
            return self.mix((alpha_bar.sqrt(), noise), (-(1 - alpha_bar).sqrt(), x0))
        return noise if self.prediction == "eps" else x0

    def posterior(
        self,
        x_t: Tensor,
        t: int | Tensor,
        output: Tensor,
        s: int | Tensor | None = None,
        clip: bool = False,
        gradient: Tensor | None = None,
    ) -> Posterior:
        """p(x_s | x_t) of the ancestral sampler, s = t - 1 by default.

        ``gradient``, of log p(y | x_t), moves the mean by variance times gradient (ADM, algorithm 1).
        """
        s = t - 1 if s is None else s
        log_variance = self.log_variance(x_t, t, s, output)
        prediction = self.predict(x_t, t, output, clip)
        mean = self.posterior_mean(prediction.x0, x_t, t, s)
        if gradient is not None:
            mean = self.mix((torch.ones_like(log_variance), mean), (log_variance.exp(), gradient))
        return Posterior(mean, log_variance, prediction)

    def posterior_mean(self, x0: Tensor, x_t: Tensor, t: int | Tensor, s: int | Tensor) -> Tensor:
        """Mean of q(x_s | x_t, x0), s < t (DDPM, eq. 7)."""
        ab_t, ab_s = self.alpha_bar_at(t, x_t), self.alpha_bar_at(s, x_t)
        alpha = ab_t / ab_s
        return self.mix(
            (ab_s.sqrt() * (1 - alpha) / (1 - ab_t), x0), (alpha.sqrt() * (1 - ab_s) / (1 - ab_t), x_t)
        )

    def posterior_log_variance(self, x: Tensor, t: int | Tensor, s: int | Tensor) -> Tensor:
        """log variance of q(x_s | x_t, x0); at s = CLEAN, where it is 0, that from index 1 to 0 instead."""
        variance = self._posterior_variance(self.alpha_bar_at(t, x), self.alpha_bar_at(s, x))
        return self._floored(variance, s, x).log()

    def log_variance(
        self, x_t: Tensor, t: int | Tensor, s: int | Tensor, output: Tensor | None = None
    ) -> Tensor:
        """log variance of p(x_s | x_t) as ``variance`` says, in the dtype of x_t."""
        if self.variance == "fixed_small":
            return self.posterior_log_variance(x_t, t, s).to(x_t)
        beta = 1 - self.alpha_bar_at(t, x_t) / self.alpha_bar_at(s, x_t)
        if self.variance == "fixed_large":
            return self._floored(beta, s, x_t).log().to(x_t)
        learned = None if output is None else self.split(x_t, output)[1]
        if learned is None:
            raise ValueError(f"variance is {self.variance}: the output needs twice the channels of x_t")
        if self.variance == "learned":
            return learned
        share = (learned + 1) / 2
        return share * beta.log().to(x_t) + (1 - share) * self.posterior_log_variance(x_t, t, s).to(x_t)

    def sample(self, posterior: Posterior, noise: Tensor) -> Tensor:
        """A draw from p(x_s | x_t); ``noise`` is white noise in pixels."""
        std = (0.5 * posterior.log_variance).exp()
        return self.mix((torch.ones_like(std), posterior.mean), (std, noise))

    def ode_step(
        self,
        x_t: Tensor,
        t: int | Tensor,
        s: int | Tensor,
        output: Tensor,
        *,
        clip: bool = False,
        gradient: Tensor | None = None,
        eta: float = 0.0,
        noise: Tensor | None = None,
    ) -> Tensor:
        """x_s by DDIM (eq. 12) from x_t, in either direction; see `predict` for clip and gradient."""
        return self.move(self.predict(x_t, t, output, clip, gradient), t, s, eta, noise)

    def move(
        self,
        p: Prediction,
        t: int | Tensor,
        s: int | Tensor,
        eta: float = 0.0,
        noise: Tensor | None = None,
    ) -> Tensor:
        """x_s = sqrt(ab_s) x0 + sqrt(1 - ab_s - sigma^2) eps + sigma noise, sigma = eta posterior's std."""
        # In the dtype of x, as published: in float32 sqrt(1 - alpha_bar) is then off by up to 1e-3 of
        # itself next to the data, which the recorded cycles of 4000 steps show.
        dtype = torch.promote_types(p.x0.dtype, torch.float32)
        ab_t, ab_s = (self.alpha_bar_at(i, p.x0).to(dtype) for i in (t, s))
        if not eta:
            return self.mix((ab_s.sqrt(), p.x0), ((1 - ab_s).sqrt(), p.eps))
        if noise is None:
            raise ValueError(f"eta is {eta}: the step needs noise")
        variance = eta**2 * self._posterior_variance(ab_t, ab_s)
        remaining = (1 - ab_s - variance).clamp(min=0)
        return self.mix((ab_s.sqrt(), p.x0), (remaining.sqrt(), p.eps), (variance.sqrt(), noise))

    def mix(self, *terms: tuple[Tensor, Tensor]) -> Tensor:
        """Sum of weight times image, weights taken in the basis and cast to the dtype of the first image."""
        like = terms[0][1]
        if self.basis == "pixel":
            return reduce(add, (_beside(weight, like) * image.to(like) for weight, image in terms))
        spectra = (_beside(w, like) * torch.fft.fft2(image.to(like), norm="ortho") for w, image in terms)
        return torch.fft.ifft2(reduce(add, spectra), norm="ortho").real

    def split(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """The prediction, and what the output says of the variance when it has twice the channels of x."""
        if output.shape[1] == 2 * x.shape[1]:
            prediction, learned = output.to(x).chunk(2, dim=1)
            return prediction, learned
        return output.to(x), None

    @staticmethod
    def _posterior_variance(ab_t: Tensor, ab_s: Tensor) -> Tensor:
        return (1 - ab_t / ab_s) * (1 - ab_s) / (1 - ab_t)

    def _floored(self, variance: Tensor, s: int | Tensor, x: Tensor) -> Tensor:
        clean = self.alpha_bar_at(s, x) == 1
        return torch.where(clean, self._floor, variance)


def _beside(weight: Tensor, x: Tensor) -> Tensor:
    """The weight in the dtype of x; a single number stays on the CPU, where it multiplies any tensor."""
    return weight.to(x.dtype) if weight.dim() == 0 else weight.to(x)
