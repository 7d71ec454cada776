"""Fréchet and kernel distance, clean-fid's resizers and the Inception network against recorded values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from vectors import assert_close, case, names, recipe, shapes

from bridgepipe.data.pixels import to_uint8
from bridgepipe.evaluation.extractors import Inception, inception_network, resizer
from bridgepipe.evaluation.frechet import frechet_distance
from bridgepipe.evaluation.kid import kid
from bridgepipe.evaluation.moments import Moments

DISTANCES = names("10_fid/distances")
RESIZERS = "10_fid/resizers"


def moments(features: np.ndarray, batch: int) -> Moments:
    result = Moments(features.shape[1])
    for start in range(0, len(features), batch):
        result.update(features[start : start + batch])
    return result


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_moments_and_frechet_distance(name: str, batch: int) -> None:
    c = case(name)
    a, b = (moments(c.arrays[key], batch) for key in ("in.feats1", "in.feats2"))
    assert_close(c, "mu1", a.mu)
    assert_close(c, "sigma1", a.sigma)
    assert_close(c, "frechet", frechet_distance(a.mu, a.sigma, b.mu, b.sigma))
    assert_close(c, "fid_from_feats", frechet_distance(b.mu, b.sigma, a.mu, a.sigma))
    assert_close(c, "fid_self", frechet_distance(a.mu, a.sigma, a.mu, a.sigma))


@pytest.mark.parametrize("name", DISTANCES)
def test_kernel_distance(name: str) -> None:
    c = case(name)
    x, y, subsets = c.arrays["in.feats1"], c.arrays["in.feats2"], c.arrays["in.kid_subsets"]
    pairs = zip(subsets[0::2], subsets[1::2], strict=True)
    assert_close(c, "kid", np.mean([kid(x[of_x], y[of_y]).value for of_y, of_x in pairs]))
    n = min(len(x), len(y))
    assert_close(c, "kid_full", kid(x[:n], y[:n]).value)


@pytest.mark.parametrize("mode", ["legacy_pytorch", "clean"])
@pytest.mark.parametrize(("image", "key"), [("a", "in.img_u8"), ("b", "in.img2_u8")])
def test_resizers(mode: str, image: str, key: str) -> None:
    c = case(RESIZERS)
    resized = resizer(mode)(c.arrays[key])
    assert resized.shape == (299, 299, 3)
    assert_close(c, f"{mode}_{image}_corner", resized[:32, :32])
    assert_close(c, f"{mode}_{image}_mid", resized[130:170, 120:160])
    assert_close(c, f"{mode}_{image}_rowmean", resized.mean(axis=1, dtype=np.float64))
    assert_close(c, f"{mode}_{image}_colmean", resized.mean(axis=0, dtype=np.float64))


@pytest.fixture(scope="module")
def inception_weights() -> dict[str, torch.Tensor]:
    config = case("10_fid/inception_legacy_pytorch_recipe").config
    state = {key: torch.empty(shape) for key, shape in shapes("pt_inception_2015_12_05").items()}
    return recipe(state, config["recipe_seed"], config["gain"])


def test_inception_features(inception_weights: dict[str, torch.Tensor], tmp_path) -> None:
    c, images = case("10_fid/inception_legacy_pytorch_recipe"), case(RESIZERS).arrays
    save_file(inception_weights, tmp_path / "inception.safetensors")
    extractor = Inception(tmp_path / "inception.safetensors")
    outputs: list[torch.Tensor] = []
    for block in extractor.network.blocks[:3]:
        block.register_forward_hook(lambda _, __, output: outputs.append(output))
    assert_close(c, "features", extractor.features([images["in.img_u8"], images["in.img2_u8"]]))
    for i, output in enumerate(outputs):
        assert_close(c, f"block{i}_mean", output.mean(dim=(2, 3)))
        assert_close(c, f"block{i}_std", output.std(dim=(2, 3)))
    assert len(outputs) == 3


def test_inception_keys(inception_weights: dict[str, torch.Tensor]) -> None:
    """Loading is strict, so the file's keys are checked by it; the wrapped network has its own names."""
    state = inception_network(inception_weights).state_dict()
    wrapped = {key: list(value.shape) for key, value in state.items()}
    assert list(wrapped.items()) == list(shapes("cleanfid_inceptionv3_wrapper").items())


def test_uint8_conversion() -> None:
    c = case("10_fid/preprocessing")
    assert_close(c, "uint8", to_uint8(c.tensor("in.values").view(1, 1, 1, -1), "published").reshape(-1))
