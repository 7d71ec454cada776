"""The small networks behind the recorded runs of the Gaussian process."""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from vectors import recipe, weights

from bridgepipe.networks.adm import Classifier, UNet
from bridgepipe.networks.mlp import PointNet
from bridgepipe.processes import schedules
from bridgepipe.samplers.denoiser import Network

SMALL = {"num_res_blocks": 1, "channel_mult": (1, 1), "model_channels": 32}
ADM_A = {**SMALL, "out_channels": 3, "attention_resolutions": (1, 2), "num_heads": 2}
ADM_B = {
    **SMALL,
    "out_channels": 6,
    "attention_resolutions": (2,),
    "num_classes": 10,
    "num_heads": 4,
    "num_head_channels": 8,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}
CLASSIFIER = {
    "model_channels": 32,
    "out_channels": 10,
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "channel_mult": (1, 1, 1),
    "num_head_channels": 16,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
    "pool": "attention",
}


@cache
def network(name: str) -> torch.nn.Module:
    build, arguments = {"adm_a": (UNet, ADM_A), "adm_b": (UNet, ADM_B), "clf": (Classifier, CLASSIFIER)}[name]
    built = build(image_size=32, in_channels=3, **arguments)
    built.load_state_dict(weights(f"01_adm/{name}.safetensors"))
    return built.eval().requires_grad_(False)


@cache
def points(name: str) -> torch.nn.Module:
    """The network of 2-D points, ``source`` or ``target``."""
    built = PointNet(model_channels=256, num_res_blocks=3, dropout=0.2)
    state = recipe(built.state_dict(), {"source": 5101, "target": 5102}[name])
    built.load_state_dict({**state, **weights(f"05_ddib/synth_{name}_out.safetensors")})
    return built.eval().requires_grad_(False)


def wrapped(labels: Tensor) -> Network:
    """The denoiser of the recorded runs: near sqrt(1 - alpha_bar) x, with labels bound."""
    scale = torch.from_numpy(np.sqrt(1 - schedules.linear(1000))).float()

    def denoiser(x: Tensor, t: Tensor) -> Tensor:
        output = network("adm_b")(x, t, labels)
        return torch.cat([scale[t].reshape(-1, 1, 1, 1) * x + 0.2 * output[:, :3], output[:, 3:]], dim=1)

    return denoiser
