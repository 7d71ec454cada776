"""The boundary search: an SVM over inner products against one over the latents."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.measure import Result, compare
from bridgepipe.methods.boundary import fit

COUNT, WIDTH = 600, 3 * 64 * 64


def _latents() -> tuple[torch.Tensor, np.ndarray]:
    """Unit Gaussian latents of two classes, a little apart."""
    labels = np.arange(COUNT) % 2
    generator = torch.Generator().manual_seed(0)
    axis = torch.randn(WIDTH, generator=generator) / WIDTH**0.5
    z = torch.randn(COUNT, WIDTH, generator=generator)
    return z + torch.from_numpy(2.0 * labels - 1).float()[:, None] * axis, labels


def gram_against_svc() -> Result:
    z, labels = _latents()
    what = f"boundary of {COUNT} latents of 3x64x64"
    return compare(
        what,
        lambda: fit(z, labels),
        "scikit-learn's SVC of the latents",
        lambda: fit(z, labels, solver="svc"),
        repeat=3,
    )
