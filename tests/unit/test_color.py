"""Colour transfer of clouds whose optimal map is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_ddib_points import Exact

from benchmarks.closed_form import Mixture
from bridgepipe.config.gaussian import Process
from bridgepipe.config.points import SolverSettings
from bridgepipe.config.runtime import Runtime
from bridgepipe.evaluation import transport
from bridgepipe.methods import color
from bridgepipe.methods.gaussian import Diffusion, Model

DIFFUSION = Diffusion((3,), Process(T=1000))
Made = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]


def cloud(x: float, std: float) -> tuple[Model, np.ndarray]:
    mixture = Mixture(torch.tensor([[x, 0.1, -x]], dtype=torch.float64), std)
    model = Model(Exact(mixture, DIFFUSION), DIFFUSION, "digest", runtime=Runtime(device="cpu"))
    return model, mixture.sample(400, seed=int(100 * std)).float().numpy()


@pytest.fixture
def made() -> Made:
    (source, a), (target, b) = cloud(0.5, 0.3), cloud(-0.4, 0.6)
    return a, b, color.transfer(source, target, a, b, SolverSettings(), n=400, sinkhorn=0.05, seed=0)


def test_ddib_of_normal_clouds_is_their_optimal_map(made: Made) -> None:
    a, _, found = made
    exact = (a - [0.5, 0.1, -0.5]) * 2 + [-0.4, 0.1, 0.4]
    assert np.abs(found[color.DDIB] - exact).max() < 0.05
    assert all(p.dtype == np.float32 and p.shape == a.shape for p in found.values())
    assert transport.mean_squared_error(found[color.DDIB], found[color.EXACT]) < 0.1


def test_measures_tell_palettes_and_costs(made: Made) -> None:
    a, b, found = made
    images = {m: np.clip(127.5 + 60 * p, 0, 255).astype(np.uint8) for m, p in found.items()}
    values = color.measures(found, images, a, b, seed=0)
    assert values["sliced_w2_ddib"] < 0.1 < values["sliced_w2_untouched"]
    assert values["cost"] >= values["cost_optimal"]
    assert values["cost"] < 1.02 * values["cost_optimal"]
    assert values["mse_ot"] == color.image_error(images[color.DDIB], images[color.EXACT])


def test_image_error_is_of_images_between_minus_one_and_one() -> None:
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert color.image_error(black, white) == 4
