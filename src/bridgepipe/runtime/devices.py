"""Devices, and the precision and memory layout in which a network is called on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError
from bridgepipe.names import Precision
from bridgepipe.runtime import launch

Layout = Literal["auto"] | bool
THERE: Mapping[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}


def check(device: str, precision: Precision | None) -> None:
    """Refuse what this machine lacks, and set what networks on a GPU compute with."""
    if device in THERE and not THERE[device]():
        raise UserError(f"no {device} device on this machine", "runtime.device", "set it to auto or cpu")
    on_cpu = named(device).type == "cpu"
    if not on_cpu and launch.local_world_size() > max(1, torch.cuda.device_count()):
        raise UserError(
            f"{launch.local_world_size()} processes for {torch.cuda.device_count()} GPUs",
            "runtime.processes",
            "start one per GPU",
        )
    if precision == "fp16" and on_cpu:
        # accelerate would compute in float32 without a word, and PyTorch's own is 100 times slower
        raise UserError("fp16 on a CPU", "runtime.precision", "take fp32, or bf16 for speed")
    torch.backends.cudnn.deterministic = True  # trained twice, the same bytes
    if precision is not None:
        torch.backends.cudnn.allow_tf32 = precision != "fp32"


def decided(runtime: Runtime, quick: bool) -> Runtime:
    """The settings with another precision than ``auto``.

    Args:
        quick: bf16 is wanted where the device computes in it; otherwise, and elsewhere, tf32.
    """
    if runtime.precision != "auto":
        return runtime
    rounded = quick and _computes_in_bf16(named(runtime.device))
    return runtime.model_copy(update={"precision": "bf16" if rounded else "tf32"})


def _computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16, without which it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)
    by_cpu = torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported
    return device.type == "cpu" and any(there() for there in by_cpu)


def named(device: str) -> torch.device:
    """The device of a setting: with ``auto`` the GPU that is there."""
    there = (name for name, available in THERE.items() if available())
    return torch.device(next(there, "cpu") if device == "auto" else device)


@contextmanager
def one_thread() -> Iterator[None]:
    """One core, however many PyTorch may use: what is measured or trained does not depend on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def full_precision() -> Iterator[None]:
    """Disable TF32 in the block, whatever the precision of this process: for all metrics."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def prepare(
    network: nn.Module, device: torch.device, channels_last: Layout = "auto", compile: bool = False
) -> None:
    """Put a network on the device, in the memory layout that is faster there, compiled when asked for.

    Args:
        channels_last: ``auto`` is True on a CPU; on a GPU group normalisation loses more than the
            convolutions win. A network of points has no layout.
    """
    last = channels_last is True or (channels_last == "auto" and device.type == "cpu")
    image = any(p.dim() == 4 for p in network.parameters())
    layout = torch.channels_last if image and last else torch.contiguous_format
    network.to(device, memory_format=layout)  # type: ignore[call-overload]
    if compile:
        network.compile()


def round_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of convolutions and linear layers, as autocast would again at every call."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.to(dtype)
