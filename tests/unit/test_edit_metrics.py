"""Measures of edits where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bridgepipe.config.gaussian import Process
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.subset import Subset
from bridgepipe.errors import UserError
from bridgepipe.evaluation import edits, protocol, strips
from bridgepipe.evaluation.restoration import quality
from bridgepipe.evaluation.strips import ByClass, Measured, Strips, half
from bridgepipe.figures import boundary
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


def brightening(steps: float = 60.0, noise: Any = 0.0, images: int = 4) -> Strips:
    """Images, dark to bright, each twice, that an edit makes brighter by ``steps`` a unit."""
    plain = np.repeat(np.linspace(20.0, 230.0, images), 2)
    drawn = np.clip(plain + noise, 0, 250)
    edited = np.clip(drawn[:, None] + steps * DISTANCES, 0, 255)
    kinds = np.repeat(np.arange(images), 2)
    return Strips(flat(edited), DISTANCES, flat(drawn), flat(plain), flat(plain + 5), kinds)


BRIGHT = Measured(lambda image: float(image.mean()), cut=128.0)


def test_only_images_of_the_other_side_can_flip() -> None:
    able = edits.flippable(np.array([True, True, False]), np.array([-1.0, 0.0, 1.0]))
    assert able.T.tolist() == [[True, True, False], [True, True, True], [False, False, True]]


def test_best_distance_pools_both_directions_and_is_the_smallest_of_equals() -> None:
    able = edits.flippable(np.arange(8) < 4, DISTANCES)
    flipped = np.zeros((8, 5), dtype=bool)
    flipped[:4, 0] = flipped[:2, 1] = flipped[4:, 3] = flipped[4:6, 4] = True
    assert edits.best_distance(flipped, able, DISTANCES) == 1
    flipped[4:, 4] = True
    assert edits.best_distance(flipped, able, DISTANCES) == 2
    with pytest.raises(UserError, match="nothing was edited"):
        edits.best_distance(flipped[:, 2:3], able[:, 2:3], DISTANCES[2:3])
    with pytest.raises(UserError, match="nothing was edited"):
        edits.best_distance(flipped[:4, 3:], able[:4, 3:], DISTANCES[3:])


def test_halves_have_as_many_of_every_kind() -> None:
    kinds = np.array([0] * 7 + [1] * 6 + [2] * 2 + [3])
    halves = [half(kinds, seed) for seed in range(5)]
    for chosen in halves:
        counts = np.bincount(kinds[chosen], minlength=4) - np.bincount(kinds[~chosen], minlength=4)
        assert np.abs(counts).max() <= 1
        assert chosen.sum() == 8
    assert np.array_equal(halves[3], half(kinds, 3))
    assert len({half.tobytes() for half in halves}) > 1


def test_measures_of_edits_that_brighten() -> None:
    values, rows = edits.measure(brightening(), BRIGHT, {}, None)
    # 90 + 60 passes 128, 20 + 60 does not; 160 - 60 does, 230 - 60 does not; all do at 2 units
    assert [row["flipped"] for row in rows] == [1.0, 0.5, 0.0, 0.5, 1.0]
    assert [row["flipped_n"] for row in rows] == [2, 2, 4, 2, 2]
    assert (values["best_distance"], values["flipped"], values["flipped_n"]) == (2, 1.0, 4)
    assert (values["flipped_low"], values["flipped_high"]) == pytest.approx((0.51011, 1), abs=1e-5)
    assert values["spearman"] == pytest.approx(1, abs=0.05)
    assert values["rising"] == 1
    assert values["psnr_zero"] == values["psnr_plain"] == pytest.approx(20 * np.log10(255 / 5))
    assert values["psnr_zero_low"] == values["psnr_plain_low"] == pytest.approx(values["psnr_zero"])
    # the dark are moved by 120, of the bright one by 120 and one by less: its darkest is 0
    psnr = 20 * np.log10(255 / np.array([120.0] * 4))
    assert values["psnr_at_best"] == pytest.approx(psnr.mean())
    assert values["psnr_at_best_high"] - values["psnr_at_best"] == pytest.approx(0, abs=1e-9)
    assert values["baseline_flipped"] == 0
    assert rows[2]["psnr"] == 100
    assert rows[0]["score"] < rows[4]["score"]
    one = brightening()
    alone = Strips(one.images[:1], DISTANCES, one.control[:1], one.plain[:1])
    with pytest.raises(UserError, match="1 edited image"):
        edits.measure(alone, BRIGHT, {})


def test_preserved_class_and_other_attributes() -> None:
    classes = Brightness()
    not_dark = ByClass(classes, np.array([False, True, True]), np.array([True, False, False]))
    values, rows = edits.measure(brightening(), BRIGHT, {"lit": not_dark}, classes)
    assert [row["preserved_lit"] for row in rows] == [0.25 + 0.25, 0.75, 1.0, 0.75, 0.75]
    assert {row["preserved_lit_n"] for row in rows} == {4}
    assert rows[2]["preserved_class"] == 1
    # each image once, to its other side: only 20 becomes lit, only 160 - 120 becomes dark
    assert (values["preserved_lit_at_best"], values["preserved_lit_at_best_n"]) == (0.5, 4)
    assert boundary.shares(pd.DataFrame(rows)) == ["flipped", "preserved_lit", "preserved_class"]
    with pytest.raises(UserError, match="knows no classes"):
        strips.probabilities(type("Blind", (), {"name": "blind"})(), [flat(0)])


def test_intervals_of_edited_patches_are_over_their_photographs() -> None:
    strips = brightening(images=20)
    names = np.repeat(["china", "flower", "coffee", "rocket"], 10)
    apart, _ = edits.measure(strips, BRIGHT, {})
    over, clustered = edits.measure(replace(strips, sources=names), BRIGHT, {})
    reported = ~half(strips.kinds, 0)
    assert strips.sources_of(reported) is None
    moved = quality(strips.images[reported, 0], strips.control[reported]).psnr
    expected = protocol.Estimate.of(moved, names[reported]).values("psnr")
    assert {key: clustered[0][key] for key in expected} == pytest.approx(expected)
    across = reported[:, None] & (np.abs(DISTANCES) == over["best_distance"])
    assert replace(strips, sources=names).sources_of(across) == list(np.repeat(names[reported], 2))
    assert {k: v for k, v in over.items() if not k.endswith(("_low", "_high"))} == {
        k: v for k, v in apart.items() if not k.endswith(("_low", "_high"))
    }
    assert over["flipped_low"] < apart["flipped_low"]


def test_the_distance_is_chosen_on_one_half_and_reported_on_the_other() -> None:
    """All of one half flip at 1 and none of the other: chosen on the same images, half would flip at 1."""
    strips = brightening(images=20)
    chosen = half(np.repeat(np.arange(20), 2), 0)
    dark = strips.control.mean(axis=(1, 2, 3)) < 128
    stays, turns = np.where(dark, 50, 200), np.where(dark, 200, 50)
    after = np.stack([turns, np.where(chosen, turns, stays), stays, np.where(chosen, turns, stays), turns], 1)
    split = Strips(flat(after), DISTANCES, strips.control, strips.plain, kinds=strips.kinds)
    values, rows = edits.measure(split, BRIGHT, {})
    assert (values["best_distance"], values["flipped"], values["flipped_n"]) == (1, 0, 20)
    assert [row["flipped"] for row in rows] == [1, 0, 0, 0, 1]


def test_noise_alone_flips_nothing_against_the_same_noise() -> None:
    """With eta 1 the decoder moves images across the cut by itself: no flips, but the baseline."""
    noise = np.random.default_rng(0).normal(0, 60, 400)
    values, rows = edits.measure(brightening(noise=noise, images=200), BRIGHT, {})
    assert (rows[2]["flipped"], rows[2]["flipped_n"]) == (0, 200)
    assert rows[2]["psnr"] == 100
    assert values["baseline_flipped"] == pytest.approx(0.2, abs=0.1)
    assert values["baseline_flipped_low"] > 0.1
    assert values["baseline_flipped_n"] == values["baseline_flipped_original_n"] == 200
    assert values["psnr_zero"] == pytest.approx(values["psnr_control"])
    assert values["psnr_plain"] > values["psnr_control"] + 5


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
    several = edits.monotonicity(np.array([rising, rising, falling, falling]))
    assert [several[f"rising{end}"] for end in ("_low", "", "_high")] == [0, 0.5, 1]  # within its range
    most = edits.monotonicity(np.array([rising] * 6 + [falling] * 2))
    assert most["rising_low"] == pytest.approx(0.75 - 1.959964 * (0.1875 / 7) ** 0.5)


def test_distance_to_real_images_of_the_target_kind() -> None:
    real = flat(np.linspace(0, 255, 60))
    sides = {"with": Subset(real, np.arange(30, 60)), "without": Subset(real, np.arange(30))}
    found = edits.distances_to_real(brightening(images=8), BRIGHT, 2.0, sides, Brightness())
    names = [f"fid_{side}{kind}" for side in ("with", "without") for kind in ("", "_plain", "_real")]
    ends = {f"{name}{end}" for name in names for end in ("", "_low", "_high")}
    assert set(found) == ends | {"fid_with_n", "fid_without_n"}
    assert all(0 <= found[f"{n}_low"] <= found[n] < found[f"{n}_high"] for n in names)
    assert found["fid_with_n"] == found["fid_without_n"] == 4
    blurred = edits.distances_to_real(brightening(10, images=8), BRIGHT, 2.0, sides, Brightness())
    assert found["fid_with"] < blurred["fid_with"]
    assert edits.distances_to_real(brightening(), BRIGHT, 3.0, sides, Brightness()) == {}


def test_sets_of_an_fid_are_of_one_size_and_the_floor_is_not_in_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[set[int]] = []
    true = edits.fid.statistics

    def watched(extractor: Any, images: Any) -> Any:
        measured.append({int(images[i].mean()) for i in range(len(images))})
        return true(extractor, images)

    monkeypatch.setattr(edits.fid, "statistics", watched)
    real = {"with": flat(np.arange(150, 250)), "without": flat(np.arange(0, 100))}
    plain = np.array([*range(10, 20), *range(200, 240)])  # four times as many have it as lack it
    strips = Strips(flat(plain[:, None] + np.zeros(5)), DISTANCES, flat(plain), flat(plain))
    edits.distances_to_real(strips, BRIGHT, 1.0, real, Brightness())
    reference, edited, own, floor = measured[:4]
    assert len(edited) == len(own) == len(floor) == 5
    assert len(reference) == 95
    assert not reference & floor


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_h_space_of_a_model_calls_the_network_as_the_model_does(precision: str) -> None:
    diffusion = gaussian.Diffusion((3, 16, 16), Process(T=100, rescale_timesteps=True))
    network = gaussian.network(
        "adm", diffusion, model_channels=32, num_res_blocks=1, channel_mult=(1,), attention_resolutions=()
    )
    torch.nn.init.normal_(network.out[2].weight, std=0.1)  # fresh networks put out 0
    model = gaussian.Model(network, diffusion, "digest", runtime=Runtime(device="cpu", precision=precision))
    told: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, inputs: told.append(inputs[1]))
    h_space = space(network, model.bound())
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([30, 30])
    with torch.no_grad():
        output, h = h_space.capture(x, t)
        assert torch.equal(output, model.bound()(x, t))
        assert torch.allclose(h_space.replace(x, t, h), output)
    assert told[0].tolist() == [300.0, 300.0]
    assert h.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert bottleneck(h_space, model.process, x, 30).dtype == torch.float32


class Grey:
    """Stands for networks: a text is a grey, and an identity too."""

    def scores(self, images: Any, text: str) -> list[float]:
        return [-abs(float(image.mean()) - float(text)) for image in images]

    def distances(self, images: Any, others: Any) -> list[float]:
        pairs = zip(images, (others[i] for i in range(len(others))), strict=True)
        return [abs(float(image.mean()) - float(other.mean())) for image, other in pairs]


def test_networks_judge_every_edited_image_beside_its_own_control_and_original() -> None:
    strip: Any = brightening(steps=10.0, noise=3.0)
    assert edits.perceived(strip, None, "", None) == {}
    network: Any = Grey()
    found = edits.perceived(strip, network, "255", network)
    edited = strip.images.mean(axis=(2, 3, 4))
    np.testing.assert_allclose(found["clip"], edited - 255)
    controls, originals = (
        images.mean(axis=(1, 2, 3))[:, None] for images in (strip.control, strip.originals)
    )
    np.testing.assert_allclose(found["identity"], np.abs(edited - controls))
    np.testing.assert_allclose(found["identity_original"], np.abs(edited - originals))
    values, rows = edits.measure(strip, BRIGHT, {}, None, more=found)
    assert [row["identity"] for row in rows] == pytest.approx([20, 10, 0, 10, 20])
    assert rows[3]["clip"] - rows[2]["clip"] == pytest.approx(10)
    assert values["identity_at_best"] == pytest.approx(10 * values["best_distance"])
    drawn = Strips(strip.images, DISTANCES, strip.control, strip.plain)
    assert edits.perceived(drawn, None, "", network).keys() == {"identity"}
