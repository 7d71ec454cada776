"""Formulas for bf16 on a CPU, where nothing is promised of the last bits and PyTorch's own kernels are slow.

Measured with torch 2.13: of few pixels that lie side by side the normalisation takes 3 to 15 times as long as
its parts and its gradient up to 3 times, and the fused attention gains nothing from bf16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MANY = 1024  # pixels from which on PyTorch normalises channels_last images in whole rows
SCORES = 2**20  # of attention that are held at a time: 2 MB
TOKENS = 2048  # up to which products of matrices are quicker than the fused kernel


def is_rounded(x: Tensor) -> bool:
    """Whether a network is called in bf16 on a CPU; a compiled one fuses by itself."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and not torch.compiler.is_compiling()


def learns(*values: Tensor) -> bool:
    """Whether somebody may ask for the gradient of what is made of ``values``."""
    return torch.is_grad_enabled() and any(value.requires_grad for value in values)


def normalised(norm: nn.GroupNorm, x: Tensor, *moves: Tensor) -> Tensor:
    """The normalised x [B,C,...], in bf16 or float32; ``moves`` are none, or scale and shift [B,C,...]."""
    if x.is_contiguous() or x.shape[2:].numel() >= MANY:
        h = F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
        return torch.addcmul(moves[1], h, 1 + moves[0]) if moves else h
    h = x.float()
    factor, summand = _line(norm, x, _sums(h), _sums(h.square()), norm.weight, norm.bias, *moves)
    return torch.addcmul(summand, h, factor, out=h)


def activated(norm: nn.GroupNorm, x: Tensor, *moves: Tensor) -> Tensor:
    """SiLU of `normalised`, with a gradient."""
    return _Activated.apply(norm, x, norm.weight, norm.bias, *moves)  # type: ignore[no-any-return, no-untyped-call]


class _Activated(torch.autograd.Function):
    """Only ``silu(factor x + summand)`` is differentiated by hand; the rest is a number for every channel."""

    @staticmethod
    def forward(ctx: Any, norm: nn.GroupNorm, x: Tensor, *given: Tensor) -> Tensor:
        h = x.float()
        values = (_sums(h), _sums(h.square()), *given)
        factor, summand = _line(norm, x, *values)
        ctx.norm = norm
        ctx.save_for_backward(x, *values)
        return F.silu(torch.addcmul(summand, h, factor, out=h), inplace=True).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, *values = ctx.saved_tensors
        leaves = [value.detach().requires_grad_() for value in values]
        with torch.enable_grad():
            line = _line(ctx.norm, x, *leaves)
        factor, summand = (part.detach() for part in line)
        h = x.float()
        inner = torch.ops.aten.silu_backward(gradient.float(), torch.addcmul(summand, h, factor))
        of_line = [_spread(_sums(part), x) for part in (inner * h, inner)]
        of_sum, of_square, *rest = torch.autograd.grad(line, leaves, of_line)
        of_x = torch.addcmul(_spread(of_sum, x), inner, factor).addcmul_(h, _spread(of_square, x), value=2)
        return None, of_x.to(x.dtype), *rest


def _sums(x: Tensor) -> Tensor:
    """Sums [B,C] over the pixels of x [B,C,...]."""
    return x.flatten(2).sum(2)


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """Values [B,C] for every pixel of x [B,C,...]."""
    return values[..., *[None] * (x.dim() - 2)]


def _line(
    norm: nn.GroupNorm, x: Tensor, sums: Tensor, squares: Tensor, weight: Tensor, bias: Tensor, *moves: Tensor
) -> tuple[Tensor, Tensor]:
    """Factor and summand [B,C,...] that normalise and move x, from the sums of it and of its squares."""
    count = x.shape[1:].numel() // norm.num_groups
    mean, square = (
        part.unflatten(1, (norm.num_groups, -1)).sum(2, keepdim=True) / count for part in (sums, squares)
    )
    inverse = (square - mean.square()).clamp(min=0).add(norm.eps).rsqrt()
    factor = inverse * weight.unflatten(0, (norm.num_groups, -1))
    summand = bias.unflatten(0, (norm.num_groups, -1)) - mean * factor
    factor, summand = (_spread(part.flatten(1), x) for part in (factor, summand))
    if not moves:
        return factor, summand
    scale, shift = moves
    return factor * (1 + scale), summand * (1 + scale) + shift


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention [B,heads,tokens,channels] as products of matrices, with a gradient that keeps no scores."""
    parts = (part.flatten(0, 1) for part in (q * q.shape[-1] ** -0.5, k, v))
    return _Attended.apply(*parts).unflatten(0, q.shape[:2])  # type: ignore[no-any-return, no-untyped-call]


class _Attended(torch.autograd.Function):
    """``softmax(q k^T) v`` [heads,tokens,channels], of as many heads at a time as the cache takes scores."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        ctx.save_for_backward(*given)
        return torch.cat([torch.bmm(_scores(q, k), v) for q, k, v in _together(*given)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        parts = [_of_parts(*part) for part in _together(*ctx.saved_tensors, gradient)]
        return tuple(torch.cat(found) for found in zip(*parts, strict=True))


def _together(*given: Tensor) -> Iterator[tuple[Tensor, ...]]:
    heads = max(1, SCORES // given[0].shape[1] ** 2)
    return zip(*(part.split(heads) for part in given), strict=True)


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return torch.softmax(torch.bmm(q, k.transpose(1, 2)), dim=-1)


def _of_parts(q: Tensor, k: Tensor, v: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v."""
    scores = _scores(q, k)
    of_scores = torch.bmm(gradient, v.transpose(1, 2))
    inner = torch.ops.aten._softmax_backward_data(of_scores, scores, -1, scores.dtype)
    return (
        torch.bmm(inner, k),
        torch.bmm(inner.transpose(1, 2), q),
        torch.bmm(scores.transpose(1, 2), gradient),
    )
