"""DDPM's U-Net, the h-space, the point network, and the names of every published network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import vectors
from torch import nn
from vectors import Case, assert_close, case, recipe

from bridgepipe.networks import adm, ddpm, mlp, published
from bridgepipe.networks.hspace import HSpace

RECIPES = [name for name in vectors.names("01_adm/") if name.endswith("_recipe")]


def ddpm_of(c: Case) -> nn.Module:
    network = ddpm.UNet(c.config["image_size"], in_channels=3, out_ch=3, **c.config["model"])
    published.load(network, vectors.weights(c.weights["model"]), c.weights["model"])
    return network.eval()


def iddpm_of(c: Case) -> nn.Module:
    """The published forward never reads the label embedding of this file, so it goes without one."""
    network = adm.UNet(**published.adm_arguments(c.config["model"] | {"class_cond": False}))
    weights = vectors.weights(c.weights["model"])
    del weights["label_emb.weight"]
    published.load(network, weights, c.weights["model"])
    return network.eval()


@pytest.mark.parametrize(
    ("name", "network_of"),
    [("08_boundary/forward_ddpm", ddpm_of), ("08_boundary/forward_iddpm", iddpm_of)],
)
@torch.no_grad()
def test_bottleneck_read_and_replaced(name: str, network_of: Any) -> None:
    c = case(name)
    space = HSpace(network_of(c))
    x, t, edit = c.tensor("in.x"), c.tensor("in.t"), c.tensor("in.edit_h")
    output, h = space.capture(x, t)
    assert_close(c, "et", output)
    assert_close(c, "mid_h", h)
    edited, own = space.run(x, t, edit)
    assert_close(c, "et_edit", edited)
    assert_close(c, "mid_h_edit", own)
    assert torch.equal(space.replace(x, t, edit), edited)
    assert len(c.outputs) == 4


@pytest.mark.parametrize(("kind", "short"), [("source", "src"), ("target", "tgt")])
@torch.no_grad()
def test_point_network(kind: str, short: str) -> None:
    c = case("05_ddib/synthetic_forward")
    model = c.config["model"]
    network = mlp.PointNet(2, model["ch"], 2, model["nrb"], c.config["dropout"]).eval()
    state = recipe(network.state_dict(), int(c.weights[f"recipe_seed_{kind}"]), float(c.weights["gain"]))
    network.load_state_dict(state | vectors.weights(c.weights[kind]))
    for suffix in ("int", "float"):
        assert_close(c, f"{short}_{suffix}", network(c.tensor("in.x"), c.tensor(f"in.t_{suffix}")))
    assert len(c.outputs) == 4


@pytest.mark.parametrize("name", RECIPES)
@torch.no_grad()
def test_channels_last_gives_the_same(name: str) -> None:
    c = case(name)
    kind = adm.Classifier if c.config["cls"] == "EncoderUNetModel" else adm.UNet
    arguments = {k: v for k, v in c.config.items() if k not in ("cls", "recipe_seed", "gain")}
    network = kind(**arguments).eval()
    network.load_state_dict(recipe(network.state_dict(), c.config["recipe_seed"], c.config["gain"]))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = c.tensor("in.x").contiguous(memory_format=torch.channels_last)
    labels = [c.tensor("in.y")] if "in.y" in c.arrays else []
    assert_close(c, "y", network(x, c.tensor("in.t"), *labels))


@pytest.mark.parametrize("name", sorted(published.ARCHITECTURES))
def test_names_shapes_and_order_are_the_published_ones(name: str) -> None:
    kind, arguments = published.ARCHITECTURES[name]
    with torch.device("meta"):
        network = kind(**arguments)
    expected = [(key, tuple(shape)) for key, shape in vectors.shapes(name).items()]
    assert [(key, tuple(value.shape)) for key, value in network.state_dict().items()] == expected
    # An unnamed list of averaged weights is in the order of parameters().
    assert [key for key, _ in network.named_parameters()] == [key for key, _ in expected]


def test_every_key_list_of_a_denoiser_is_covered() -> None:
    names = {name.removeprefix("02_checkpoint_keys/") for name in vectors.names("02_checkpoint_keys/")}
    latest = {"i2sb_latest_net_cond", "i2sb_latest_net_uncond"}
    inception = {"cleanfid_inceptionv3_wrapper", "pt_inception_2015_12_05"}
    assert names - latest - inception == set(published.ARCHITECTURES)


@pytest.mark.parametrize("kind", ["cond", "uncond"])
def test_names_in_the_release_of_i2sb(kind: str) -> None:
    plain = vectors.shapes(f"i2sb_256x256_diffusion_{kind}_fixedsigma")
    prefixed = [(published.I2SB_PREFIX + key, shape) for key, shape in plain.items()]
    assert list(vectors.shapes(f"i2sb_latest_net_{kind}").items()) == prefixed
