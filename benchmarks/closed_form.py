"""Data whose optimal denoiser is known: mixtures of normal distributions, and Gaussian pairs for the bridge.

The tests of the samplers and the tables of `benchmarks.accuracy` share them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bridgepipe.processes.bridge import Bridge
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers import bridge, implicit_bridge

F64 = torch.float64


@dataclass(frozen=True)
class Mixture:
    """Equal shares of N(mean, std^2) over ``means`` [K, D]; float64."""

    means: Tensor
    std: float

    def sample(self, count: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(len(self.means), (count,), generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[chosen] + self.std * noise

    def denoiser(self, process: Gaussian):
        """(x, t) -> E[eps | x_t = x], in the dtype of x."""
        table = torch.from_numpy(process.alpha_bar)

        def eps(x: Tensor, t: Tensor) -> Tensor:
            alpha_bar = table[t].to(x)[:, None]
            variance = alpha_bar * self.std**2 + 1 - alpha_bar
            offsets = x[:, None] - alpha_bar.sqrt()[:, None] * self.means.to(x)
            shares = (-offsets.square().sum(-1) / (2 * variance)).softmax(-1)
            return (1 - alpha_bar).sqrt() / variance * (shares[..., None] * offsets).sum(1)

        return eps


ONE = Mixture(torch.tensor([[0.3, -0.2]], dtype=torch.float64), 0.5)
A = Mixture(torch.tensor([[-0.6, -0.5], [0.7, 0.2], [-0.1, 0.8]], dtype=torch.float64), 0.25)
B = Mixture(torch.tensor([[0.5, 0.5], [-0.5, 0.4], [0.0, -0.7]], dtype=torch.float64), 0.3)

# means further from the origin, where few long steps of high order err most
WIDE = Mixture(torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.4, -2.4]], dtype=torch.float64), 0.3)
NOISE = Mixture(torch.zeros(1, 2, dtype=torch.float64), 1.0)


def log_snr_process(intervals: int, first: float = 4.6, last: float = -4.6) -> Gaussian:
    """A process whose indices are uniform in log(a/s), so that equal strides are too."""
    return Gaussian(torch.sigmoid(2 * torch.linspace(first, last, intervals + 1, dtype=torch.float64)))


@dataclass(frozen=True)
class Pairs:
    """Independent modes x0 ~ N(0, c), x1 = a x0 + N(0, w): a blur of an image, say."""

    c: Tensor
    a: Tensor
    w: Tensor

    @property
    def var_x1(self) -> Tensor:
        return self.a**2 * self.c + self.w

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Gain and variance of x0 given x1."""
        return self.a * self.c / self.var_x1, self.c * self.w / self.var_x1

    def denoiser(self, process: Bridge, sees_x1: bool) -> Callable[[Tensor, Tensor], Tensor]:
        """The network that predicts E[x0 | x_n], or E[x0 | x_n, x1] beside x1, without error."""

        def output(x: Tensor, t: Tensor) -> Tensor:
            n = int(torch.searchsorted(process.noise_levels, t[0]))
            x0 = self.given_both(process, n, *x.chunk(2, 1)) if sees_x1 else self.given_x_n(process, n) * x
            x_n = x.chunk(2, 1)[0] if sees_x1 else x
            return process.target(x0, x_n, n)

        return output

    def given_x_n(self, process: Bridge, n: int) -> Tensor:
        tau, v = marginal(process, n)
        h = 1 - tau + tau * self.a
        return h * self.c / (h**2 * self.c + tau**2 * self.w + v)

    def given_both(self, process: Bridge, n: int, x_n: Tensor, x1: Tensor) -> Tensor:
        tau, v = marginal(process, n)
        gain, variance = self.posterior()
        k = (1 - tau) * variance / ((1 - tau) ** 2 * variance + v) if tau < 1 else 0.0
        return gain * x1 + k * (x_n - tau * x1 - (1 - tau) * gain * x1)


def marginal(process: Bridge, n: int) -> tuple[float, float]:
    """mu_x1 and variance of x_n in the chain that starts at x1."""
    tau = float(process.var_fwd[n] / process.var_fwd[-1])
    return tau, 0.0 if process.ot_ode else float(process.var_fwd[-1]) * tau * (1 - tau)


def blurred_images(modes: int = 48) -> Pairs:
    """Power-law spectrum, Gaussian blur, a little noise."""
    k = torch.arange(1, modes + 1, dtype=F64)
    return Pairs(c=2 / k**1.5, a=torch.exp(-((k / 16) ** 2) / 2), w=torch.full_like(k, 1e-4))


def law(
    pairs: Pairs, process: Bridge, steps: Sequence[int], sees_x1: bool, **knobs: Any
) -> tuple[Tensor, Tensor]:
    """Gain on x1 and variance of the result, exact: the sampler is linear, so unit inputs reveal it."""
    sampler = bridge if knobs.pop("ancestral", False) else implicit_bridge
    modes, draws = len(pairs.c), len(steps) - 1
    x1 = torch.zeros(1 + draws, modes, dtype=F64)
    x1[0] = 1
    noise = [torch.zeros_like(x1).index_fill(0, torch.tensor([1 + i]), 1.0) for i in range(draws)]
    cond = x1 if sees_x1 else None
    denoiser = pairs.denoiser(process, sees_x1)
    x0 = sampler(denoiser, x1, steps, noise, process=process, cond=cond, log_count=1, **knobs).x0
    return x0[0], x0[1:].square().sum(0)


def distance_to_images(pairs: Pairs, gain: Tensor, variance: Tensor) -> float:
    """Squared Wasserstein distance between the results and the clean images: the ideal FID."""
    return float(((gain**2 * pairs.var_x1 + variance).sqrt() - pairs.c.sqrt()).square().sum())


def distance_to_posterior(pairs: Pairs, gain: Tensor, variance: Tensor) -> float:
    """Mean squared Wasserstein distance between the results and x0, given x1."""
    best, spread = pairs.posterior()
    return float(((gain - best) ** 2 * pairs.var_x1 + (variance.sqrt() - spread.sqrt()) ** 2).sum())
