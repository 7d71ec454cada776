"""Data whose optimal denoiser is known: mixtures of isotropic normal distributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bridgepipe.processes.gaussian import Gaussian


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


def log_snr_process(intervals: int, first: float = 4.6, last: float = -4.6) -> Gaussian:
    """A process whose indices are uniform in log(a/s), so that equal strides are too."""
    return Gaussian(torch.sigmoid(2 * torch.linspace(first, last, intervals + 1, dtype=torch.float64)))
