"""The Fréchet distance of features of Inception."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import sqrtm

from benchmarks.measure import Result, compare
from bridgepipe.evaluation.fid import frechet_distance

WIDTH, COUNT = 2048, 4000


def frechet_against_square_root() -> Result:
    generator = torch.Generator().manual_seed(0)
    spectra = (torch.logspace(0, -end, WIDTH, dtype=torch.float64) for end in (2.0, 1.9))
    draws = (torch.randn(COUNT, WIDTH, generator=generator, dtype=torch.float64) * s for s in spectra)
    (m1, s1), (m2, s2) = ((x.mean(0).numpy(), torch.cov(x.T).numpy()) for x in draws)

    def by_root() -> float:
        root = sqrtm(s1 @ s2).real
        return float(np.square(m1 - m2).sum() + np.trace(s1) + np.trace(s2) - 2 * np.trace(root))

    what = f"Fréchet distance of {WIDTH} features"
    baseline = "the root of the product, as published evaluators take it"
    return compare(what, lambda: frechet_distance(m1, s1, m2, s2), baseline, by_root, repeat=3)
