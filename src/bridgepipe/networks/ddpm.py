"""The U-Net of DDPM (Ho et al. 2020) as trained on CelebA-HQ and LSUN, with its published names."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bridgepipe.networks.layers import GroupNorm, attend, check_size, pointwise, to_image, to_tokens
from bridgepipe.networks.layers import normalization as group_norm

EPS = 1e-6


def normalization(channels: int) -> GroupNorm:
    return group_norm(channels, EPS)


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """[sin(t f), cos(t f)] with f_i = 10000^(-i/(dim/2 - 1)): DDPM's order and spacing.

    Args:
        t: timesteps [B], integer or fractional.
        dim: width, even and >= 4.

    Returns:
        float32 [B,dim].
    """
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(10000) / (half - 1) * index)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Two-layer network over the sinusoids of t."""

    def __init__(self, ch: int) -> None:
        super().__init__()
        self.ch = ch
        self.dense = nn.ModuleList([nn.Linear(ch, 4 * ch), nn.Linear(4 * ch, 4 * ch)])

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        first, second = self.dense
        return second(F.silu(first(timestep_embedding(t, self.ch).to(dtype))))


class ResnetBlock(nn.Module):
    """Residual block; the time embedding is added between its convolutions."""

    def __init__(self, in_channels: int, out_channels: int, temb_channels: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = normalization(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.temb_proj = nn.Linear(temb_channels, out_channels)
        self.norm2 = normalization(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = in_channels == out_channels
        self.nin_shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.conv1(self.norm1.activated(x))
        h = h + self.temb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(self.dropout(self.norm2.activated(h)))
        return self.nin_shortcut(x) + h


class AttnBlock(nn.Module):
    """Self-attention over pixels with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = normalization(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        tokens = to_tokens(self.norm(x))
        q, k, v = (pointwise(conv, tokens)[:, :, None] for conv in (self.q, self.k, self.v))
        return x + to_image(pointwise(self.proj_out, attend(q, k, v)), x)


class Downsample(nn.Module):
    """Half the size: stride 2, padded on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the size: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """The residual blocks of one size, each followed by attention where the level has it."""

    def __init__(
        self, in_channels: Sequence[int], channels: int, temb_channels: int, attention: bool, dropout: float
    ) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(c, channels, temb_channels, dropout) for c in in_channels)
        self.attn = nn.ModuleList(AttnBlock(channels) for _ in in_channels if attention)
        self.downsample: Downsample | None = None
        self.upsample: Upsample | None = None

    def step(self, i: int, x: Tensor, temb: Tensor) -> Tensor:
        h = self.block[i](x, temb)
        return self.attn[i](h) if len(self.attn) else h


class Down(Level):
    """A level of the encoder; returns its skip connections."""

    def forward(self, h: Tensor, temb: Tensor) -> list[Tensor]:
        outputs = []
        for i in range(len(self.block)):
            h = self.step(i, h, temb)
            outputs.append(h)
        return outputs if self.downsample is None else [*outputs, self.downsample(h)]


class Up(Level):
    """A level of the decoder; takes the encoder's outputs from the end of ``skips``."""

    def forward(self, h: Tensor, skips: list[Tensor], temb: Tensor) -> Tensor:
        for i in range(len(self.block)):
            h = self.step(i, torch.cat([h, skips.pop()], dim=1), temb)
        return h if self.upsample is None else self.upsample(h)


class Middle(nn.Module):
    """The narrowest part; its output is the h-space."""

    def __init__(self, channels: int, temb_channels: int, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, temb_channels, dropout)
        self.attn_1 = AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, channels, temb_channels, dropout)

    def forward(self, h: Tensor, temb: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(h, temb)), temb)


class UNet(nn.Module):
    """The denoiser of DDPM.

    Args:
        image_size: height and width it is meant for; decides which levels have attention.
        in_channels, out_ch: channels of the image and of the output.
        ch: width of the first level, a multiple of 32.
        num_res_blocks: per level (one more in the decoder).
        attn_resolutions: SIZES IN PIXELS, at ``image_size``, with attention. The middle always has it.
        dropout: dropout probability in [0, 1).
        ch_mult: width of every level in units of ch; each level halves the size.

    Raises:
        UserError: a width that is no multiple of 32.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int,
        ch: int,
        out_ch: int,
        num_res_blocks: int,
        attn_resolutions: Collection[int],
        dropout: float = 0.0,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
    ) -> None:
        super().__init__()
        self.image_size, self.in_channels, self.out_channels = image_size, in_channels, out_ch
        widths = [ch * mult for mult in ch_mult]
        last = len(widths) - 1
        attention = [image_size // 2**level in attn_resolutions for level in range(len(widths))]
        self.factor = 2**last

        self.temb = TimeEmbedding(ch)
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        self.down, skips = nn.ModuleList(), [ch]
        for level, width in enumerate(widths):
            inputs = [skips[-1], *[width] * (num_res_blocks - 1)]
            down = Down(inputs, width, 4 * ch, attention[level], dropout)
            skips += [width] * num_res_blocks
            if level < last:
                down.downsample = Downsample(width)
                skips.append(width)
            self.down.append(down)
        self.mid = Middle(widths[-1], 4 * ch, dropout)
        ups, channels = [], widths[-1]
        for level, width in reversed(list(enumerate(widths))):
            inputs = [before + skips.pop() for before in [channels, *[width] * num_res_blocks]]
            up = Up(inputs, width, 4 * ch, attention[level], dropout)
            if level > 0:
                up.upsample = Upsample(width)
            ups.append(up)
            channels = width
        self.up = nn.ModuleList(reversed(ups))
        self.norm_out = normalization(widths[0])
        self.conv_out = nn.Conv2d(widths[0], out_ch, 3, padding=1)

    @property
    def bottleneck(self) -> nn.Module:
        """The block whose output is the h-space."""
        return self.mid

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Predict, at the size and dtype of x.

        Args:
            x: images [B,in_channels,H,W], H and W multiples of 2^(levels-1).
            t: timesteps [B], integer or fractional.

        Returns:
            [B,out_ch,H,W].

        Raises:
            UserError: a size that does not halve evenly.
        """
        check_size(x, self.factor)
        temb = self.temb(t, x.dtype)
        skips = [self.conv_in(x)]
        for down in self.down:
            skips += down(skips[-1], temb)
        h = self.mid(skips[-1], temb)
        for up in reversed(list(self.up)):
            h = up(h, skips, temb)
        return self.conv_out(self.norm_out.activated(h)).to(x.dtype)
