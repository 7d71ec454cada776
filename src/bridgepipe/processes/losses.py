"""Training losses of a Gaussian process, one value per item ``[B]`` in float32.

The variational bound and the mean squared error of the published systems; `Uniform`, `Quadratic` and
`LossAware` decide at which times they are evaluated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.processes.gaussian import CLEAN, Gaussian
from bridgepipe.runtime.rng import Noise

Kind = Literal["mse", "rescaled_mse", "kl", "rescaled_kl"]
BIN = 1 / 255  # half the width of a grey level in [-1, 1]


@dataclass(frozen=True)
class Loss:
    """``loss`` is what is trained on; ``mse`` and ``vb`` are its parts, None where it has no such part.

    ``vb`` is one term of the variational bound in bits per dimension, scaled as it enters the loss.
    """

    loss: Tensor
    mse: Tensor | None = None
    vb: Tensor | None = None


def gaussian(
    process: Gaussian, x0: Tensor, t: Tensor, noise: Tensor, output: Tensor, kind: Kind = "mse"
) -> Loss:
    """Loss of the network's output for x_t = perturb(x0, t, noise).

    Args:
        x0: clean images ``[B, C, ...]``.
        t: indices of the process, int64 ``[B]``.
        noise: the white noise behind x_t.
        output: the network's, ``[B, C, ...]``, or ``[B, 2C, ...]`` with a learned variance.
        kind: ``mse`` of the target, to which a learned variance adds the bound with its mean detached
            (improved DDPM's hybrid loss); ``rescaled_mse`` weighs that bound by T/1000. ``kl`` is the
            bound alone, ``rescaled_kl`` T times it.

    Raises:
        UserError: the kind is unknown, or a bound is asked for per frequency.
    """
    if kind not in get_args(Kind):
        raise UserError(f"unknown loss {kind!r}", "training", f"take one of {', '.join(get_args(Kind))}")
    x_t = process.perturb(x0, t, noise)
    if kind in ("kl", "rescaled_kl"):
        scale = float(process.T) if kind == "rescaled_kl" else 1.0
        vb = variational_bound(process, x0, x_t, t, output) * scale
        return Loss(vb, vb=vb)
    prediction, learned = process.split(x_t, output)
    mse = _mean(process.target(x0, t, noise).float().sub(prediction.float()).square())
    if not process.variance.startswith("learned"):
        return Loss(mse, mse)
    if learned is None:
        raise ValueError(f"variance is {process.variance}: the output needs twice the channels of x_t")
    scale = process.T / 1000 if kind == "rescaled_mse" else 1.0
    frozen = torch.cat([prediction.detach(), learned], dim=1)
    vb = variational_bound(process, x0, x_t, t, frozen) * scale
    return Loss(mse + vb, mse, vb)


def variational_bound(process: Gaussian, x0: Tensor, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
    """L_{t-1} of the bound in bits per dimension; at t = 0 the likelihood of 8-bit data (DDPM, eqs. 5, 13).

    Raises:
        UserError: the process is not diagonal in pixels, in which the data are discrete.
    """
    if process.basis != "pixel":
        raise UserError("the bound is defined in pixels", "training", "take mse in the Fourier basis")
    posterior = process.posterior(x_t, t, output)
    true_mean = process.posterior_mean(x0, x_t, t, t - 1)
    true_log_variance = process.posterior_log_variance(x_t, t, t - 1).to(x_t)
    kl = _mean(normal_kl(true_mean, true_log_variance, posterior.mean, posterior.log_variance))
    nll = _mean(-discretized_log_likelihood(x0, posterior.mean, 0.5 * posterior.log_variance))
    return torch.where(t - 1 == CLEAN, nll, kl) / math.log(2.0)


def normal_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL divergence of N(mean1, variance1) from N(mean2, variance2), elementwise, in nats."""
    ratio = log_variance1 - log_variance2
    return 0.5 * (ratio.exp() - 1 - ratio + (mean1 - mean2).square() * (-log_variance2).exp())


def discretized_log_likelihood(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log probability, in nats, that a normal draw falls into the grey level of x (of 256 in [-1, 1]).

    The levels 0 and 255 reach to infinity. The normal CDF is approximated as published, by
    (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2.
    """
    inv_std = (-log_std).exp()
    above, below = _cdf((x - mean + BIN) * inv_std), _cdf((x - mean - BIN) * inv_std)
    inside = torch.where(x > 0.999, 1 - below, above - below)
    return torch.where(x < -0.999, above, inside).clamp(min=1e-12).log()


def _cdf(z: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(dim=1)


class Uniform:
    """Times drawn uniformly from 0 .. T-1; every weight is 1."""

    def __init__(self, T: int) -> None:
        self.T = T

    def sample(self, rng: Noise) -> tuple[Tensor, Tensor]:
        """Times int64 ``[B]`` and the weights of their losses ``[B]``."""
        t = rng.integers(self.T)
        return t, torch.ones(len(t), device=t.device)


class Quadratic(Uniform):
    """Times T u^2 for uniform u, as DDIM's quadratic steps lie: often where there is little noise.

    Every weight is 1, so that these times also count for more in the loss: fine structure comes out sooner.
    """

    def sample(self, rng: Noise) -> tuple[Tensor, Tensor]:
        """Times int64 ``[B]`` and the weights of their losses ``[B]``."""
        t = rng.uniform().double().square().mul(self.T).long()
        return t, torch.ones(len(t), device=t.device)


class LossAware:
    """Times drawn in proportion to the root mean square of their last losses (improved DDPM, eq. 18).

    Uniform until every time has seen ``history`` losses. Weights 1 / (T p) keep the mean loss unbiased.

    Args:
        T: number of times.
        history: number of recent losses per timestep that count.
        floor: share of draws that stay uniform.
    """

    def __init__(self, T: int, history: int = 10, floor: float = 0.001) -> None:
        self.T, self.floor = T, floor
        self._losses = np.zeros((T, history))
        self._seen = np.zeros(T, dtype=np.int64)

    @property
    def probabilities(self) -> np.ndarray:
        """Of each time, float64 ``[T]``."""
        if (self._seen < self._losses.shape[1]).any():
            return np.full(self.T, 1 / self.T)
        rms = np.sqrt((self._losses**2).mean(axis=1))
        return rms / rms.sum() * (1 - self.floor) + self.floor / self.T

    def sample(self, rng: Noise) -> tuple[Tensor, Tensor]:
        """Times int64 ``[B]`` and the weights of their losses ``[B]``."""
        p = self.probabilities
        draws = rng.uniform()
        t = np.searchsorted(np.cumsum(p)[:-1], draws.double().cpu().numpy(), side="right")
        weights = torch.from_numpy(1 / (self.T * p[t])).float()
        return torch.from_numpy(t).to(draws.device), weights.to(draws.device)

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Record unweighted losses ``[B]`` at times ``[B]``, from every process that trains."""
        for i, value in zip(t.tolist(), loss.detach().double().tolist(), strict=True):
            self._losses[i, self._seen[i] % self._losses.shape[1]] = value
            self._seen[i] += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The state that resuming needs: losses float64 ``[T, history]`` and counts int64 ``[T]``."""
        return {"losses": torch.from_numpy(self._losses.copy()), "seen": torch.from_numpy(self._seen.copy())}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._losses, self._seen = state["losses"].numpy().copy(), state["seen"].numpy().copy()


TIMES: dict[str, type[Uniform] | type[LossAware]] = {
    "uniform": Uniform,
    "quadratic": Quadratic,
    "loss_aware": LossAware,
}
