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
CACHED = 2**19  # numbers that are normalised at a time: 2 MB in float32, which stay in the cache
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
    factor, summand = _line(norm, x, *_moments(h), norm.weight, norm.bias, *moves)
    return torch.addcmul(summand, h, factor, out=h)


def activated(norm: nn.GroupNorm, x: Tensor, *moves: Tensor) -> Tensor:
    """SiLU of `normalised`, with a gradient."""
    return _Activated.apply(norm, x, norm.weight, norm.bias, *moves)  # type: ignore[no-any-return, no-untyped-call]


class _Activated(torch.autograd.Function):
    """Only ``silu(factor x + summand)`` is differentiated by hand; the rest is a number for every channel."""

    @staticmethod
    def forward(ctx: Any, norm: nn.GroupNorm, x: Tensor, *given: Tensor) -> Tensor:
        values = (*_moments(x), *given)
        ctx.norm = norm
        ctx.save_for_backward(x, *values)
        output = torch.empty_like(x)
        for part, out, factor, summand in _cached(x, output, *_line(norm, x, *values)):
            h = part.float()
            out.copy_(F.silu(torch.addcmul(summand, h, factor, out=h), inplace=True))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, *values = ctx.saved_tensors
        leaves = [value.detach().requires_grad_() for value in values]
        with torch.enable_grad():
            line = _line(ctx.norm, x, *leaves)
        factors, summands = (part.detach() for part in line)
        inners = torch.empty_like(x, dtype=torch.float32)
        of_factor, of_summand = inners.new_empty(2, *x.shape[:2])
        for part, of_part, inner, factor, summand, *sums in _cached(
            x, gradient, inners, factors, summands, of_factor, of_summand
        ):
            h = part.float()
            torch.addcmul(summand, h, factor, out=inner)
            torch.ops.aten.silu_backward.grad_input(of_part.float(), inner, grad_input=inner)
            _sums(h.mul_(inner), out=sums[0])
            _sums(inner, out=sums[1])
        of_line = [_spread(part, x) for part in (of_factor, of_summand)]
        of_sum, of_square, *rest = torch.autograd.grad(line, leaves, of_line)
        of_x, of_moments = torch.empty_like(x), (_spread(of_sum, x), _spread(2 * of_square, x))
        for part, out, inner, factor, constant, slope in _cached(x, of_x, inners, factors, *of_moments):
            out.copy_(torch.addcmul(constant, inner, factor, out=inner).addcmul_(part.float(), slope))
        return None, of_x, *rest


def _cached(*whole: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of one batch, cut into as many images at a time as stay in the cache; the first holds them."""
    images = max(1, CACHED // whole[0].shape[1:].numel())
    return zip(*(part.split(images) for part in whole), strict=True)


def _moments(x: Tensor) -> Tensor:
    """Sums [2,B,C] over the pixels of x and of its squares."""
    moments = torch.empty(2, *x.shape[:2])
    for part, of_values, of_squares in _cached(x, *moments):
        h = part.float()
        _sums(h, out=of_values)
        _sums(h.square(), out=of_squares)
    return moments


def _sums(x: Tensor, out: Tensor) -> None:
    """Put sums [B,C] over the pixels of x [B,C,...] into ``out``."""
    torch.sum(x.flatten(2), 2, out=out)


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
