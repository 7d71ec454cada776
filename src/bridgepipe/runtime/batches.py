"""The pieces in which networks run: whole batches, halved when memory is short."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError, is_out_of_memory
from bridgepipe.finite import finite, naming

T = TypeVar("T")
UNIT = 16  # see `unit`


def unit(batch_size: int) -> int:
    """How many items a network call has at least.

    A convolution of few images takes other kernels than one of many, which moves the last bits of each image.
    Among multiples of 16 it does not, on a CPU with 1, 2, 4, 8 or 16 threads: neither the last batch nor one
    that is halved for lack of memory differs there from the others.
    """
    return min(UNIT, batch_size)


def _filled(count: int, batch_size: int) -> int:
    """Size of the network call for the last ``count`` items."""
    # with 1 or 2 threads multiples of 4 are as good from 16 on
    few_threads = torch.get_num_threads() <= 2 and not torch.cuda.is_available()
    least = unit(batch_size)
    step = 4 if few_threads and least == UNIT else least
    return max(least, -(-count // step) * step)


def whole(batch_size: int) -> int:
    """The batch size rounded down to a multiple of 16; one below 16 unchanged."""
    return batch_size - batch_size % unit(batch_size)


def in_batches(
    run: Callable[[Sequence[Any]], T], items: Sequence[Any], batch_size: int, label: str, pad: bool = True
) -> Iterator[T]:
    """Results of ``run`` over consecutive pieces of ``items``; short of memory, the pieces halve.

    Args:
        run: makes tensors or arrays with a row per item, alone or in tuples, lists or dataclasses.
        items: numbers or files of what there is to do; randomness belongs to the item.
        batch_size: items per call of ``run``, at most.
        label: name of the work, for messages.
        pad: repeat the last item until the kernels are those of a whole batch, see `unit`; the repeated are
            cut off.

    Raises:
        UserError: a single item does not fit into memory, or a result is not finite.
    """
    start, batch_size = 0, whole(batch_size)
    while start < len(items):
        piece = items[start : start + batch_size]
        padded = [*piece, *[piece[-1]] * (_filled(len(piece), batch_size) - len(piece))] if pad else piece
        try:
            with naming(label, padded):
                result = _rows(run(padded), len(piece))
        except Exception as e:
            if not is_out_of_memory(e):
                raise
            if len(padded) == 1:
                raise UserError("out of memory with one image", label, "use a smaller image size") from None
            batch_size = whole(len(padded) // 2)
            torch.cuda.empty_cache()
            print(f"out of memory: going on with {batch_size} images at a time", file=sys.stderr, flush=True)
            continue
        yield result
        start += len(piece)


def _rows(value: Any, n: int) -> Any:
    """The first ``n`` rows of everything in a result that has rows, found finite."""
    if isinstance(value, Tensor):
        return finite(value[:n], "a result")
    if isinstance(value, np.ndarray):
        finite(torch.from_numpy(value[:n]), "a result")
        return value[:n]
    if isinstance(value, tuple | list):
        return type(value)(_rows(v, n) for v in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _rows(getattr(value, f.name), n) for f in fields(value)})
    return value


def count(batch: Any) -> int:
    """Rows of a batch: an array or a tensor, or the first of several."""
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    return next((len(part) for part in parts if isinstance(part, Tensor | np.ndarray)), len(parts))
