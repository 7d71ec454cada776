"""UNet2DModel and the schedulers of diffusers against ours: names, configs, and outputs, both ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.closed_form import B
from bridgepipe.config.gaussian import Process
from bridgepipe.errors import UserError
from bridgepipe.evaluation import vision
from bridgepipe.methods.gaussian import Diffusion, network
from bridgepipe.names import schedulers
from bridgepipe.names import unet2d as words
from bridgepipe.networks import unet2d
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers import decode

assert vision.torchvision  # diffusers imports it, too: the operators have to be there first
from diffusers import (  # noqa: E402
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    UNet2DModel,
)

WHERE = Path("unet/config.json")
# the config.json files as they are published; what they leave out is by default
DDPM_256 = {
    "_class_name": "UNet2DModel",
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 128, 256, 256, 512, 512],
    "center_input_sample": False,
    "down_block_types": [*["DownBlock2D"] * 4, "AttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-06,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "time_embedding_type": "positional",
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *["UpBlock2D"] * 4],
}
CIFAR = DDPM_256 | {
    "block_out_channels": [128, 256, 256, 256],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "sample_size": 32,
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}
PUBLISHED = {
    "google/ddpm-celebahq-256": (DDPM_256, "fixed_small", 113_673_219),
    "google/ddpm-ema-church-256": (DDPM_256, "fixed_small", 113_673_219),
    "google/ddpm-ema-bedroom-256": (DDPM_256, "fixed_small", 113_673_219),
    "google/ddpm-cifar10-32": (CIFAR, "fixed_large", 35_746_307),
}
TINY = {"block_out_channels": [32, 64], "layers_per_block": 1, "sample_size": 16}
DDPM_TINY = (
    DDPM_256
    | TINY
    | {
        "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    }
)
ADM_TINY = {"_class_name": "UNet2DModel", **TINY, "attention_head_dim": 8, "num_class_embeds": None}
ADM_TINY |= {k: DDPM_TINY[k] for k in ("down_block_types", "up_block_types")}
RESNET = {"downsample_type": "resnet", "upsample_type": "resnet", "resnet_time_scale_shift": "scale_shift"}
RESNET |= {"attn_norm_num_groups": 32, "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D"]}
RESNET |= {"down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"]}
SMALL = {
    "ddpm": DDPM_TINY,
    "ddpm of oblong images": DDPM_TINY | {"sample_size": [16, 8]},
    "diffusers' own default": ADM_TINY,
    "one head": ADM_TINY | {"attention_head_dim": None},
    "classes": ADM_TINY | {"num_class_embeds": 10},
    "ADM's blocks": ADM_TINY | RESNET,
}


def theirs(config: dict[str, Any]) -> UNet2DModel:
    torch.manual_seed(0)
    values = {key: value for key, value in config.items() if not key.startswith("_")}
    made = UNet2DModel(**values).eval()
    for name, p in made.named_parameters():
        nn.init.normal_(p, mean=float("norm" in name and name.endswith("weight")), std=0.1)
    return made


def ours(config: dict[str, Any]) -> nn.Module:
    section = words.network_of(config, WHERE)
    variance = "learned_range" if config["out_channels"] == 6 else "fixed_small"
    process = Process(variance=variance)
    arguments = {k: v for k, v in section.items() if k != "kind"}
    diffusion = Diffusion(words.shape_of(config, WHERE), process)
    return network(section["kind"], diffusion, config.get("num_class_embeds"), **arguments).eval()


def loaded(config: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    made = ours(config)
    section = words.network_of(config, WHERE)
    made.load_state_dict(unet2d.from_diffusers(weights, section, made.state_dict(), WHERE))
    return made


def old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of attention as in the published files."""
    pairs = {after: before for before, after in unet2d.OLD.items()}

    def old(name: str) -> str:
        parts = name.split(".attentions.")
        for after, before in pairs.items():
            parts[1:] = [part.replace(f".{after}.", f".{before}.") for part in parts[1:]]
        return ".attentions.".join(parts)

    return {old(name): value for name, value in weights.items()}


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_outputs_are_those_of_diffusers_both_ways(name: str) -> None:
    config = {"in_channels": 3, "out_channels": 3, **SMALL[name]}
    them = theirs(config)
    state = dict(them.state_dict())
    us = loaded(config, state)
    channels, height, width = words.shape_of(config, WHERE)
    x, t = torch.randn(2, channels, height, width), torch.tensor([3, 977])
    y = [torch.tensor([0, 7])] if config.get("num_class_embeds") else []
    wanted = them(x, t, *y).sample
    torch.testing.assert_close(us(x, t, *y), wanted, atol=1e-5, rtol=1e-5)
    assert wanted.std() > 0.1
    if "attentions" in str(list(state)):
        assert any(".query." in key for key in old_names(state))
    torch.testing.assert_close(loaded(config, old_names(state))(x, t, *y), us(x, t, *y), atol=0, rtol=0)

    section = words.network_of(config, WHERE)
    back = unet2d.to_diffusers(us.state_dict(), section)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], value) for key, value in state.items())
    written = words.config_of(section, (channels, height, width), 3, config.get("num_class_embeds"))
    again = UNet2DModel.from_config(json.loads(json.dumps(written))).eval()
    again.load_state_dict(back)
    torch.testing.assert_close(again(x, t, *y).sample, wanted, atol=0, rtol=0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_networks_have_our_tensors_at_full_size(name: str) -> None:
    config, variance, parameters = PUBLISHED[name]
    with torch.device("meta"):
        them, us = theirs_of(config), ours(config)
    assert sum(p.numel() for p in them.parameters()) == parameters
    section = words.network_of(config, WHERE)
    for names in (dict, old_names):
        found = unet2d.from_diffusers(names(dict(them.state_dict())), section, us.state_dict(), WHERE)
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in us.state_dict().items()}
    back = unet2d.to_diffusers(us.state_dict(), section)
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in them.state_dict().items()}
    scheduler = {"_class_name": "DDPMScheduler", "beta_end": 0.02, "beta_schedule": "linear"}
    scheduler |= {"beta_start": 0.0001, "clip_sample": True, "num_train_timesteps": 1000}
    process = schedulers.process_of(scheduler | {"variance_type": variance}, WHERE)
    assert (process["schedule"], process["T"], process["variance"]) == ("linear", 1000, variance)


def theirs_of(config: dict[str, Any]) -> UNet2DModel:
    return UNet2DModel(**{key: value for key, value in config.items() if not key.startswith("_")})


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize(
    ("schedule", "T"), [("linear", 1000), ("squaredcos_cap_v2", 400), ("scaled_linear", 1000)]
)
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_steps_are_those_of_the_scheduler(prediction: str, schedule: str, T: int, variance: str) -> None:
    them = DDPMScheduler(
        num_train_timesteps=T, beta_schedule=schedule, prediction_type=prediction, variance_type=variance
    )
    process = Process(**schedulers.process_of(them.config, WHERE))
    us = Diffusion((3, 8, 8), process).process
    torch.testing.assert_close(
        torch.as_tensor(us.alpha_bar).float().flatten(), them.alphas_cumprod, rtol=2e-4, atol=1e-6
    )
    written = schedulers.scheduler_of(process.model_dump(), clip=True)
    assert torch.equal(DDPMScheduler.from_config(written).betas, them.betas)
    x, output = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    for t in (1, T // 2, T - 1):
        step = them.step(output, t, x, generator=torch.Generator().manual_seed(1))
        x0 = us.predict_x0(x, torch.tensor([t, t]), output).clamp(-1, 1)
        torch.testing.assert_close(x0, step.pred_original_sample, atol=2e-3, rtol=2e-3)


LINEAR = {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
NO_NOISE_LEFT = {"final_sigmas_type": "zero"}
SCHEDULERS: dict[str, Callable[[], Any]] = {
    "ddim": lambda: DDIMScheduler(**LINEAR, clip_sample=False, timestep_spacing="trailing"),
    "heun": lambda: HeunDiscreteScheduler(**LINEAR, timestep_spacing="trailing"),
    "multistep2": lambda: DPMSolverMultistepScheduler(**LINEAR, **NO_NOISE_LEFT, solver_type="heun"),
}
LIMIT = 3e-5  # alpha_bar is in float32 there


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs, with NumPy 2
@pytest.mark.parametrize("steps", [25, 50])
@pytest.mark.parametrize("solver", SCHEDULERS)
def test_solvers_are_those_of_the_schedulers_on_their_timesteps(solver: str, steps: int) -> None:
    us, them = Gaussian(schedules.linear(1000)), SCHEDULERS[solver]()
    denoiser = B.denoiser(us)
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    them.set_timesteps(steps)
    state = x * them.init_noise_sigma  # of sigma for Heun's method, else 1
    for t in them.timesteps:
        output = denoiser(them.scale_model_input(state, t), torch.full((len(x),), int(t)))
        state = them.step(output, t, state).prev_sample
    visited = sorted({int(t) for t in them.timesteps}, reverse=True)
    assert len(visited) == steps
    found = decode(denoiser, x, [*visited, -1], process=us, solver=solver).x
    torch.testing.assert_close(found, state, rtol=0, atol=LIMIT)
    ddim = decode(denoiser, x, [*visited, -1], process=us, solver="ddim").x
    assert solver == "ddim" or float((ddim - state).abs().max()) > 100 * LIMIT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("norm_eps", 1e-5),
        ("downsample_padding", 1),
        ("attention_head_dim", 8),
        ("time_embedding_type", "fourier"),
        ("mid_block_scale_factor", 2),
        ("act_fn", "gelu"),
        ("norm_num_groups", 16),
        ("add_attention", False),
        ("class_embed_type", "timestep"),
        ("center_input_sample", True),
        ("down_block_types", ["DownBlock2D", "SkipDownBlock2D"]),
        ("_class_name", "UNet2DConditionModel"),
        ("block_out_channels", [64, 96]),
    ],
)
def test_another_architecture_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(UserError) as e:
        words.network_of(DDPM_TINY | {key: value}, WHERE)
    shown = {"down_block_types": "SkipDownBlock2D", "_class_name": "UNet2DConditionModel"}.get(key, key)
    assert shown in str(e.value)
    assert str(WHERE) in str(e.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_train_timesteps", 2000),  # of linear betas that were not scaled with it
        ("beta_end", 0.012),
        ("beta_schedule", "sigmoid"),
        ("trained_betas", [0.1, 0.2]),
        ("prediction_type", "flow_prediction"),
        ("rescale_betas_zero_snr", True),
        ("thresholding", True),
    ],
)
def test_another_process_is_refused(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=r"betas|prediction|zero_snr|thresholding"):
        schedulers.process_of({key: value}, WHERE)


def test_a_tensor_that_lacks_or_has_another_shape_is_named() -> None:
    config = DDPM_TINY
    state, us = dict(theirs(config).state_dict()), ours(config)
    section = words.network_of(config, WHERE)

    def refused(weights: dict[str, Tensor]) -> str:
        with pytest.raises(UserError) as e:
            unet2d.from_diffusers(weights, section, us.state_dict(), WHERE)
        return str(e.value)

    name = "mid_block.attentions.0.to_k.weight"
    assert f"{name} is missing" in refused({k: v for k, v in state.items() if k != name})
    assert f"{name} is (32, 64), expected (64, 64" in refused(state | {name: torch.zeros(32, 64)})
    assert "extra is unknown" in refused(state | {"extra": torch.zeros(1)})
