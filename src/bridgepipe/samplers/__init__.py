"""Sampling loops: pure functions of a denoiser, images, steps and noise."""

from bridgepipe.samplers.bridge_loops import Path, bridge, bridge_steps, implicit_bridge

__all__ = ["Path", "bridge", "bridge_steps", "implicit_bridge"]
