"""Where, in which pieces and by how many processes networks run; at most the last bits of a result differ."""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, distributed, nn

from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError
from bridgepipe.finite import finite
from bridgepipe.names import Precision
from bridgepipe.runtime import devices, launch
from bridgepipe.runtime.batches import count, in_batches, whole
from bridgepipe.runtime.progress import Progress

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
# how long a process waits for the others, which may be at a batch of thousands of network calls
PATIENCE = timedelta(hours=2)

_stores: list[distributed.Store] = []  # which must live as long as the processes use them
RUNTIME = Runtime()


@dataclass(frozen=True)
class Place:
    """Where networks run, and how they are called there.

    Attributes:
        device: device of this process.
        dtype: lower precision that convolutions and matrix products are called in; None: that of the weights.
    """

    device: torch.device
    dtype: torch.dtype | None = None

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of the networks; a block around several calls casts their weights once."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, self.dtype)


def placed(device: str = "auto", precision: Precision | None = None) -> Place:
    """Device and precision of this process, joined with the others that a launcher started.

    Args:
        device: a name of `config.Runtime.device`.
        precision: precision of the networks called under ``autocast`` and of the convolutions of a GPU;
            None: unchanged.

    Raises:
        UserError: the device is unavailable, or there are fewer devices than processes.
    """
    devices.check(device, precision)
    # importing accelerate takes a tenth of a second, which one process does not need
    there = devices.named(device) if _wanted() == 1 else accelerator(device, precision).device
    return Place(there, {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision or ""))


def accelerator(device: str = "auto", precision: Precision | None = None) -> Accelerator:
    """`placed` as accelerate's object, for training and for several processes; raises as it does."""
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    devices.check(device, precision)
    wanted = _wanted()
    # without a GPU accelerate would take each process for the only one, unless it is told to use the CPU
    cpu = device == "cpu" or (wanted > 1 and not torch.cuda.is_available())
    _serve_the_others()
    made = Accelerator(
        mixed_precision="no" if precision in ("auto", "fp32", "tf32") else precision,
        cpu=cpu,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if made.num_processes != wanted:
        raise UserError(
            f"{wanted} processes were started, {made.num_processes} joined",
            "runtime.processes",
            "set runtime.device to cpu or cuda, or processes to 1",
        )
    atexit.register(_leave)
    return made


def _wanted() -> int:
    """How many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", 1))


def _serve_the_others() -> None:
    """In the first process of a command: the store in which all meet, on the socket that `launch` opened."""
    if listener := os.environ.pop(launch.LISTENER, None):
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        _stores.append(
            distributed.TCPStore(
                *address, is_master=True, wait_for_workers=False, master_listen_fd=int(listener)
            )
        )


def _leave() -> None:
    # threads of the group that are still there when Python ends would abort the process
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


class Inference:
    """A trained network at work on a device.

    Args:
        network: network, which is put into evaluation mode, without gradients.
        runtime: device, precision, batch_size, channels_last and compile are read.
    """

    def __init__(self, network: nn.Module, runtime: Runtime = RUNTIME) -> None:
        self.network, self.batch_size = network.eval().requires_grad_(False), runtime.batch_size
        self._place = placed(runtime.device, runtime.precision)
        devices.prepare(self.network, self.device, runtime.channels_last, runtime.compile)
        if self._place.dtype is not None:
            devices.round_weights(self.network, self._place.dtype)

    @property
    def device(self) -> torch.device:
        return self._place.device

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of the network; a block around several calls casts its weights once."""
        return self._place.autocast()

    def call(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        """Output of the network, in the dtype of x and found finite."""
        with self.autocast():
            output = self.network(x, t, *labels)
        return finite(output, "the output of the network", t).to(x.dtype)


# several processes


def rank_and_world_size() -> tuple[int, int]:
    """The rank of this process and the world size: (0, 1) when it works alone."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def is_main() -> bool:
    """Whether this process writes results."""
    return rank_and_world_size()[0] == 0


class Keeps(Protocol):
    """What keeps finished batches, see `finished.Finished`."""

    def begin(self, label: str) -> str: ...

    def rows(self, work: str) -> int: ...

    def batches(self, work: str) -> Iterator[Any]: ...

    def add(self, work: str, batch: Any) -> None: ...


_keeper: ContextVar[Keeps | None] = ContextVar("keeper", default=None)


@contextmanager
def keeping(keeper: Keeps) -> Iterator[None]:
    """In the block `shared` adds its batches to ``keeper``, and does not do again those that are there."""
    before = _keeper.set(keeper)
    try:
        yield
    finally:
        _keeper.reset(before)


def keeper() -> Keeps | None:
    """What keeps the batches of the work at hand; None outside a block of `keeping`."""
    return _keeper.get()


def shared(
    run: Callable[[Sequence[Any]], T], items: Sequence[Any], batch_size: int, label: str, pad: bool = True
) -> Iterator[T]:
    """`in_batches` by all processes, in the order of the items, handed to the main process.

    The processes take whole batches in turn, so a result comes out of the same batch however many there are.
    In a block of `keeping`, the batches of an earlier call come first and are not done again.

    Args:
        run: makes arrays or tensors on the CPU with a row per item, or tuples of them.
        items: what there is to do; the same in every process.
        batch_size, label, pad: see `in_batches`.

    Yields:
        All results on the main process, none on the others (see `exhaust`).
    """
    finished = keeper()
    name = label if finished is None else finished.begin(label)
    done = 0 if finished is None else all_gather(finished.rows(name))[0]
    with Progress(len(items), done, label, shown=is_main() and len(items) > 0) as progress:
        if finished is not None:
            yield from finished.batches(name)
        for batch in _in_turn(run, items[done:], batch_size, label, pad):
            if finished is not None:
                finished.add(name, batch)
            progress.after(count(batch))
            yield batch


def _in_turn(
    run: Callable[[Sequence[Any]], T], items: Sequence[Any], batch_size: int, label: str, pad: bool
) -> Iterator[T]:
    rank, world = rank_and_world_size()
    if world == 1:
        yield from in_batches(run, items, batch_size, label, pad)
        return
    size = whole(batch_size)
    for start in range(0, len(items), world * size):
        mine = items[start : start + world * size][rank * size : (rank + 1) * size]
        done = list(in_batches(run, mine, size, label, pad))
        everyone: list[Any] | None = [None] * world if rank == 0 else None
        distributed.gather_object(done, everyone)
        for part in everyone or []:
            yield from part


def exhaust(results: Iterable[Any]) -> None:
    """Do this process's share of `shared` results, of which the main process alone makes something."""
    deque(results, maxlen=0)


def shared_by_all(
    run: Callable[[Sequence[Any]], T], items: Sequence[Any], batch_size: int, label: str, pad: bool = True
) -> list[T]:
    """All results of `shared` in every process, where each needs them to go on."""
    return broadcast(list(shared(run, items, batch_size, label, pad)))


def broadcast(value: T) -> T:
    """The main process's value, in every process."""
    values = [value]
    if rank_and_world_size()[1] > 1:
        distributed.broadcast_object_list(values)
    return values[0]


def all_gather(value: T) -> list[T]:
    """The value of every process, by number, in every process."""
    world = rank_and_world_size()[1]
    if world == 1:
        return [value]
    values: list[Any] = [None] * world
    distributed.all_gather_object(values, value)
    return values
