"""The exponential moving average of a network's weights, which is the result of a training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class EMA:
    """Averaged weights.

    Args:
        network: network with whose current weights the average begins.
        decay: share of the average that a step keeps, in [0, 1).

    Attributes:
        weights: averaged weights by name.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.weights = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average with the weights after ``step`` steps."""
        # the decay is warmed up over the first steps, as in the published training
        decay = min(self._decay, (1 + step) / (10 + step))
        pairs = [(self.weights[k], v) for k, v in network.state_dict().items() if v.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - decay)

    def load(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        self.weights = {k: v.to(device) for k, v in weights.items()}
