"""Linear degradations: the operator A, and its pseudo-inverse, with which a restoration is made to agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

LEAST = 1e-3  # singular values below this share of the largest count as zero


@dataclass(frozen=True)
class Linear:
    """A of a batch of images, each of which may have an operator of its own.

    Attributes:
        apply: A, [B,C,H,W] to [B,C,H,W].
        pseudo_inverse: A+, the other way.
    """

    apply: Callable[[Tensor], Tensor]
    pseudo_inverse: Callable[[Tensor], Tensor]

    def agreeing(self, x: Tensor, seen: Tensor) -> Tensor:
        """The image nearest to ``x`` that A turns into ``seen``: x + A+ (seen - A x)."""
        return x + self.pseudo_inverse(seen - self.apply(x))


def separable(rows: Tensor, columns: Tensor) -> Linear:
    """Rows [B,H,H] or [H,H] act on every column of an image, columns [B,W,W] or [W,W] on every row."""
    left, right = (matrix[..., None, :, :] for matrix in (rows, columns))

    @cache
    def back() -> tuple[Tensor, Tensor]:  # only when it is asked for: training never does
        return _inverse(left), _inverse(right)

    def pseudo_inverse(y: Tensor) -> Tensor:
        rows_back, columns_back = (matrix.to(y.device) for matrix in back())
        return rows_back @ y @ columns_back.mT

    return Linear(lambda x: left.to(x.device) @ x @ right.mT.to(x.device), pseudo_inverse)


def _inverse(matrix: Tensor) -> Tensor:
    return torch.linalg.pinv(matrix.double(), rtol=LEAST).float()


def least_squares(apply: Callable[[Tensor], Tensor], steps: int = 30) -> Linear:
    """An operator without a matrix: A+ by conjugate gradients on the normal equations.

    The steps end before the smallest singular values are reached, which would only raise noise.
    """

    def pseudo_inverse(y: Tensor) -> Tensor:
        with torch.enable_grad():
            origin = torch.zeros_like(y).requires_grad_()
            image = apply(origin)

        def adjoint(z: Tensor) -> Tensor:
            return torch.autograd.grad(image, origin, z, retain_graph=True)[0]

        x, residual = torch.zeros_like(y), y.clone()
        gradient = adjoint(residual)
        direction, size = gradient, _squared(gradient)
        for _ in range(steps):
            moved = apply(direction)
            length = size / _squared(moved).clamp(min=1e-20)
            x, residual = x + length * direction, residual - length * moved
            gradient = adjoint(residual)
            size, before = _squared(gradient), size
            direction = gradient + size / before.clamp(min=1e-20) * direction
        return x

    return Linear(apply, pseudo_inverse)


def _squared(x: Tensor) -> Tensor:
    return x.square().sum(dim=(1, 2, 3), keepdim=True)
