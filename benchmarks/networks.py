"""The ADM network: attention, memory layout, precision."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.measure import Result, compare
from bridgepipe.methods import i2sb

SMALL = {
    "model_channels": 64,
    "num_res_blocks": 1,
    "channel_mult": (1, 2, 2),
    "attention_resolutions": (2, 4),
    "num_head_channels": 32,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _network() -> torch.nn.Module:
    return i2sb.network((64, 64), False, 0, **SMALL).eval().requires_grad_(False).to(_device())


def _batch() -> tuple[Tensor, Tensor]:
    return torch.randn(8, 3, 64, 64, device=_device()), torch.full((8,), 500.0, device=_device())


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def attention_against_matrices() -> Result:
    q, k, v = (torch.randn(8, 4, 1024, 32, device=_device()) for _ in range(3))

    def matrices() -> None:
        torch.softmax(q @ k.transpose(-1, -2) / 32**0.5, dim=-1) @ v
        _wait()

    def fused() -> None:
        torch.nn.functional.scaled_dot_product_attention(q, k, v)
        _wait()

    return compare("attention over 32x32 pixels", fused, "softmax of a stored matrix", matrices)


def channels_last_against_contiguous() -> Result:
    network, (x, t) = _network(), _batch()
    other = _network().to(memory_format=torch.channels_last)

    def run(n: torch.nn.Module, images: Tensor) -> None:
        n(images, t)
        _wait()

    last = x.to(memory_format=torch.channels_last)
    what = "U-Net call, 8 images of 64x64, channels_last"
    return compare(what, lambda: run(other, last), "contiguous", lambda: run(network, x))


def bf16_against_fp32() -> Result:
    network, (x, t) = _network(), _batch()

    def run(enabled: bool) -> None:
        with torch.autocast(_device().type, torch.bfloat16, enabled=enabled):
            network(x, t)
        _wait()

    what = f"U-Net call in bf16 on {_device().type}"
    return compare(what, lambda: run(True), "fp32", lambda: run(False))
