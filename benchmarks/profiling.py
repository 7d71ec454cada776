"""`python -m benchmarks.profiling`: where a network's time goes, and how near the processor's limit it is.

The limit is the rate at which PyTorch multiplies two large matrices, in the precision of the convolutions.
Prints the table of docs/speed.md; the columns about the published code are filled where `BRIDGEPIPE_PEERS`
names a checkout of it, see `benchmarks.networks`.
"""

from __future__ import annotations

import copy
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import bridgepipe.cli  # noqa: F401  sets what PyTorch reads when it is imported
from benchmarks.networks import CALLED, against_published, matrix_rate
from bridgepipe.config.runtime import Runtime
from bridgepipe.evaluation.tables import markdown, table
from bridgepipe.networks.adm import UNet
from bridgepipe.runtime.devices import prepare
from bridgepipe.runtime.running import Inference

REPEATED = 5
# names of PyTorch's operators, by what they are for; the first kind that fits counts
KINDS = {
    "convolutions": ("conv",),
    "attention, matrices": ("attention", "Attended", "bmm", "mm", "softmax"),
    "normalisation, SiLU": ("norm", "silu", "Activated", "addcmul", "pow", "rsqrt", "sum"),
    "optimiser": ("Optimizer", "lerp", "addcdiv", "sqrt", "AdamW"),
    "copies": ("copy", "cat", "clone", "empty"),
}
OTHER = "other"
# what no code over PyTorch's convolutions and products does without
NEEDED = "convolutions", "attention, matrices"


def main() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the CPU is measured, also where there is a GPU
    print(markdown(table(list(_rows()))))


def _rows() -> Iterator[dict[str, Any]]:
    ratios = {result.what: result.ratio for result in against_published()}
    for name, (settings, side, count) in CALLED.items():
        torch.manual_seed(0)
        network = UNet(side, 3, out_channels=3, **settings)
        batch = torch.randn(count, 3, side, side), torch.rand(count) * 999
        for precision in ("fp32", "bf16"):
            for what, work in (("call", _call), ("step", _step)):
                row = f"{name}, {what} in {precision}"
                done = work(copy.deepcopy(network), batch, precision)
                yield {"network": row} | _row(done, precision, ratios.get(row))


def _call(network: nn.Module, batch: tuple[torch.Tensor, ...], precision: Any) -> Callable[[], Any]:
    model = Inference(network, Runtime(device="cpu", precision=precision))
    return torch.no_grad()(lambda: model.call(*batch))


def _step(network: nn.Module, batch: tuple[torch.Tensor, ...], precision: Any) -> Callable[[], Any]:
    prepare(network, torch.device("cpu"))
    optimizer = torch.optim.AdamW(network.parameters())

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = (network(*batch).float() - batch[0]).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def _row(work: Callable[[], Any], precision: str, ratio: float | None) -> dict[str, Any]:
    """Milliseconds, shares of the limit, what could be gained, and shares of the time in percent."""
    work()
    with FlopCounterMode(display=False) as counter, _Passed() as passed:
        work()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(REPEATED):
            work()
    spent: defaultdict[str, float] = defaultdict(float)
    for event in found.key_averages():
        spent[_kind(event.key)] += event.self_cpu_time_total / 1e6 / REPEATED
    whole = sum(spent.values())
    needed = sum(spent[kind] for kind in NEEDED)
    rest = whole - needed - spent["optimiser"]
    rate = matrix_rate(torch.bfloat16 if precision == "bf16" else torch.float32)
    counts = counter.get_flop_counts()["Global"]
    of_convolutions = sum(count for operator, count in counts.items() if "conv" in str(operator))
    return {
        "ms": round(1e3 * whole),
        "of the limit": round(counter.get_total_flops() / whole / rate, 2),
        "convolutions alone, of the limit": round(of_convolutions / spent["convolutions"] / rate, 2),
        "times as fast as published": ratio and round(ratio, 2),
        "were the rest free": ratio and round(ratio * whole / needed, 2),
        "rest, times its least": round(rest * copy_rate() / passed.bytes, 1),
        **{f"{kind}, %": round(100 * spent[kind] / whole) for kind in (*KINDS, OTHER)},
    }


class _Passed(TorchDispatchMode):
    """Counts the bytes of images and of their gradients that convolutions take and put out.

    What lies between the convolutions must read the ones and write the others at least once.
    """

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if "convolution" in str(func):
            image = output[0] if isinstance(output, tuple) else output  # of gradients the first, if any
            self.bytes += sum(tensor.nbytes for tensor in (args[0], image) if tensor is not None)
        return output


def copy_rate(numbers: int = 2**21) -> float:
    """Bytes per second, read and written, of the best of several copies, of a tensor like the demo's."""
    a, b, seconds = torch.zeros(numbers), torch.zeros(numbers), []
    for _ in range(20):
        start = time.perf_counter()
        b.copy_(a)
        seconds.append(time.perf_counter() - start)
    return 2 * a.nbytes / min(seconds)


def _kind(operator: str) -> str:
    return next((kind for kind, names in KINDS.items() if any(name in operator for name in names)), OTHER)


if __name__ == "__main__":
    main()
