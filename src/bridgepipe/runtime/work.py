"""What jobs compute with networks: for how many images each is called, and how many features are taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Seconds of a call for one image. I2SB's network of 256 x 256 pixels does 1.4e10 `_operations`, and an H100
# takes 15.9 ms for it in tf32 (docs/gpu.md); GPUs that are four years older take three to four times as long.
# A call of any batch waits for the launch of its kernels, and that of a small network for little else.
ON_H100, PER_OPERATION = 1.1e-12, 4e-12
PER_CALL = 5e-4
POINTS = 4096  # per network call; an image's batch would be too small to keep a core busy
TRAINED = 3  # calls that a training step counts as: a backward pass costs two forward ones
PER_FEATURE = 0.02  # reading an image, and its features by Inception or ResNet-50


@dataclass(frozen=True)
class Net:
    """A network by its settings, and what it is called with.

    Attributes:
        network: settings of its section `network`.
        size: height and width of its images in pixels; None of points.
        inputs, outputs: channels.
    """

    network: Any
    size: tuple[int, int] | None
    inputs: int
    outputs: int

    @property
    def operations(self) -> float:
        """What one call for one image costs, see `PER_OPERATION`."""
        return _operations(self.network, self.size or (1, 1))


@dataclass(frozen=True)
class Work:
    """What a job computes.

    Attributes:
        calls: images that each network is called for, counted again for every call.
        batches: calls, each for a batch of images.
        features: images whose features are taken.
    """

    calls: Mapping[Net, float] = field(default_factory=dict)
    batches: float = 0
    features: float = 0

    def __add__(self, other: Work) -> Work:
        calls = Counter(self.calls)
        calls.update(other.calls)
        return Work(calls, self.batches + other.batches, self.features + other.features)

    def __rmul__(self, times: float) -> Work:
        calls = {net: times * count for net, count in self.calls.items()}
        return Work(calls, times * self.batches, times * self.features)

    @property
    def seconds(self) -> float:
        """Seconds that a cluster's GPU may take."""
        return self._seconds(PER_OPERATION)

    @property
    def on_h100(self) -> float:
        """Seconds of an H100 in tf32."""
        return self._seconds(ON_H100)

    def _seconds(self, per_operation: float) -> float:
        operations = sum(count * net.operations for net, count in self.calls.items())
        return per_operation * operations + PER_CALL * self.batches + PER_FEATURE * self.features


FEATURES = Work(features=1)


def _operations(network: Any, size: tuple[int, int]) -> float:
    """Pixels x channels^2 of every level x blocks, which the convolutions' work is in proportion to."""
    width, factors = (
        (network.ch, network.ch_mult)
        if getattr(network, "kind", "") == "ddpm"
        else (network.model_channels, getattr(network, "channel_mult", (1,)))
    )
    levels = (size[0] * size[1] / 4**level * (width * factor) ** 2 for level, factor in enumerate(factors))
    return network.num_res_blocks * sum(levels)
