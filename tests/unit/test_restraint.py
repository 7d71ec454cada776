"""What restoration leaves alone: the mean colour of a picture, and what is nearly clean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridgepipe.methods.restraint import CLEAN, CLEAN_CHANGE, WEIGHT, keep_mean, restrain


def changes(*levels: float, size: int = 300) -> torch.Tensor:
    """One picture for each root mean square, in grey levels, far from zero on average."""
    noise = torch.from_numpy(np.random.default_rng(0).normal(0.3, 1, (len(levels), 3, size, size)))
    found = noise / noise.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return (found * torch.tensor(levels).view(-1, 1, 1, 1) / 127.5).half()


def rms(found: torch.Tensor) -> list[float]:
    return (found.double().square().mean(dim=(1, 2, 3)).sqrt() * 127.5).tolist()


def test_channels_keep_their_mean() -> None:
    found = changes(4, 40)
    before = found.clone()
    keep_mean(found)
    assert (before.double().mean((-2, -1)) * 127.5).abs().min() > 1
    assert (found.double().mean((-2, -1)) * 127.5).abs().max() < 0.01
    spread = (found - before).double().std(dim=(-2, -1)) * 127.5
    assert spread.max() < 0.02  # nothing else has changed but the last bits


def test_small_changes_shrink_and_those_of_what_is_nearly_clean_shrink_most() -> None:
    found = changes(0.6, 1.5, 1.8, 2.0, 4, 6.5, 8, 20)
    restrain(found)
    kept = [WEIGHT * 0.6, WEIGHT * 1.5, CLEAN_CHANGE, CLEAN_CHANGE, WEIGHT * 4, (1 + WEIGHT) / 2 * 6.5, 8, 20]
    assert rms(found) == pytest.approx(kept, rel=0.002)
    assert 20 * np.log10(255 / CLEAN_CHANGE) > 45.8 > 43.1 > 20 * np.log10(255 / CLEAN)
