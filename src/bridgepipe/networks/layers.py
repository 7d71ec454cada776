"""What the networks share: time embedding, group normalisation in float32, fused attention."""

from __future__ import annotations

import math
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bridgepipe.errors import UserError

GROUPS = 32
MANY = 1024  # pixels from which on PyTorch normalises channels_last images in whole rows
SCORES = 2**22  # of attention that are held at a time
Module = TypeVar("Module", bound=nn.Module)


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """Sinusoids of t: [cos(t f), sin(t f)] with f_i = 10000^(-2i/dim) (guided-diffusion's order).

    Args:
        t: timesteps or noise levels [B], integer or fractional.
        dim: width of the embedding, >= 2; an odd width ends with a zero.

    Returns:
        float32 [B,dim].
    """
    half = dim // 2
    # float32 throughout, as published: long recorded paths tell the difference
    frequencies = torch.exp(
        -math.log(10000) / half * torch.arange(half, dtype=torch.float32, device=t.device)
    )
    angles = t.float()[:, None] * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, dim % 2))


class GroupNorm(nn.GroupNorm):
    """Group normalisation with statistics in float32 (or wider), whatever the precision around it."""

    def forward(self, input: Tensor) -> Tensor:
        if is_rounded(input, self.weight):
            return self._rounded(input).to(input.dtype)
        wide = torch.promote_types(input.dtype, torch.float32)
        weight, bias = self.weight.to(wide), self.bias.to(wide)
        return F.group_norm(input.to(wide), self.num_groups, weight, bias, self.eps).to(input.dtype)

    def activated(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """SiLU of the normalised x [B,C,...], times 1 + scale and shifted where both [B,C,...] are given."""
        if is_rounded(x, self.weight):
            return F.silu(self._rounded(x, scale, shift), inplace=True).to(x.dtype)
        h = self(x)
        if scale is not None:
            h = h * (1 + scale) + shift
        return F.silu(h, inplace=not h.requires_grad)

    def _rounded(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """The normalised x, scaled and shifted, in bf16 or float32."""
        if x.is_contiguous() or x.shape[2:].numel() >= MANY:
            h = F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
            return h if scale is None or shift is None else torch.addcmul(shift, h, 1 + scale)
        # of few pixels that lie side by side PyTorch's kernel is 3 to 15 times slower than its parts
        h = x.float()
        mean, square = (self._mean_of_groups(part) for part in (h, h.square()))
        inverse = (square - mean.square()).clamp(min=0).add(self.eps).rsqrt()
        factor = inverse * self.weight.unflatten(0, (self.num_groups, -1))
        summand = self.bias.unflatten(0, (self.num_groups, -1)) - mean * factor
        factor, summand = (part.flatten(1)[..., *[None] * (x.dim() - 2)] for part in (factor, summand))
        if scale is not None and shift is not None:
            factor, summand = factor * (1 + scale), summand * (1 + scale) + shift
        return torch.addcmul(summand, h, factor, out=h)

    def _mean_of_groups(self, x: Tensor) -> Tensor:
        """Means [B,groups,1] of x [B,C,...]."""
        return x.flatten(2).sum(2).unflatten(1, (self.num_groups, -1)).sum(2, keepdim=True) / (
            x.shape[1:].numel() // self.num_groups
        )


def activated(norm: nn.Module, x: Tensor, *scale_and_shift: Tensor) -> Tensor:
    """`GroupNorm.activated` of a layer of an ``nn.Sequential``, whose types are not known."""
    return cast(GroupNorm, norm).activated(x, *scale_and_shift)


def normalization(channels: int, eps: float = 1e-5) -> GroupNorm:
    """32 groups over ``channels``.

    Raises:
        UserError: channels is no multiple of 32.
    """
    if channels % GROUPS:
        raise UserError(
            f"{channels} channels do not divide into {GROUPS} groups",
            "network width",
            f"choose channels and multipliers whose products are multiples of {GROUPS}",
        )
    return GroupNorm(GROUPS, channels, eps)


def zeroed(module: Module) -> Module:
    """The module with all its parameters set to zero: a residual branch that starts as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class Conditioned(nn.Module):
    """A block that also sees the time embedding: forward(x, emb)."""


class Stage(nn.Sequential):
    """Layers in a row; the conditioned ones among them also see the time embedding."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, emb) if isinstance(layer, Conditioned) else layer(x)
        return x


def pointwise(conv: nn.Conv1d | nn.Conv2d, tokens: Tensor) -> Tensor:
    """A 1x1 convolution applied to tokens [...,C_in] -> [...,C_out], without moving memory around."""
    return F.linear(tokens, conv.weight.flatten(1), conv.bias)


def to_tokens(x: Tensor) -> Tensor:
    """Pixels as tokens: [B,C,H,W] -> [B,HW,C]; a view when x is channels_last."""
    return x.flatten(2).transpose(1, 2)


def to_image(tokens: Tensor, like: Tensor) -> Tensor:
    """Tokens as pixels: [B,HW,C] -> [B,C,H,W] with the height and width of ``like``."""
    return tokens.transpose(1, 2).unflatten(2, like.shape[2:])


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(channels)) v for every head, through PyTorch's fused kernels.

    Args:
        q, k, v: queries, keys and values [B,tokens,heads,channels].

    Returns:
        [B,tokens,heads*channels].
    """
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    attended = _by_matrices if is_rounded(q) and q.shape[2] ** 2 <= SCORES else F.scaled_dot_product_attention
    return attended(q, k, v).transpose(1, 2).flatten(2)


def _by_matrices(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of as many heads at a time as leave their scores in the cache."""
    heads = max(1, SCORES // q.shape[2] ** 2)
    parts = zip(*((part.flatten(0, 1)).split(heads) for part in (q * q.shape[-1] ** -0.5, k, v)), strict=True)
    found = [torch.bmm(torch.softmax(torch.bmm(a, b.transpose(1, 2)), dim=-1), c) for a, b, c in parts]
    return torch.cat(found).unflatten(0, q.shape[:2])


def is_rounded(x: Tensor, *weights: Tensor) -> bool:
    """Whether a network is called in bf16 on a CPU and nobody asks for its gradient.

    Nothing is promised of the last bits there, so that faster formulas may be used.
    """
    learns = torch.is_grad_enabled() and any(part.requires_grad for part in (x, *weights))
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and not learns


def check_size(x: Tensor, factor: int) -> None:
    """Refuse images that the downsampling does not divide.

    Raises:
        UserError: height or width of x [B,C,H,W] is no multiple of ``factor``.
    """
    height, width = x.shape[2:]
    if height % factor or width % factor:
        raise UserError(
            f"images of {height}x{width} pixels do not divide by {factor}",
            "network input",
            f"resize or crop them to multiples of {factor}, or use fewer levels of the network",
        )
