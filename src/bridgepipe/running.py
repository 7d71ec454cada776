"""Where and in which pieces networks run outside training. Speed only, never results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from accelerate import Accelerator
from tqdm import tqdm

from bridgepipe.errors import UserError

T = TypeVar("T")


def accelerator(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """Device and precision of this process.

    Raises:
        UserError: the device is not there.
    """
    there: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if device in there and not there[device]():
        raise UserError(f"no {device} device on this machine", "runtime.device", "set it to auto or cpu")
    return Accelerator(mixed_precision="no" if precision == "fp32" else precision, cpu=device == "cpu")


def in_batches(
    run: Callable[[Sequence[int]], T], items: Sequence[int], batch_size: int, label: str
) -> Iterator[T]:
    """Results of ``run`` over consecutive pieces of ``items``; short of memory, the pieces halve.

    Raises:
        UserError: a single item does not fit into memory.
    """
    with tqdm(total=len(items), desc=label, unit="image", disable=not sys.stderr.isatty()) as bar:
        start = 0
        while start < len(items):
            piece = items[start : start + batch_size]
            try:
                result = run(piece)
            except torch.OutOfMemoryError:
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
