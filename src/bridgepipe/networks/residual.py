"""A residual U-Net for photographs of any size: no normalisation, no attention.

What it makes of a pixel depends on the pixels within its reach only, so that a large picture can be
restored in overlapping tiles. It works on squares of 2x2 pixels, which quarters the cost of the first level.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bridgepipe.networks.layers import Conditioned, Stage, check_size, timestep_embedding, zeroed

SQUARE = 2  # side of the squares of pixels that become channels


class ResidualUNet(nn.Module):
    """Predicts a direction of the size of its input from the input and the time.

    Args:
        in_channels, out_channels: channels of the image (and its condition) and of the output.
        model_channels: width of the first level.
        channel_mult: width of every level in units of model_channels; each level halves the size.
        num_res_blocks: per level, before and after the middle; the last level has twice as many.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        model_channels: int,
        channel_mult: Sequence[int],
        num_res_blocks: int,
    ) -> None:
        super().__init__()
        self.model_channels = model_channels
        widths = [model_channels * multiple for multiple in channel_mult]
        self.factor = SQUARE * 2 ** (len(widths) - 1)
        embedded = 4 * model_channels
        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, embedded), nn.SiLU(), nn.Linear(embedded, embedded), nn.SiLU()
        )

        def level(width: int, blocks: int) -> Stage:
            return Stage(*(Block(width, embedded) for _ in range(blocks)))

        pairs = list(pairwise(widths))
        self.first = nn.Conv2d(in_channels * SQUARE**2, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(level(width, num_res_blocks) for width, _ in pairs)
        self.down = nn.ModuleList(nn.Conv2d(width, deeper, 2, stride=2) for width, deeper in pairs)
        self.middle = level(widths[-1], 2 * num_res_blocks)
        self.up = nn.ModuleList(nn.Conv2d(deeper, 4 * width, 1) for width, deeper in reversed(pairs))
        self.decoder = nn.ModuleList(level(width, num_res_blocks) for width, _ in reversed(pairs))
        self.last = zeroed(nn.Conv2d(widths[0], out_channels * SQUARE**2, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Predict, at the size and dtype of x.

        Args:
            x: images [B,in_channels,H,W], H and W multiples of `factor`.
            t: timesteps or noise levels [B], integer or fractional.

        Returns:
            [B,out_channels,H,W].

        Raises:
            UserError: a size that does not halve evenly.
        """
        check_size(x, self.factor)
        emb = self.time_embed(timestep_embedding(t, self.model_channels).to(x.dtype))
        h, skips = self.first(F.pixel_unshuffle(x, SQUARE)), []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            h = blocks(h, emb)
            skips.append(h)
            h = down(h)
        h = self.middle(h, emb)
        for up, blocks in zip(self.up, self.decoder, strict=True):
            h = blocks(F.pixel_shuffle(up(h), 2) + skips.pop(), emb)
        return F.pixel_shuffle(self.last(h), SQUARE).to(x.dtype)


class Block(Conditioned):
    """x + two convolutions, between which the time moves every channel."""

    def __init__(self, width: int, embedded: int) -> None:
        super().__init__()
        self.time = nn.Linear(embedded, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():  # nothing else keeps the sum of many blocks at the size of one
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Images of the same shape [B,width,H,W]; emb is [B,embedded]."""
        h = self.first(x) + self.time(emb)[:, :, None, None]
        return x + self.second(F.relu(h))
