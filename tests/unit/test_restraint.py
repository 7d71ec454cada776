"""What restoration leaves alone: the mean colour of a picture, and what is nearly clean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridgepipe.methods.restraint import WEIGHT, keep_mean, restrain


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


def test_small_changes_shrink_and_the_smallest_most() -> None:
    found = changes(0.6, 2.0, 5.0, 8, 20)
    restrain(found)
    assert rms(found) == pytest.approx([WEIGHT * 0.6, WEIGHT * 2, (1 + WEIGHT) / 2 * 5, 8, 20], rel=0.002)


def test_a_clean_picture_stays_within_45_dB() -> None:
    """One that the network would change by 2.2 levels; clean photographs it would by 0.4 to 1.5."""
    found = changes(2.2)
    restrain(found)
    assert 20 * np.log10(255 / rms(found)[0]) > 45
