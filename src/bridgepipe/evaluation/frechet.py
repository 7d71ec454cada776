"""The Fréchet distance of two Gaussians, and what a covariance is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.evaluation.moments import Array, float64

ROUNDING = 1e-4  # of the norm of a covariance: what its file may have lost in symmetry and eigenvalues


def frechet_distance(mu1: Array, sigma1: Array, mu2: Array, sigma2: Array) -> float:
    """Squared Fréchet distance of two Gaussians, in float64.

    ``|mu1 - mu2|^2 + tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^(1/2))``. With
    ``sigma_i = L_i L_i^T`` the last trace is the sum of the singular values of
    ``L_1^T L_2``: real and finite for singular covariances as well, where a
    matrix square root of the product needs an offset or turns complex.

    Args:
        mu1, mu2: means ``[d]``.
        sigma1, sigma2: symmetric positive semi-definite covariances ``[d, d]``.

    Raises:
        ValueError: shapes differ, a value is not finite, or an eigenvalue is negative.
    """
    m1, s1, m2, s2 = (float64(v) for v in (mu1, sigma1, mu2, sigma2))
    d = len(m1)
    if m1.shape != m2.shape or s1.shape != (d, d) or s2.shape != (d, d):
        raise ValueError(f"shapes differ: {m1.shape}, {s1.shape} and {m2.shape}, {s2.shape}")
    if not all(v.isfinite().all() for v in (m1, s1, m2, s2)):
        raise ValueError("a mean or covariance is not finite")
    root_trace = torch.linalg.svdvals(_factor(s1).T @ _factor(s2)).sum()
    distance = (m1 - m2).square().sum() + s1.trace() + s2.trace() - 2 * root_trace
    return max(0.0, distance.item())  # rounding may leave -1e-13 between equal Gaussians


def _factor(sigma: Tensor) -> Tensor:
    """L ``[d, rank]`` with ``L L^T = sigma``: Cholesky's, with pivots, which a singular sigma has too.

    A rounded sigma may have small negative eigenvalues, among which the pivots lose their way; then L is of
    the nearest one without.
    """
    from scipy.linalg.lapack import dpstrf

    lower, pivots, rank, _ = dpstrf(sigma.numpy(), lower=1)
    factor = np.empty((len(sigma), rank))
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    rest = pivots[rank:] - 1  # L L^T differs from sigma in their rows and columns alone
    left = sigma.numpy()[np.ix_(rest, rest)] - factor[rest] @ factor[rest].T
    if np.linalg.norm(left) <= 1e-10 * sigma.norm():
        return torch.from_numpy(factor)
    if why := _no_covariance(sigma):
        raise ValueError(f"no covariance: {why}")
    values, vectors = spectrum(sigma)
    return vectors * values.sqrt()


def spectrum(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, 0 where they are zero but for rounding, and eigenvectors."""
    values, vectors = torch.linalg.eigh(sigma)
    # Those that are zero but for rounding come out as +-1e-16, whose roots would not be small.
    rounding = values.abs().max() * len(values) * torch.finfo(torch.float64).eps
    return values.where(values > rounding, 0.0), vectors


def refuse_no_covariance(sigma: Tensor, path: str | Path) -> None:
    """Raises UserError when a file's covariance ``[d, d]`` is asymmetric or has a negative eigenvalue."""
    if why := _no_covariance(sigma):
        raise UserError(f"sigma is no covariance: {why}", path, "make the statistics again")


def _no_covariance(sigma: Tensor) -> str | None:
    """Why a matrix is no covariance, beyond rounding to float32 or float16; None where it is one."""
    slack = ROUNDING * sigma.norm() + torch.finfo(sigma.dtype).tiny  # sigma may be zero
    if (sigma - sigma.T).norm() > slack:
        return "it is not symmetric"
    # Cholesky's factor exists where no eigenvalue is below -slack, and costs a third of the eigenvalues.
    moved = sigma + slack * torch.eye(len(sigma), dtype=sigma.dtype)
    return "it has a negative eigenvalue" if torch.linalg.cholesky_ex(moved).info else None
