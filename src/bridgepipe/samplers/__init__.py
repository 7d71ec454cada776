"""Sampling loops: pure functions of a denoiser, images, steps and noise."""

from bridgepipe.samplers.bridge_loops import Path, bridge, bridge_steps, chain
from bridgepipe.samplers.denoiser import (
    BridgeDenoiser,
    Denoiser,
    classifier_free,
    classifier_gradient,
    rescaled,
)
from bridgepipe.samplers.gaussian_loops import (
    Grid,
    Sample,
    ancestral,
    decode,
    encode,
    grid,
)
from bridgepipe.samplers.implicit_loops import implicit_bridge
from bridgepipe.samplers.solvers import SOLVERS, Pair, State

__all__ = [
    "SOLVERS",
    "BridgeDenoiser",
    "Denoiser",
    "Grid",
    "Pair",
    "Path",
    "Sample",
    "State",
    "ancestral",
    "bridge",
    "bridge_steps",
    "chain",
    "classifier_free",
    "classifier_gradient",
    "decode",
    "encode",
    "grid",
    "implicit_bridge",
    "rescaled",
]
