"""Mean and covariance of features, summed exactly over batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Array = Tensor | np.ndarray


class Moments:
    """Running mean and scatter of feature vectors, float64.

    Chan, Golub and LeVeque's pairwise update: as accurate as two passes over
    the data, and two objects that saw different vectors can be merged.

    Args:
        dim: length d of a vector.
    """

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.mu = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)
        # kept: to ask for this memory at every batch takes longer than to fill it
        self._product = torch.empty_like(self._scatter)

    @property
    def sigma(self) -> Tensor:
        """Unbiased covariance ``[d, d]`` (divisor n - 1); needs two vectors."""
        return self._scatter / (self.n - 1)

    def update(self, features: Array) -> None:
        """Take in ``[B, d]`` vectors of any float dtype."""
        x = float64(features)
        mu = x.mean(dim=0)
        centred = x - mu
        self._merge(len(x), mu, torch.mm(centred.T, centred, out=self._product))

    def merge(self, other: Moments) -> None:
        """Take in everything that ``other`` has seen."""
        if other.n:
            self._merge(other.n, other.mu, other._scatter)

    def _merge(self, count: int, mu: Tensor, scatter: Tensor) -> None:
        n = self.n + count
        delta = mu - self.mu
        self._scatter += scatter
        self._scatter += torch.outer(delta, delta, out=self._product).mul_(self.n * count / n)
        self.mu = self.mu + delta * (count / n)
        self.n = n


def float64(values: Array | Sequence[float]) -> Tensor:
    """The values as float64 on the CPU."""
    return torch.as_tensor(values, dtype=torch.float64, device="cpu")
