"""The ADM U-Net and classifier (Dhariwal & Nichol 2021), with the names of their published weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from bridgepipe.errors import UserError
from bridgepipe.networks.blocks import AttentionPool2d, Blueprint
from bridgepipe.networks.layers import activated, check_size, normalization, timestep_embedding, zeroed


class UNet(nn.Module):
    """The denoiser of ADM, I2SB, DDIB, SPD and improved DDPM.

    Args:
        image_size: height and width it is meant for; any multiple of 2^(levels-1), square or not, works.
        in_channels, out_channels: channels of image (and condition), and of output (twice with a variance).
        model_channels: width of the first level; every level's width is a multiple of 32.
        num_res_blocks: residual blocks per level.
        attention_resolutions: DOWNSAMPLING RATES with attention, 1 = full size. The middle always has it.
        dropout: dropout probability in [0, 1).
        channel_mult: width of every level in units of model_channels; each level halves the size.
        num_classes: None, or the number of classes that ``y`` may take.
        num_heads, num_head_channels: heads, or channels per head, which takes precedence unless -1.
        num_heads_upsample: heads of the decoder; -1: as num_heads.
        use_scale_shift_norm: the time embedding scales and shifts the normalised state, or is added to it.
        resblock_updown: resample inside residual blocks rather than by convolutions.
        use_new_attention_order: split q, k, v before heads.

    Raises:
        UserError: widths that do not divide into groups or heads, a size that does not halve evenly.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int,
        model_channels: int,
        out_channels: int,
        num_res_blocks: int,
        attention_resolutions: Collection[int],
        dropout: float = 0.0,
        channel_mult: Sequence[float] = (1, 2, 4, 8),
        num_classes: int | None = None,
        num_heads: int = 1,
        num_head_channels: int = -1,
        num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
    ) -> None:
        super().__init__()
        parts = Blueprint(
            model_channels,
            num_res_blocks,
            attention_resolutions,
            dropout,
            channel_mult,
            num_heads,
            num_head_channels,
            use_scale_shift_norm,
            resblock_updown,
            use_new_attention_order,
        )
        self.image_size, self.in_channels, self.out_channels = image_size, in_channels, out_channels
        self.model_channels, self.num_classes, self.factor = model_channels, num_classes, parts.factor
        self.time_embed = parts.time_embed()
        if num_classes is not None:
            self.label_emb = nn.Embedding(num_classes, parts.emb_channels)
        self.input_blocks, skips = parts.encoder(in_channels)
        self.middle_block = parts.middle()
        self.output_blocks = parts.decoder(
            skips, num_heads if num_heads_upsample == -1 else num_heads_upsample
        )
        first = parts.widths[0]
        self.out = nn.Sequential(
            normalization(first), nn.SiLU(), zeroed(nn.Conv2d(first, out_channels, 3, padding=1))
        )

    @property
    def bottleneck(self) -> nn.Module:
        """The block whose output is the h-space."""
        return self.middle_block

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Predict, at the size and dtype of x.

        Args:
            x: images [B,in_channels,H,W], H and W multiples of 2^(levels-1).
            t: timesteps or noise levels [B], integer or fractional.
            y: class labels int64 [B]; given exactly when the network has classes.

        Returns:
            [B,out_channels,H,W].

        Raises:
            UserError: a size that does not halve evenly.
            ValueError: labels missing or unexpected.
        """
        check_size(x, self.factor)
        emb = self._embedding(x, t, y)
        h, skips = x, []
        for block in self.input_blocks:
            h = block(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
        norm, _, last = self.out
        return last(activated(norm, h)).to(x.dtype)

    def _embedding(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        if (y is None) != (self.num_classes is None):
            raise ValueError("class labels y are needed exactly when the network has num_classes")
        emb = self.time_embed(timestep_embedding(t, self.model_channels).to(x.dtype))
        return emb if y is None else emb + self.label_emb(y)


class Classifier(nn.Module):
    """The noise-aware classifier of ADM: the U-Net's encoder and middle, then a pool.

    Args:
        image_size: height and width, or (height, width); the attention pool accepts this size only.
        out_channels: number of classes.
        pool: ``attention`` (published weights) or ``adaptive`` (mean over pixels).
        others: see `UNet`.

    Raises:
        UserError: widths that do not divide into groups or heads, an unknown pool.
    """

    def __init__(
        self,
        image_size: int | tuple[int, int],
        in_channels: int,
        model_channels: int,
        out_channels: int,
        num_res_blocks: int,
        attention_resolutions: Collection[int],
        dropout: float = 0.0,
        channel_mult: Sequence[float] = (1, 2, 4, 8),
        num_heads: int = 1,
        num_head_channels: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        pool: Literal["attention", "adaptive"] = "attention",
    ) -> None:
        super().__init__()
        parts = Blueprint(
            model_channels,
            num_res_blocks,
            attention_resolutions,
            dropout,
            channel_mult,
            num_heads,
            num_head_channels,
            use_scale_shift_norm,
            resblock_updown,
            use_new_attention_order,
        )
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.image_size = (height, width)
        self.model_channels, self.factor, self.pool = model_channels, parts.factor, pool
        self.time_embed = parts.time_embed()
        self.input_blocks, outputs = parts.encoder(in_channels)
        self.middle_block = parts.middle()
        self.out = self._head(parts, outputs[-1], out_channels)

    def _head(self, parts: Blueprint, channels: int, out_channels: int) -> nn.Sequential:
        start = (normalization(channels), nn.SiLU())
        if self.pool == "adaptive":
            conv = zeroed(nn.Conv2d(channels, out_channels, 1))
            return nn.Sequential(*start, nn.AdaptiveAvgPool2d(1), conv, nn.Flatten())
        if self.pool != "attention":
            raise UserError(f"no pool called {self.pool}", "classifier", "choose attention or adaptive")
        tokens = prod(size // self.factor for size in self.image_size)
        heads = parts.heads(channels, parts.num_heads)
        return nn.Sequential(*start, AttentionPool2d(tokens, channels, heads, out_channels))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Logits [B,out_channels] of noisy images x [B,in_channels,H,W] at timesteps t [B].

        Raises:
            UserError: a size that the network does not take.
        """
        check_size(x, self.factor)
        if self.pool == "attention" and tuple(x.shape[2:]) != self.image_size:
            raise UserError(
                f"images of {x.shape[2]}x{x.shape[3]} pixels",
                "classifier input",
                f"its attention pool was built for {self.image_size[0]}x{self.image_size[1]}; resize them",
            )
        emb = self.time_embed(timestep_embedding(t, self.model_channels).to(x.dtype))
        h = x
        for block in self.input_blocks:
            h = block(h, emb)
        return self.out(self.middle_block(h, emb)).to(x.dtype)
