"""What a network costs on this machine: operations, seconds and memory, known before a job runs.

Operations and live memory are counted on PyTorch's meta device, which computes shapes alone. Seconds are
measured with the network itself, on smaller pictures where one call would take long.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from bridgepipe.networks import adm, ddpm, mlp, residual
from bridgepipe.runtime.devices import prepare
from bridgepipe.runtime.work import TRAINED

MEASURED = 1e10  # operations of a call that is timed, at most
SMALLEST = 32  # pixels of the smaller pictures that it is timed on, at least
# Resident memory of a verb on a CPU, of training and of calls alone: this much at rest, and the live tensors
# times a factor for the library's own buffers. Six trainings of 384 to 938 MB differ by 2 to 12 %.
AT_REST = {True: 415e6, False: 290e6}
BESIDE = {True: 1.15, False: 1.9}
HELD = {True: 4, False: 1}  # numbers for a weight: itself; in training AdamW's two and the average, too


@dataclass(frozen=True)
class Net:
    """A network by the arguments of its constructor; see `work.Net`, whose JSON it reads."""

    network: Mapping[str, Any]
    size: tuple[int, int] | None
    inputs: int
    outputs: int

    def build(self) -> nn.Module:
        """The network, freshly initialised."""
        arguments = dict(self.network)
        kind = arguments.pop("kind")
        if kind == "points":
            return mlp.PointNet(in_channels=self.inputs, out_channels=self.outputs, **arguments)
        if kind == "residual":
            return residual.ResidualUNet(self.inputs, self.outputs, **arguments)
        side = max(self.size or ())
        if kind == "ddpm":
            return ddpm.UNet(side, self.inputs, out_ch=self.outputs, **arguments)
        return adm.UNet(side, self.inputs, out_channels=self.outputs, **arguments)

    def given(self, images: int, size: tuple[int, int] | None) -> tuple[torch.Tensor, torch.Tensor]:
        """What it is called with: states and times."""
        shape = (self.inputs,) if size is None else (self.inputs, *size)
        return torch.zeros(images, *shape), torch.zeros(images)


class Peak(TorchDispatchMode):
    """The most bytes of tensors that were alive at once, of those that were made inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            if storage._cdata not in given:  # else a view, or an operation in place
                self._add(storage)
        return result

    def _add(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive[key] = weakref.ref(storage, lambda _: self._remove(key, size))
            self.now += size
            self.most = max(self.most, self.now)

    def _remove(self, key: int, size: int) -> None:
        del self._alive[key]
        self.now -= size


def _storages(tree: Any) -> Iterator[Any]:
    yield from (leaf.untyped_storage() for leaf in tree_iter(tree) if isinstance(leaf, torch.Tensor))


@dataclass(frozen=True)
class Footprint:
    """What a network costs.

    Attributes:
        parameters: numbers that it holds.
        operations: floating-point operations of a call for one image.
        live: bytes of the tensors that are alive at once beside the weights.
        trains: whether these are of a training step, or of a call alone.
    """

    parameters: int
    operations: float
    live: float
    trains: bool

    @property
    def state(self) -> float:
        """Bytes of a training's state on the disk: weights, average, and AdamW's two numbers."""
        return 4.0 * 4 * self.parameters

    @property
    def memory(self) -> float:
        """Bytes that a job needs on a CPU."""
        weights = 4.0 * self.parameters * HELD[self.trains]
        return AT_REST[self.trains] + weights + BESIDE[self.trains] * self.live


def of(net: Net, images: int, trains: bool) -> Footprint:
    """Count on the meta device, with so many images at a time; nothing is computed."""
    with torch.device("meta"):
        network = net.build()
        parameters = sum(p.numel() for p in network.parameters())
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            network(*net.given(1, net.size))
        with Peak() as peak, torch.set_grad_enabled(trains):
            out = network(*net.given(images, net.size))
            if trains:
                out.square().mean().backward()
    return Footprint(parameters, counted.get_total_flops(), peak.most, trains)


def rate(net: Net, cost: Footprint, images: int, device: torch.device) -> float:
    """Operations a second of calls, or of training steps, for so many images at a time, as measured here.

    The operations of a training step count as three calls'.
    """
    size, share = _measured_size(net, cost)
    images = max(1, min(images, int(MEASURED / (cost.operations * share))))
    network = net.build()
    prepare(network, device)
    given = [tensor.to(device) for tensor in net.given(images, size)]
    seconds = min(_timed(network, given, cost.trains) for _ in range(2))
    return cost.operations * share * images * (TRAINED if cost.trains else 1) / seconds


def _measured_size(net: Net, cost: Footprint) -> tuple[tuple[int, int] | None, float]:
    """The size of the pictures that a network is timed on, and its share of all pixels."""
    size, share = net.size, 1.0
    while size is not None and cost.operations * share > MEASURED and min(size) >= 2 * SMALLEST:
        size, share = (size[0] // 2, size[1] // 2), share / 4
    return size, share


def _timed(network: nn.Module, given: list[torch.Tensor], trains: bool) -> float:
    """Seconds of a call, or of a call and its gradient."""
    began = time.perf_counter()
    with torch.set_grad_enabled(trains):
        out = network(*given)
        if trains:
            out.square().mean().backward()
            network.zero_grad()
    if given[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began
