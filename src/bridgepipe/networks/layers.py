"""What the networks share: time embedding, group normalisation in float32, fused attention."""

from __future__ import annotations

import math
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bridgepipe.errors import UserError
from bridgepipe.networks import rounded

GROUPS = 32
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
        if rounded.is_rounded(input) and not rounded.learns(input, self.weight):
            return rounded.normalised(self, input).to(input.dtype)
        wide = torch.promote_types(input.dtype, torch.float32)
        weight, bias = self.weight.to(wide), self.bias.to(wide)
        return F.group_norm(input.to(wide), self.num_groups, weight, bias, self.eps).to(input.dtype)

    def activated(self, x: Tensor, *moves: Tensor) -> Tensor:
        """SiLU of the normalised x [B,C,...], times 1 + scale and shifted by ``moves`` [B,C,...], if any."""
        if rounded.is_rounded(x):
            if rounded.learns(x, self.weight):
                return rounded.activated(self, x, *moves)
            return F.silu(rounded.normalised(self, x, *moves), inplace=True).to(x.dtype)
        h = self(x)
        if moves:
            scale, shift = moves
            h = h * (1 + scale) + shift
        return F.silu(h, inplace=not h.requires_grad)


def activated(norm: nn.Module, x: Tensor, *moves: Tensor) -> Tensor:
    """`GroupNorm.activated` of a layer of an ``nn.Sequential``, whose types are not known."""
    return cast(GroupNorm, norm).activated(x, *moves)


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
    by_matrices = rounded.is_rounded(q) and q.shape[2] <= rounded.TOKENS
    attended = rounded.attended if by_matrices else F.scaled_dot_product_attention
    return attended(q, k, v).transpose(1, 2).flatten(2)


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
