"""The parts of ADM networks: residual and attention blocks, and the plan that puts them together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bridgepipe.errors import UserError
from bridgepipe.networks.layers import (
    Conditioned,
    Stage,
    activated,
    attend,
    normalization,
    pointwise,
    to_image,
    to_tokens,
    zeroed,
)


class Downsample(nn.Module):
    """Half the size by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Twice the size: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nearest = nn.Upsample(scale_factor=2, mode="nearest")
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.nearest(x))


class ResBlock(Conditioned):
    """Residual block conditioned on the time embedding; ``resample`` acts on both of its branches."""

    def __init__(
        self,
        channels: int,
        emb_channels: int,
        out_channels: int,
        dropout: float,
        use_scale_shift_norm: bool,
        resample: nn.Module,
    ) -> None:
        super().__init__()
        self.use_scale_shift_norm = use_scale_shift_norm
        self.in_layers = nn.Sequential(
            normalization(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.resample = resample
        emb_out = 2 * out_channels if use_scale_shift_norm else out_channels
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, emb_out))
        self.out_layers = nn.Sequential(
            normalization(out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        norm, _, conv = self.in_layers
        h = conv(self.resample(activated(norm, x)))
        h = self._conditioned(h, self.emb_layers(emb)[:, :, None, None])
        return self.skip_connection(self.resample(x)) + h

    def _conditioned(self, h: Tensor, emb: Tensor) -> Tensor:
        norm, _, dropout, conv = self.out_layers
        if self.use_scale_shift_norm:
            return conv(dropout(activated(norm, h, *emb.chunk(2, dim=1))))
        return conv(dropout(activated(norm, h + emb)))


class AttentionBlock(nn.Module):
    """Self-attention over pixels. The legacy order keeps q, k, v together in each head of the projection."""

    def __init__(self, channels: int, num_heads: int, use_new_attention_order: bool) -> None:
        super().__init__()
        self.num_heads, self.new_order = num_heads, use_new_attention_order
        self.norm = normalization(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        qkv = pointwise(self.qkv, to_tokens(self.norm(x)))
        out = pointwise(self.proj_out, attend(*split_heads(qkv, self.num_heads, self.new_order)))
        return x + to_image(out, x)


def split_heads(qkv: Tensor, num_heads: int, new_order: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Projection [B,T,3C] -> q, k, v, each [B,T,heads,C/heads]."""
    if new_order:
        q, k, v = qkv.unflatten(2, (3, num_heads, -1)).unbind(2)
    else:
        q, k, v = qkv.unflatten(2, (num_heads, 3, -1)).unbind(3)
    return q, k, v


class AttentionPool2d(nn.Module):
    """One vector per image: attention of its mean over its pixels, [B,C,H,W] -> [B,out_channels]."""

    def __init__(self, tokens: int, channels: int, num_heads: int, out_channels: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.positional_embedding = nn.Parameter(torch.randn(channels, tokens + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pixels = to_tokens(x)
        tokens = torch.cat([pixels.mean(1, keepdim=True), pixels], dim=1) + self.positional_embedding.T
        out = attend(*split_heads(pointwise(self.qkv_proj, tokens), self.num_heads, new_order=True))
        return pointwise(self.c_proj, out[:, 0])


@dataclass(frozen=True)
class Blueprint:
    """The choices that all blocks of one network share, and the parts built from them."""

    model_channels: int
    num_res_blocks: int
    attention_resolutions: Collection[int]
    dropout: float
    channel_mult: Sequence[float]
    num_heads: int
    num_head_channels: int
    use_scale_shift_norm: bool
    resblock_updown: bool
    use_new_attention_order: bool

    @property
    def emb_channels(self) -> int:
        return 4 * self.model_channels

    @property
    def widths(self) -> list[int]:
        return [int(mult * self.model_channels) for mult in self.channel_mult]

    @property
    def factor(self) -> int:
        """Height and width of an image must be multiples of it."""
        return 2 ** (len(self.channel_mult) - 1)

    def heads(self, channels: int, num_heads: int) -> int:
        """Number of heads: num_head_channels decides unless it is -1."""
        by_size = self.num_head_channels != -1
        divisor = self.num_head_channels if by_size else num_heads
        if divisor < 1 or channels % divisor:
            raise UserError(
                f"{channels} channels do not divide into attention heads",
                f"num_heads {num_heads}, num_head_channels {self.num_head_channels}",
                "choose numbers that divide the channels of every level with attention",
            )
        return channels // divisor if by_size else num_heads

    def time_embed(self) -> nn.Sequential:
        width = self.emb_channels
        return nn.Sequential(nn.Linear(self.model_channels, width), nn.SiLU(), nn.Linear(width, width))

    def residual(self, channels: int, out_channels: int, resample: nn.Module | None = None) -> ResBlock:
        resample = resample or nn.Identity()
        return ResBlock(
            channels, self.emb_channels, out_channels, self.dropout, self.use_scale_shift_norm, resample
        )

    def attention(self, channels: int, num_heads: int) -> AttentionBlock:
        return AttentionBlock(channels, self.heads(channels, num_heads), self.use_new_attention_order)

    def down(self, channels: int) -> nn.Module:
        if self.resblock_updown:
            return self.residual(channels, channels, nn.AvgPool2d(2))
        return Downsample(channels)

    def up(self, channels: int) -> nn.Module:
        if self.resblock_updown:
            return self.residual(channels, channels, nn.Upsample(scale_factor=2, mode="nearest"))
        return Upsample(channels)

    def stage(self, channels: int, out_channels: int, level: int, num_heads: int) -> Stage:
        layers: list[nn.Module] = [self.residual(channels, out_channels)]
        if 2**level in self.attention_resolutions:
            layers.append(self.attention(out_channels, num_heads))
        return Stage(*layers)

    def encoder(self, in_channels: int) -> tuple[nn.ModuleList, list[int]]:
        """The input blocks and the channels that each of them puts out."""
        widths = self.widths
        blocks = [Stage(nn.Conv2d(in_channels, widths[0], 3, padding=1))]
        outputs = [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(self.num_res_blocks):
                blocks.append(self.stage(outputs[-1], width, level, self.num_heads))
                outputs.append(width)
            if level < len(widths) - 1:
                blocks.append(Stage(self.down(width)))
                outputs.append(width)
        return nn.ModuleList(blocks), outputs

    def middle(self) -> Stage:
        width = self.widths[-1]
        attention = self.attention(width, self.num_heads)
        return Stage(self.residual(width, width), attention, self.residual(width, width))

    def decoder(self, skips: Sequence[int], num_heads: int) -> nn.ModuleList:
        """The output blocks; each takes the state and, last in first out, one output of the encoder."""
        blocks, waiting, channels = nn.ModuleList(), list(skips), self.widths[-1]
        for level, width in reversed(list(enumerate(self.widths))):
            for i in range(self.num_res_blocks + 1):
                stage = self.stage(channels + waiting.pop(), width, level, num_heads)
                if level > 0 and i == self.num_res_blocks:
                    stage.append(self.up(width))
                blocks.append(stage)
                channels = width
        return blocks
