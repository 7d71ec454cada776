"""Large pictures in tiles: what comes out is what the whole picture would have given."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from convolutions import Convolutions

from bridgepipe.config.i2sb import Restoration, Sample
from bridgepipe.config.runtime import Runtime
from bridgepipe.methods import i2sb, tiles
from bridgepipe.methods.i2sb import Problem, Restorer
from bridgepipe.networks.residual import ResidualUNet
from bridgepipe.runtime.rng import FieldNoise

SIZE = (190, 275)
NETWORK = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2), "num_heads": 1}


def photo(*size: int, dtype: Any = np.uint8) -> np.ndarray:
    """A gradient with noise on it."""
    rng, most = np.random.default_rng(4), np.iinfo(dtype).max
    across = np.linspace(0.1, 0.9, size[1])[None, :, None] + np.zeros((*size, 3))
    return ((across + rng.normal(0, 0.05, across.shape)).clip(0, 1) * most).astype(dtype)


def restorer(network: Any = None, **problem: Any) -> Restorer:
    made = Problem((64, 64), Restoration(corruption="jpeg-5", variant="exact", **problem))
    return Restorer(network or Convolutions(), made, "digest", runtime=Runtime(device="cpu"))


@pytest.mark.parametrize("width", [1, 15, 33, 64, 97, 300])
@pytest.mark.parametrize(("sixteenths", "margin", "blend"), [(2, 0, 32), (3, 17, 16), (6, 40, 0)])
def test_tiles_that_change_nothing_give_the_picture_back(
    width: int, sixteenths: int, margin: int, blend: int
) -> None:
    tiling = tiles.Tiling(16 * sixteenths, margin + blend // 2, blend)
    picture = torch.rand(1, 2, 77, width)
    seen = []

    def run(window: tiles.Window) -> torch.Tensor:
        seen.append(window)
        return picture[..., window.top : window.bottom, window.left : window.right].clone()

    strips = list(tiles.blended(run, (77, width), tiling))
    assert torch.allclose(torch.cat([strip for _, strip in strips], dim=-2), picture, atol=1e-6)
    ends = [first + strip.shape[-2] for first, strip in strips]
    assert [first for first, _ in strips] == [0, *ends[:-1]]
    assert all(window.top % 16 == window.left % 16 == 0 for window in seen)


def test_weights_of_neighbours_are_one() -> None:
    cuts = tiles.Tiling(48, 16, 32).cuts(131)
    total = np.zeros(131)
    for start, stop in pairwise(cuts):
        total[max(start - 16, 0) : min(stop + 16, 131)] += tiles.weights(start, stop, 131, 16).numpy()
    assert np.allclose(total, 1)


def test_the_reach_of_a_network_is_measured() -> None:
    assert tiles.reach(Convolutions(blocks=3).eval(), 3, 2) == 2 * (2 * 3 + 2) + 1
    silent = Convolutions(blocks=1)
    torch.nn.init.zeros_(silent.tail.weight)  # as at the start of a training
    assert tiles.reach(silent.eval(), 3, 2) == 2 * (2 + 2) + 1
    assert tiles.reach(_Pointwise(), 3, 1) == 0
    residual = ResidualUNet(3, 3, 8, (1, 1, 1), 1).eval()
    reach = 2 * (2 + 2 * (2 * 1 + 2 * 2 + 2 * 4) + 4)  # 3x3 convolutions of three levels, on squares of 2x2
    assert tiles.reach(residual, 3, residual.factor) in range(reach, reach + 8)
    attending = i2sb.network((64, 64), False, seed=0, attention_resolutions=(2,), **NETWORK)
    assert tiles.reach(attending.eval(), 3, attending.factor) is None
    normalised = i2sb.network((64, 64), False, seed=0, attention_resolutions=(), **NETWORK)
    assert tiles.reach(normalised.eval(), 3, normalised.factor) is None


class _Pointwise(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.mix(x)


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"nfe": 1}, {}),
        ({"nfe": 3}, {}),
        ({"nfe": 3, "sampler": "implicit", "eta": 0.0}, {"add_x1_noise": True}),
        ({"nfe": 2}, {"ot_ode": True}),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_in_tiles_is_that_without(how: dict[str, Any], problem: Any, dtype: Any) -> None:
    """The noise of a sampler belongs to the place in the picture."""
    pixels, network = photo(*SIZE, dtype=dtype)[None], restorer(**problem)
    whole = network.restore_photos(pixels, Sample(**how), tile=512)
    tiled = network.restore_photos(pixels, Sample(**how), tile=64)
    level = np.iinfo(dtype).max // 255
    difference = np.abs(whole.astype(int) - tiled)
    assert whole.dtype == dtype
    assert (difference <= level).mean() >= 0.999
    assert np.abs(whole.astype(int) - pixels).mean() > level  # it did something


def test_the_work_that_is_told_adds_up_and_strength_blends() -> None:
    pixels, network, told = photo(*SIZE)[None], restorer(), []
    full = network.restore_photos(pixels, Sample(nfe=2), tile=128, report=told.append)
    assert len(told) == 2 * 6
    assert sum(told) == pytest.approx(1)
    none = network.restore_photos(pixels, Sample(nfe=2), strength=0.0)
    assert np.array_equal(none, pixels)
    half = network.restore_photos(pixels, Sample(nfe=2), strength=0.5)
    inside = (full > 0) & (full < 255)  # the others would have gone on
    assert inside.mean() > 0.5
    assert np.abs(half - (full.astype(float) + pixels) / 2)[inside].max() <= 1.5


def test_noise_belongs_to_the_place() -> None:
    def drawn(top: int, left: int, height: int, width: int, item: int = 5) -> torch.Tensor:
        noise = FieldNoise(1, "sampling", [7, item], top=top, left=left)
        first = noise.normal((3, height, width))
        return torch.stack([first, noise.normal((3, height, width))])

    whole = drawn(0, 0, 150, 140)
    assert torch.equal(drawn(48, 80, 90, 33), whole[..., 48:138, 80:113])
    assert abs(whole.mean()) < 0.01
    assert abs(whole.std() - 1) < 0.01
    flat = whole.flatten(2).transpose(0, 1).flatten(0, 1)  # items and draws
    apart = torch.corrcoef(flat) - torch.eye(len(flat))
    assert apart.abs().max() < 0.03
    assert torch.equal(drawn(0, 0, 9, 9, item=6)[:, 0], whole[:, 0, :, :9, :9])
    assert not torch.equal(drawn(0, 0, 9, 9, item=6)[:, 1], whole[:, 1, :, :9, :9])
