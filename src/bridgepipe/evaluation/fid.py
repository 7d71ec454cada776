"""Fréchet and kernel distance between two sets of feature vectors.

Means and covariances are accumulated batch by batch in float64, so no set of
features is ever held whole; the kernel distance, which needs the vectors
themselves, uses a bounded sample kept beside them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bridgepipe import running
from bridgepipe.artifacts import load_tensors, save_tensors
from bridgepipe.errors import UserError
from bridgepipe.evaluation.features import Extractor, Images, data_digest, describe, outputs
from bridgepipe.rng import generator

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

    @property
    def sigma(self) -> Tensor:
        """Unbiased covariance ``[d, d]`` (divisor n - 1); needs two vectors."""
        return self._scatter / (self.n - 1)

    def update(self, features: Array) -> None:
        """Take in ``[B, d]`` vectors of any float dtype."""
        x = _float64(features)
        batch = Moments(x.shape[1])
        batch.n, batch.mu = len(x), x.mean(dim=0)
        centred = x - batch.mu
        batch._scatter = centred.T @ centred
        self.merge(batch)

    def merge(self, other: Moments) -> None:
        """Take in everything that ``other`` has seen."""
        n = self.n + other.n
        if n == 0:
            return
        delta = other.mu - self.mu
        self._scatter = self._scatter + other._scatter + delta.outer(delta) * (self.n * other.n / n)
        self.mu = self.mu + delta * (other.n / n)
        self.n = n


@dataclass(frozen=True)
class Statistics:
    """What is kept of a set of images to compare it with another.

    Attributes:
        mu: mean of the features, float64 ``[d]``.
        sigma: their unbiased covariance, float64 ``[d, d]``.
        n: number of images.
        sample: features of up to ``keep`` images, float32 ``[k, d]``, for the kernel distance.
        extractor: name, digest and resize rule of what made the features.
        data: digest of the images.
        origin: what the images are (`lineage.origin`); {} where they are no store.
    """

    mu: Tensor
    sigma: Tensor
    n: int
    sample: Tensor
    extractor: dict[str, Any]
    data: str
    origin: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write as safetensors with a card; the same statistics give the same bytes."""
        tensors = {"mu": self.mu, "sigma": self.sigma, "sample": self.sample}
        card = {"kind": "statistics", "n": self.n, "extractor": self.extractor, "data": self.data}
        save_tensors(path, tensors, {**card, "origin": self.origin})

    @classmethod
    def load(cls, path: str | Path, expect: Mapping[str, Any] | None = None) -> Statistics:
        """Read a file of `save`.

        Args:
            path: the file.
            expect: entries that must match, such as ``extractor`` (from `describe`) or ``data``.

        Raises:
            UserError: missing, damaged, no statistics, or made with something else than expected.
        """
        tensors, card = load_tensors(path, {"kind": "statistics", **(expect or {})})
        told = {"n": card["n"], "extractor": card["extractor"], "data": card["data"]}
        known: dict[str, Any] = {**tensors, **told, "origin": card.get("origin", {})}
        return cls(**known)


def statistics(
    extractor: Extractor,
    images: Images,
    batch_size: int = 64,
    keep: int = 10_000,
    label: str = "features",
) -> Statistics:
    """Moments of the features of all images, and the features of some of them.

    Several processes share the batches, and each returns the whole.

    Args:
        extractor: what turns images into vectors.
        images: uint8 HWC arrays, at least 2.
        batch_size: images per call of the extractor.
        keep: size of the sample for the kernel distance; the choice depends on the counts only.
        label: of the work, for messages.

    Raises:
        UserError: fewer than 2 images, or features that are not finite.
    """
    if len(images) < 2:
        raise UserError(
            f"a covariance needs at least 2 images, there are {len(images)}",
            label,
            "sample or prepare more images",
        )
    kept = set(generator(0, "kernel distance sample").permutation(len(images))[:keep].tolist())
    moments, sample = running.broadcast(
        _moments(outputs(extractor.features, images, batch_size, label), kept)
    )
    return Statistics(moments.mu, moments.sigma, moments.n, sample, describe(extractor), data_digest(images))


def _moments(batches: Iterator[Tensor], kept: Container[int]) -> tuple[Moments, Tensor]:
    """Moments of all features, and the rows whose numbers are ``kept``; of none where there is no batch."""
    moments, rows = Moments(0), []
    for features in batches:
        first = moments.n
        moments = moments if first else Moments(features.shape[1])
        moments.update(features)
        rows.append(features[[i for i in range(len(features)) if first + i in kept]])
    return moments, torch.cat(rows) if rows else torch.empty(0)


def fid(a: Statistics, b: Statistics) -> float:
    """Fréchet distance between two sets of images.

    Raises:
        UserError: the features come from different extractors.
    """
    _same_extractor(a, b)
    return frechet_distance(a.mu, a.sigma, b.mu, b.sigma)


def kernel_distance(a: Statistics, b: Statistics, seed: int = 0) -> float:
    """`kid` between the samples of two sets of images.

    Raises:
        UserError: the features come from different extractors.
    """
    _same_extractor(a, b)
    return kid(a.sample, b.sample, seed=seed)


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
        ValueError: shapes differ, or a value is not finite.
    """
    m1, s1, m2, s2 = (_float64(v) for v in (mu1, sigma1, mu2, sigma2))
    d = len(m1)
    if m1.shape != m2.shape or s1.shape != (d, d) or s2.shape != (d, d):
        raise ValueError(f"shapes differ: {m1.shape}, {s1.shape} and {m2.shape}, {s2.shape}")
    if not all(v.isfinite().all() for v in (m1, s1, m2, s2)):
        raise ValueError("a mean or covariance is not finite")
    root_trace = torch.linalg.svdvals(_factor(s1).T @ _factor(s2)).sum()
    distance = (m1 - m2).square().sum() + s1.trace() + s2.trace() - 2 * root_trace
    return max(0.0, distance.item())  # rounding may leave -1e-13 between equal Gaussians


def kid(feats1: Array, feats2: Array, subsets: int = 100, max_subset: int = 1000, seed: int = 0) -> float:
    """Kernel distance: `mmd` averaged over random subsets, as published by clean-fid, with a seed.

    Args:
        feats1, feats2: features ``[n, d]``, at least 2 each.
        subsets: number of pairs of subsets.
        max_subset: their size, at most the smaller n.
        seed: of the choice, >= 0.
    """
    m = min(len(feats1), len(feats2), max_subset)
    x, y = _float64(feats2), _float64(feats1)
    rng = generator(seed, "kid")
    draws = [(rng.permutation(len(x))[:m], rng.permutation(len(y))[:m]) for _ in range(subsets)]
    return sum(mmd(x[i], y[j]) for i, j in draws) / subsets


def mmd(x: Array, y: Array) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel ``(x.y/d + 1)^3``.

    Args:
        x, y: features ``[m, d]``, m >= 2, as many in both.

    Raises:
        UserError: fewer than 2 vectors.
        ValueError: counts differ.
    """
    x, y = _float64(x), _float64(y)
    m = len(x)
    if len(y) != m:
        raise ValueError(f"{m} and {len(y)} vectors")
    if m < 2:
        raise UserError(
            f"a kernel distance needs at least 2 images, there are {m}", "kid", "give more images"
        )
    within = _kernel(x, x) + _kernel(y, y)
    without_diagonal = within.sum() - within.trace()
    return (without_diagonal / (m * (m - 1)) - 2 * _kernel(x, y).mean()).item()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _factor(sigma: Tensor) -> Tensor:
    """L with ``L L^T = sigma``, for a singular sigma too."""
    values, vectors = torch.linalg.eigh(sigma)
    # Eigenvalues that are zero but for rounding come out as +-1e-16, whose roots would not be small.
    rounding = values.abs().max() * len(values) * torch.finfo(torch.float64).eps
    return vectors * values.where(values > rounding, 0.0).sqrt()


def _float64(values: Array | Sequence[float]) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64, device="cpu")


def _same_extractor(a: Statistics, b: Statistics) -> None:
    if a.extractor != b.extractor:
        raise UserError(
            f"features of different extractors: {a.extractor} and {b.extractor}",
            "statistics",
            "compute both with the same extractor and weights",
        )
