"""ADM's U-Net and classifier against recorded outputs and published checkpoint layouts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from vectors import Case, assert_close, case, names, recipe, shapes, weights

from bridgepipe.networks.adm import Classifier, UNet
from bridgepipe.networks.layers import timestep_embedding

KEYS = ("image_size", "cls", "recipe_seed", "gain")
STORED = ["01_adm/adm_a", "01_adm/adm_b", "01_adm/adm_c", "01_adm/adm_f"]
FULL = {
    "model_channels": 256,
    "num_res_blocks": 2,
    "attention_resolutions": (8, 16, 32),
    "channel_mult": (1, 1, 2, 2, 4, 4),
    "num_heads": 4,
    "num_head_channels": 64,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}


def build(c: Case) -> UNet | Classifier:
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in c.config.items()}
    kind = Classifier if arguments.pop("cls") == "EncoderUNetModel" else UNet
    for key in ("recipe_seed", "gain"):
        arguments.pop(key, None)
    network = kind(**arguments).eval()
    if "recipe" in c.weights:
        network.load_state_dict(recipe(network.state_dict(), c.config["recipe_seed"], c.config["gain"]))
    elif "trunk" not in c.weights:
        network.load_state_dict(weights(next(iter(c.weights.values()))))
    return network


def with_middle(network: torch.nn.Module, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []
    hook = network.middle_block.register_forward_hook(lambda *a: kept.append(a[2]))
    with torch.no_grad():
        output = network(*inputs)
    hook.remove()
    return output, kept[0]


def test_every_case_is_covered() -> None:
    clf = ["01_adm/clf", "01_adm/clf_pool_adaptive"]
    recipes = ["01_adm/adm_d_recipe", "01_adm/adm_e_recipe", "01_adm/clf_recipe"]
    assert sorted(names("01_adm")) == sorted(STORED + clf + recipes)


@pytest.mark.parametrize("name", STORED)
def test_unet(name: str) -> None:
    c = case(name)
    network = build(c)
    labels = [c.tensor("in.y")] if "in.y" in c.arrays else []
    for suffix in ("int", "float", "float2"):
        if f"in.t_{suffix}" not in c.arrays:
            continue
        output, middle = with_middle(network, c.tensor("in.x"), c.tensor(f"in.t_{suffix}"), *labels)
        assert_close(c, f"eps_{suffix}", output)
        if suffix == "float":
            assert_close(c, "mid_float", middle[:, :: 4 if c.config["image_size"] == 64 else 2])
            # recorded for these two levels in this order, whatever in.t_float holds
            sinusoids = timestep_embedding(torch.tensor([0.1, 998.999]), c.config["model_channels"])
            assert_close(c, "temb_sin_float", sinusoids)
            assert_close(c, "temb_float", network.time_embed(sinusoids))


@pytest.mark.parametrize("name", [n for n in names("01_adm") if n.endswith("_recipe")])
def test_networks_with_recipe_weights(name: str) -> None:
    c = case(name)
    labels = [c.tensor("in.y")] if "in.y" in c.arrays else []
    output, middle = with_middle(build(c), c.tensor("in.x"), c.tensor("in.t"), *labels)
    assert_close(c, "y", output)
    assert_close(c, "mid", middle[:, ::4])


@pytest.mark.parametrize("suffix", ["int", "float"])
def test_classifier_and_its_guidance_gradient(suffix: str) -> None:
    c = case("01_adm/clf")
    network, x = build(c), c.tensor("in.x").requires_grad_(True)
    logits = network(x, c.tensor(f"in.t_{suffix}"))
    log_probability = logits.log_softmax(dim=1)
    chosen = log_probability.gather(1, c.tensor("in.y")[:, None]).sum()
    gradient = torch.autograd.grad(chosen, x)[0] * c.tensor("in.scale")
    assert_close(c, f"logits_{suffix}", logits)
    assert_close(c, f"logprob_{suffix}", log_probability)
    assert_close(c, f"cond_grad_{suffix}", gradient)


def test_classifier_with_adaptive_pool() -> None:
    c = case("01_adm/clf_pool_adaptive")
    network = build(c)
    trunk = {k: v for k, v in weights("01_adm/clf.safetensors").items() if not k.startswith("out.2.")}
    head = {"out.3.weight": c.tensor("in.head_weight"), "out.3.bias": c.tensor("in.head_bias")}
    network.load_state_dict(trunk | head)
    assert_close(c, "logits", network(c.tensor("in.x"), c.tensor("in.t")))


def layout(network: torch.nn.Module) -> list[tuple[str, list[int]]]:
    return [(k, list(v.shape)) for k, v in network.state_dict().items()]


UNETS = {
    "adm_256x256_diffusion_uncond": {"in_channels": 3, "out_channels": 6},
    "adm_256x256_diffusion": {"in_channels": 3, "out_channels": 6, "num_classes": 1000},
    "i2sb_256x256_diffusion_uncond_fixedsigma": {"in_channels": 3, "out_channels": 3},
    "i2sb_256x256_diffusion_cond_fixedsigma": {"in_channels": 6, "out_channels": 3},
}


@pytest.mark.parametrize("name", UNETS)
def test_layout_of_published_unets(name: str) -> None:
    with torch.device("meta"):
        network = UNet(256, **UNETS[name], **FULL)
    assert layout(network) == list(shapes(name).items())
    # an unnamed list of EMA weights is in the order of parameters()
    assert [n for n, _ in network.named_parameters()] == list(shapes(name))


@pytest.mark.parametrize("name", ["i2sb_latest_net_uncond", "i2sb_latest_net_cond"])
def test_layout_of_i2sb_checkpoints(name: str) -> None:
    with torch.device("meta"):
        network = UNet(256, 6 if name.endswith("_cond") else 3, out_channels=3, **FULL)
    assert [(f"diffusion_model.{k}", v) for k, v in layout(network)] == list(shapes(name).items())


def test_layout_of_published_classifier() -> None:
    with torch.device("meta"):
        network = Classifier(
            256,
            3,
            model_channels=128,
            out_channels=1000,
            num_res_blocks=2,
            attention_resolutions=(8, 16, 32),
            channel_mult=(1, 1, 2, 2, 4, 4),
            num_head_channels=64,
            use_scale_shift_norm=True,
            resblock_updown=True,
        )
    assert layout(network) == list(shapes("adm_256x256_classifier").items())
