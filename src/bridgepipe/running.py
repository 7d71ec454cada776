"""Where, in which pieces and by how many processes networks run. Speed only, never results."""

from __future__ import annotations

import atexit
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import distributed, nn
from tqdm import tqdm

from bridgepipe import launch
from bridgepipe.errors import UserError, is_out_of_memory
from bridgepipe.names import Precision

T = TypeVar("T")
Layout = Literal["auto"] | bool
# how long a process waits for the others, which may be at a batch of thousands of network calls
PATIENCE = timedelta(hours=2)


def accelerator(device: str = "auto", precision: Precision | None = None) -> Accelerator:
    """Device and precision of this process, joined with the others that a launcher started.

    Args:
        device: a name of `params.Runtime.device`.
        precision: of the networks called under ``autocast``, and of the convolutions of a GPU; None: as
            it is.

    Raises:
        UserError: the device is not there, or not as often as there are processes.
    """
    there: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if device in there and not there[device]():
        raise UserError(f"no {device} device on this machine", "runtime.device", "set it to auto or cpu")
    wanted = int(os.environ.get("WORLD_SIZE", 1))
    # without a GPU accelerate would take each process for the only one, unless it is told to use the CPU
    cpu = device == "cpu" or (wanted > 1 and not torch.cuda.is_available())
    if not cpu and launch.here() > max(1, torch.cuda.device_count()):
        raise UserError(
            f"{launch.here()} processes for {torch.cuda.device_count()} GPUs",
            "runtime.processes",
            "start one per GPU",
        )
    torch.backends.cudnn.deterministic = True  # trained twice, the same bytes
    if precision is not None:
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
    made = Accelerator(
        mixed_precision="no" if precision in ("fp32", "tf32") else precision,
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


@contextmanager
def exactly() -> Iterator[None]:
    """Convolutions of a GPU in full fp32, whatever the precision of this process: for what measures."""
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


def _leave() -> None:
    # threads of the group that are still there when Python ends would abort the process
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def in_batches(
    run: Callable[[Sequence[int]], T], items: Sequence[int], batch_size: int, label: str
) -> Iterator[T]:
    """Results of ``run`` over consecutive pieces of ``items``; short of memory, the pieces halve.

    Raises:
        UserError: a single item does not fit into memory.
    """
    quiet = not sys.stderr.isatty() or place()[1] > 1
    with tqdm(total=len(items), desc=label, unit="image", disable=quiet) as bar:
        start = 0
        while start < len(items):
            piece = items[start : start + batch_size]
            try:
                result = run(piece)
            except Exception as e:
                if not is_out_of_memory(e):
                    raise
                if batch_size == 1:
                    raise UserError(
                        "out of memory with one image", label, "use a smaller image size"
                    ) from None
                batch_size = max(1, len(piece) // 2)
                torch.cuda.empty_cache()
                print(f"out of memory: going on with {batch_size} images at a time", file=sys.stderr)
                continue
            yield result
            start += len(piece)
            bar.update(len(piece))


# several processes


def place() -> tuple[int, int]:
    """Number of this process and number of processes: (0, 1) when it works alone."""
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def is_main() -> bool:
    """Whether this process writes results."""
    return place()[0] == 0


def shared(
    work: Callable[[Sequence[int]], Iterable[T]], items: Sequence[int], batch_size: int
) -> Iterator[T]:
    """Results of ``work`` in the order of the items, done by all processes and handed to the main one.

    The processes take whole batches in turn, so a result comes out of the same batch however many there are.

    Args:
        work: results of consecutive items, in batches of ``batch_size``; results can be pickled and are
            on the CPU.
        items: what there is to do; the same in every process.
        batch_size: items per call of the network.

    Yields:
        All results on the main process, none on the others (see `helps`).
    """
    rank, world = place()
    if world == 1:
        yield from work(items)
        return
    for start in tqdm(range(0, len(items), world * batch_size), disable=rank > 0 or not sys.stderr.isatty()):
        mine = items[start : start + world * batch_size][rank * batch_size : (rank + 1) * batch_size]
        done = list(work(mine)) if mine else []
        everyone: list[Any] | None = [None] * world if rank == 0 else None
        distributed.gather_object(done, everyone)
        for part in everyone or []:
            yield from part


def helps(results: Iterator[Any]) -> bool:
    """Do this process's share of `shared` when it is not the main one, which alone goes on to write."""
    if is_main():
        return False
    deque(results, maxlen=0)
    return True


def together(work: Callable[[Sequence[int]], Iterable[T]], items: Sequence[int], batch_size: int) -> list[T]:
    """All results of `shared` in every process, where each needs them to go on."""
    results = [list(shared(work, items, batch_size))]
    if place()[1] > 1:
        distributed.broadcast_object_list(results)
    return results[0]


def gather(value: T) -> list[T]:
    """The value of every process, by number, in every process."""
    world = place()[1]
    if world == 1:
        return [value]
    values: list[Any] = [None] * world
    distributed.all_gather_object(values, value)
    return values
