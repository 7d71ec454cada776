"""Pictures without their colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bridgepipe.corruptions.draws import Draws
from bridgepipe.corruptions.linear import Linear
from bridgepipe.runtime.rng import Noise

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: Rec. 601


@dataclass(frozen=True)
class Grey:
    """Every channel becomes the luminance; the mean where there are not three channels."""

    def draw(self, shape: Sequence[int], rng: Noise | None) -> Draws:
        return ()

    def apply(self, x: Tensor) -> Tensor:
        weights = _weights(x)
        return (x * weights).sum(dim=1, keepdim=True).expand_as(x).contiguous()

    def linear(self, shape: Sequence[int]) -> Linear | None:
        def pseudo_inverse(y: Tensor) -> Tensor:
            weights = _weights(y)
            return y.mean(dim=1, keepdim=True) * weights / weights.square().sum()

        return Linear(self.apply, pseudo_inverse)


def _weights(x: Tensor) -> Tensor:
    channels = x.shape[1]
    shares = LUMA if channels == 3 else (1 / channels,) * channels
    return torch.tensor(shares, device=x.device)[:, None, None]
