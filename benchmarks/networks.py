"""The ADM network: attention, memory layout, precision, and its published code.

The published code is a checkout of openai/guided-diffusion whose folder `BRIDGEPIPE_PEERS` names.
"""

from __future__ import annotations

import copy
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Result, compare
from bridgepipe.config.runtime import Runtime
from bridgepipe.methods import i2sb
from bridgepipe.networks.adm import UNet
from bridgepipe.runtime.devices import prepare
from bridgepipe.runtime.running import Inference

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


PEERS = "BRIDGEPIPE_PEERS"
# settings, side of the images, images of a batch: the network of the demo, and one of 25 million weights
CALLED: dict[str, tuple[dict[str, Any], int, int]] = {
    "demo network": (
        {
            "model_channels": 32,
            "num_res_blocks": 1,
            "channel_mult": (1, 1, 2, 2),
            "attention_resolutions": (8,),
            "num_heads": 4,
            "use_scale_shift_norm": True,
        },
        32,
        64,
    ),
    "network of 25 M": (
        {
            "model_channels": 64,
            "num_res_blocks": 2,
            "channel_mult": (1, 2, 3, 4),
            "attention_resolutions": (2, 4, 8),
            "num_head_channels": 64,
            "use_scale_shift_norm": True,
            "resblock_updown": True,
        },
        64,
        4,
    ),
}


def against_published() -> Iterator[Result]:
    """Calls and training steps in fp32 and bf16 against the published code in fp32, with the same weights."""
    if PEERS not in os.environ:
        print(f"{PEERS} names no checkout of guided-diffusion: left out", file=sys.stderr)
        return
    sys.path.insert(0, os.environ[PEERS])
    from guided_diffusion.unet import UNetModel  # type: ignore[import-not-found]

    for name, (settings, side, count) in CALLED.items():
        torch.manual_seed(0)
        ours = UNet(side, 3, out_channels=3, **settings)
        published = UNetModel(image_size=side, in_channels=3, out_channels=3, **settings).to(_device())
        published.load_state_dict(ours.state_dict())
        x, t = torch.randn(count, 3, side, side, device=_device()), torch.rand(count, device=_device()) * 999
        for precision in ("fp32", "bf16"):
            yield _calls(f"{name}, call in {precision}", ours, published, precision, (x, t))
            yield _steps(f"{name}, step in {precision}", ours, published, precision, (x, t))


def _calls(
    what: str, ours: nn.Module, published: nn.Module, precision: Any, batch: tuple[Tensor, Tensor]
) -> Result:
    runtime = Runtime(device=_device().type, precision=precision)  # type: ignore[arg-type]
    model = Inference(copy.deepcopy(ours), runtime)

    @torch.no_grad()
    def run(call: Callable[..., Tensor]) -> None:
        call(*batch)
        _wait()

    found = compare(what, lambda: run(model.call), "published, fp32", lambda: run(published))
    return _with_share(found, published, batch, precision)


def _steps(
    what: str, ours: nn.Module, published: nn.Module, precision: Any, batch: tuple[Tensor, Tensor]
) -> Result:
    mine = copy.deepcopy(ours)
    prepare(mine, _device())

    def step(network: nn.Module, rounded: bool) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(network.parameters())

        def run() -> None:
            with torch.autocast(_device().type, torch.bfloat16, enabled=rounded):
                loss = (network(*batch).float() - batch[0]).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            _wait()

        return run

    theirs = step(copy.deepcopy(published), rounded=False)
    found = compare(what, step(mine, rounded=precision == "bf16"), "published, fp32", theirs)
    return _with_share(found, published, batch, precision, calls=3)  # forward, and backward twice as many


@torch.no_grad()
def _with_share(
    found: Result, published: nn.Module, batch: tuple[Tensor, Tensor], precision: str, calls: int = 1
) -> Result:
    """With the share of the matrix rate at which ours does the operations of so many calls."""
    with FlopCounterMode(display=False) as counter:
        published(*batch)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    return replace(found, share=calls * counter.get_total_flops() / found.ours_s / matrix_rate(kind))


def matrix_rate(kind: torch.dtype, side: int = 2048) -> float:
    """Operations per second of a product of two matrices, the best of several."""
    a, seconds = torch.randn(side, side, device=_device()).to(kind), []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        _wait()
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)
