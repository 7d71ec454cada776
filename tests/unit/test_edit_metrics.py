"""Measures of edits where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.evaluation import edits
from bridgepipe.evaluation.edits import ByClass, Measured, Some, Strips
from bridgepipe.methods import gaussian
from bridgepipe.methods.boundary_latents import bottleneck, space

DISTANCES = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


class Brightness:
    """Classes dark, grey and bright, and the mean colour as features."""

    name, digest, resize = "brightness", "0", "none"

    def logits(self, images: Any) -> Tensor:
        mean = torch.tensor([float(image.mean()) for image in images])
        return -((mean[:, None] - torch.tensor([0.0, 128.0, 255.0])) ** 2) / 100

    def features(self, images: Any) -> Tensor:
        return torch.tensor(np.array([image.mean(axis=(0, 1)) for image in images]), dtype=torch.float32)


def flat(values: Any) -> np.ndarray:
    """Images of one value each, uint8 ``[..., 8, 8, 3]``."""
    return np.broadcast_to(np.asarray(values, np.uint8)[..., None, None, None], (*np.shape(values), 8, 8, 3))


def brightening(steps: float = 60.0) -> Strips:
    """Four images, dark to bright, that an edit makes brighter by ``steps`` a unit."""
    plain = np.array([20.0, 90.0, 160.0, 230.0])
    images = np.clip(plain[:, None] + steps * DISTANCES, 0, 255)
    return Strips(flat(images), DISTANCES, flat(plain), flat(plain + 5))


BRIGHT = Measured(lambda image: float(image.mean()), cut=128.0)


def test_only_images_of_the_other_side_can_flip() -> None:
    before = np.array([True, True, False])
    after = np.array([[False, True, True], [True, True, True], [False, False, True]])
    rows = edits.flips(before, after, np.array([-1.0, 0.0, 1.0]))
    assert [(row["distance"], row["flipped"], row["n"]) for row in rows] == [
        (-1, 0.5, 2),
        (0, 0, 3),
        (1, 1, 1),
    ]
    assert rows[0]["low"] < 0.5 < rows[0]["high"]
    nobody = edits.flips(np.array([True]), np.array([[True]]), np.array([1.0]))[0]
    assert (nobody["flipped"], nobody["n"]) == (None, 0)


def test_best_distance_pools_both_directions_and_is_the_smallest_of_equals() -> None:
    def row(distance: float, flipped: float | None, n: int) -> dict[str, Any]:
        return {"distance": distance, "flipped": flipped, "n": n}

    rows = [row(-2, 1.0, 4), row(-1, 0.5, 4), row(0, 0.0, 8), row(1, 1.0, 4), row(2, 0.5, 4)]
    best = edits.best_distance(rows)
    assert (best["best_distance"], best["flipped"], best["flippable"]) == (1, 0.75, 8)
    assert best["low"] < 0.75 < best["high"]
    with pytest.raises(UserError, match="nothing was edited"):
        edits.best_distance([row(0, 0.0, 8), row(1, None, 0)])


def test_measures_of_edits_that_brighten() -> None:
    values, rows = edits.measure(brightening(), BRIGHT, {}, None)
    # 90 + 60 passes 128, 20 + 60 does not; 160 - 60 does, 230 - 60 does not; all do at 2 units
    assert [row["flipped"] for row in rows] == [1.0, 0.5, 0.0, 0.5, 1.0]
    assert (values["best_distance"], values["flipped"]) == (2, 1.0)
    assert values["spearman"] == pytest.approx(1, abs=0.05)
    assert values["rising"] == 1
    assert values["psnr_zero"] == values["psnr_plain"] == pytest.approx(20 * np.log10(255 / 5))
    assert rows[2]["psnr"] == 100
    assert rows[0]["score"] < rows[4]["score"]


def test_kept_class_and_other_attributes() -> None:
    classes = Brightness()
    not_dark = ByClass(classes, np.array([False, True, True]), np.array([True, False, False]))
    values, rows = edits.measure(brightening(), BRIGHT, {"lit": not_dark}, classes)
    assert [row["kept_lit"] for row in rows] == [0.25 + 0.25, 0.75, 1.0, 0.75, 0.75]
    assert rows[2]["kept_class"] == 1
    assert values["kept_lit_at_best"] == pytest.approx(0.625)
    with pytest.raises(UserError, match="knows no classes"):
        edits.probabilities(type("Blind", (), {"name": "blind"})(), [flat(0)])


def test_probability_among_the_classes_that_count() -> None:
    against = ByClass(Brightness(), np.array([False, False, True]), np.array([False, True, False]))
    scores = against.score(flat([0, 128, 255]))
    assert scores[1] == pytest.approx(0)
    assert scores[2] == pytest.approx(1)
    assert 0 <= scores[0] < 0.5  # dark counts for neither, and is nearer to grey


def test_monotonicity_of_known_strips() -> None:
    rising, falling, still = [0.0, 0.2, 0.4], [0.4, 0.2, 0.0], [0.3, 0.3, 0.3]
    assert edits.monotonicity(np.array([rising])) == {"spearman": pytest.approx(1), "rising": 1}
    assert edits.monotonicity(np.array([falling])) == {"spearman": pytest.approx(-1), "rising": 0}
    assert edits.monotonicity(np.array([still])) == {"spearman": 0, "rising": 1}


def test_distance_to_real_images_of_the_target_kind() -> None:
    real = flat(np.linspace(0, 255, 40))
    sides = {"with": Some(real, np.arange(20, 40)), "without": Some(real, np.arange(20))}
    found = edits.distances_to_real(brightening(), BRIGHT, 2.0, sides, Brightness())
    assert set(found) == {"fid_with", "fid_without", "fid_with_plain", "fid_without_plain"}
    blurred = edits.distances_to_real(brightening(10), BRIGHT, 2.0, sides, Brightness())
    assert found["fid_with"] < blurred["fid_with"]
    alone = edits.distances_to_real(brightening(), BRIGHT, 3.0, sides, Brightness())
    assert set(alone) == {"fid_with_plain", "fid_without_plain"}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_h_space_of_a_model_calls_the_network_as_the_model_does(precision: str) -> None:
    diffusion = gaussian.Diffusion((3, 16, 16), T=100, rescale_timesteps=True)
    network = gaussian.network(
        "adm", diffusion, model_channels=32, num_res_blocks=1, channel_mult=(1,), attention_resolutions=()
    )
    torch.nn.init.normal_(network.out[2].weight, std=0.1)  # fresh networks put out 0
    model = gaussian.Model(network, diffusion, "digest", device="cpu", precision=precision)
    told: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, inputs: told.append(inputs[1]))
    h_space = space(network, model.denoiser())
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([30, 30])
    with torch.no_grad():
        output, h = h_space.capture(x, t)
        assert torch.equal(output, model.denoiser()(x, t))
        assert torch.allclose(h_space.replace(x, t, h), output)
    assert told[0].tolist() == [300.0, 300.0]
    assert h.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert bottleneck(h_space, model.process, x, 30).dtype == torch.float32
