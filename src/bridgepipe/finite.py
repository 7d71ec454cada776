"""Not a number: found where it appears, as clamped and cut to 8 bits it would be a black pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe.errors import UserError

if TYPE_CHECKING:  # files and stores are opened without torch
    from torch import Tensor

FILE_MEND = "give another file, or make it again: it is of a training that diverged, or damaged"
MEND = "its training diverged or its weights are damaged; with precision fp16 try fp32"


class NotFinite(UserError):
    """NaN or infinity in a row of a batch, which `naming` turns into what the row is of.

    Attributes:
        what: what it was found in.
        row: the first such row.
    """

    def __init__(self, what: str, row: int) -> None:
        super().__init__(f"{what} is not a finite number", f"row {row}", MEND)
        self.what, self.row = what, row


def finite(x: Tensor, what: str, t: Tensor | None = None) -> Tensor:
    """``x`` itself, when all of it is finite.

    Args:
        x: ``[B, ...]`` of any dtype.
        what: x is, for the message.
        t: the time of every row ``[B]``, where it has one.

    Raises:
        NotFinite: with the first row that is not.
    """
    # one pass, one number to wait for: a sum is finite only if all are (a long one may still overflow)
    if not x.is_floating_point() or bool(x.detach().sum().isfinite()):
        return x
    bad = (~x.detach().isfinite().flatten(1).all(dim=1)).nonzero()
    if len(bad):
        row = int(bad[0])
        raise NotFinite(what if t is None else f"{what} at t = {float(t[row]):g}", row)
    return x


def all_finite(tensors: Mapping[str, Tensor], path: object) -> None:
    """Refuse a file of tensors that holds NaN or infinity.

    Args:
        tensors: tensors by name, of any shapes and dtypes.
        path: the file, for the message.

    Raises:
        UserError: with the name of the first such tensor.
    """
    for name, tensor in tensors.items():
        # a sum is one pass; only where it overflows is every number looked at
        if tensor.is_floating_point() and not tensor.sum().isfinite() and not tensor.isfinite().all():
            raise UserError(f"{name} in it holds a number that is not finite", path, FILE_MEND)


def number(value: float, option: str) -> float:
    """A number that a person gave on the command line.

    Raises:
        UserError: the number is NaN or infinite.
    """
    if not math.isfinite(value):
        raise UserError(f"{value} is not a finite number", option, "give a finite number")
    return value


@contextmanager
def naming(where: str, names: Any = None) -> Iterator[None]:
    """Say which image it is that is not finite.

    Args:
        where: the work, or the file.
        names: number or file of every row of the batch; None: there is one only.

    Raises:
        UserError: in place of `NotFinite`.
    """
    try:
        yield
    except NotFinite as e:
        what = f"{e.what} is not a finite number"
        name = None if names is None else names[e.row]
        place = where if name is None else f"{where}, {name if isinstance(name, Path) else f'number {name}'}"
        raise UserError(what, place, MEND) from None
