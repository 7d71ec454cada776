"""DDIB's network for points (Su et al. 2023): the ADM U-Net's shape with vectors in place of images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bridgepipe.errors import UserError
from bridgepipe.networks.layers import GROUPS, Conditioned, Stage, normalization, timestep_embedding, zeroed


class ResBlock(Conditioned):
    """Residual block of linear layers; the time embedding is added between them."""

    def __init__(self, channels: int, emb_channels: int, dropout: float) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(normalization(channels), nn.SiLU(), nn.Linear(channels, channels))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, channels))
        self.out_layers = nn.Sequential(
            normalization(channels), nn.SiLU(), nn.Dropout(dropout), zeroed(nn.Linear(channels, channels))
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return x + self.out_layers(self.in_layers(x) + self.emb_layers(emb))


class PointNet(nn.Module):
    """The denoiser of low-dimensional points. One skip connects the last input block to the output block.

    Args:
        in_channels, out_channels: dimensions of a point, of the output.
        model_channels: width, a multiple of 32 and at least 64; the output block is twice as wide.
        num_res_blocks: residual layers in the input block and in the output block.
        dropout: dropout probability in [0, 1).
        frequencies: number of octaves of sines and cosines of the coordinates, from period 4 down, the
            first layer sees beside them, without which thin structures take long to learn (Tancik et
            al. 2020); 0 as published.

    Raises:
        UserError: a width that group normalisation cannot work with.
    """

    def __init__(
        self,
        in_channels: int = 2,
        model_channels: int = 256,
        out_channels: int = 2,
        num_res_blocks: int = 3,
        dropout: float = 0.0,
        frequencies: int = 0,
    ) -> None:
        super().__init__()
        if model_channels < 2 * GROUPS:
            # One number a group is normalised to zero, so the network would not see its input.
            raise UserError(f"{model_channels} channels are too few", "PointNet", f"use {2 * GROUPS} or more")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.model_channels = width = model_channels
        self.octaves = [math.pi / 2 * 2**k for k in range(frequencies)]
        self.time_embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

        def stage(channels: int, blocks: int) -> Stage:
            return Stage(*(ResBlock(channels, width, dropout) for _ in range(blocks)))

        first = Stage(nn.Linear(in_channels * (1 + 2 * frequencies), width))
        self.input_blocks = nn.ModuleList([first, stage(width, num_res_blocks)])
        self.middle_block = stage(width, 2)
        self.output_blocks = nn.ModuleList([stage(2 * width, num_res_blocks)])
        self.out = nn.Sequential(
            normalization(2 * width), nn.SiLU(), zeroed(nn.Linear(2 * width, out_channels))
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Predict [B,out_channels] for points x [B,in_channels] at timesteps t [B], integer or fractional."""
        emb = self.time_embed(timestep_embedding(t, self.model_channels).to(x.dtype))
        first, second = self.input_blocks
        skip = second(first(self._features(x), emb), emb)
        h = torch.cat([self.middle_block(skip, emb), skip], dim=1)
        return self.out(self.output_blocks[0](h, emb)).to(x.dtype)

    def _features(self, x: Tensor) -> Tensor:
        waves = [wave(octave * x) for octave in self.octaves for wave in (torch.sin, torch.cos)]
        return torch.cat([x, *waves], dim=1)
