"""The boundary search: an SVM over inner products against one over the latents."""

from __future__ import annotations

import time

import numpy as np
import sklearn.svm  # noqa: F401  not in the time
import torch

from benchmarks.measure import Result, compare
from bridgepipe.methods.boundary import Boundary, fit
from bridgepipe.methods.boundary_fit import Solver
from bridgepipe.runtime.devices import one_thread

COUNT, WIDTH = 1000, 3 * 256 * 256


def _latents() -> tuple[torch.Tensor, np.ndarray]:
    """Unit Gaussian latents of two classes, a little apart."""
    labels = np.arange(COUNT) % 2
    generator = torch.Generator().manual_seed(0)
    axis = torch.randn(WIDTH, generator=generator) / WIDTH**0.5
    z = torch.randn(COUNT, WIDTH, generator=generator)
    return z + torch.from_numpy(2.0 * labels - 1).float()[:, None] * axis, labels


def gram_against_svc() -> Result:
    """At the published size, where scikit-learn takes a minute: once; the two agree on every latent."""
    z, labels = _latents()
    found: dict[Solver, Boundary] = {}

    def search(solver: Solver) -> None:
        found[solver] = fit(z, labels, solver=solver)

    with one_thread():
        result = compare(
            f"boundary of {COUNT} latents of 3x256x256, processor time",
            lambda: search("gram"),
            "scikit-learn's SVC of the latents",
            lambda: search("svc"),
            repeat=1,
            warm=False,
            clock=time.process_time,
        )
    ours, theirs = found["gram"], found["svc"]
    assert torch.equal(ours.distance(z) > 0, theirs.distance(z) > 0)
    assert float((ours.normal.double() - theirs.normal.double()).norm()) < 1e-4
    return result
