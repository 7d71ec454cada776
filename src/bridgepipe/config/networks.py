"""Network architectures by their constructor arguments, and checks against the image size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from bridgepipe.config.values import Blocks, Distinct, Dropout, Multipliers, Strict, Width


class Arguments(Strict):
    """Constructor arguments of a network."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor arguments, by name."""
        return self.model_dump(exclude={"kind"})


class Network(Arguments):
    """Constructor arguments of ADM's U-Net."""

    model_channels: Width = Field(32, description="channels of the first level")
    num_res_blocks: Blocks = Field(1, description="residual blocks per level")
    channel_mult: Multipliers = Field(
        (1, 2, 2), description="channels of each level, in multiples of model_channels; one level per number"
    )
    attention_resolutions: Annotated[tuple[int, ...], Distinct] = Field(
        (4,), description="downsampling rates with attention"
    )
    num_heads: int = Field(4, ge=1, le=1024, description="attention heads")
    num_head_channels: int = Field(
        -1, ge=-1, le=1024, description="channels per attention head; -1: num_heads decides"
    )
    use_scale_shift_norm: bool = Field(
        True, description="the time embedding scales and shifts normalised features; false: it is added"
    )
    resblock_updown: bool = Field(
        True, description="residual blocks resample; false: convolutions and pooling do"
    )
    dropout: Dropout = Field(0.0, description="dropout probability")

    def contradiction(self, size: tuple[int, int]) -> tuple[str, str] | None:
        """The key that does not go with images of a size, or with the other keys, and why; None: all do."""
        levels = len(self.channel_mult)
        attends = [2**level in self.attention_resolutions for level in range(levels)]
        unet = (self.model_channels, self.channel_mult, self.num_res_blocks, attends)
        if what := too_large(parameters(*unet, self.use_scale_shift_norm, self.resblock_updown)):
            return "channel_mult", what
        if what := too_small(size, levels, self.model_channels * self.channel_mult[-1]):
            return "channel_mult", what
        rates = [2**level for level in range(levels)]
        if none := [rate for rate in self.attention_resolutions if rate not in rates]:
            return (
                "attention_resolutions",
                f"no level has the rate {none[0]}; the levels have {listed(rates)}",
            )
        return self._heads()

    def _heads(self) -> tuple[str, str] | None:
        by_size = self.num_head_channels != -1
        key, divisor = (
            ("num_head_channels", self.num_head_channels) if by_size else ("num_heads", self.num_heads)
        )
        attending = [m for level, m in enumerate(self.channel_mult) if 2**level in self.attention_resolutions]
        for channels in sorted(self.model_channels * m for m in (*attending, self.channel_mult[-1])):
            if divisor < 1 or channels % divisor:
                return key, f"the {channels} channels of a level with attention do not divide by {divisor}"
        return None


class AdmNetwork(Network):
    """Constructor arguments of ADM's U-Net."""

    kind: Literal["adm"]


class DdpmNetwork(Arguments):
    """Constructor arguments of DDPM's U-Net."""

    kind: Literal["ddpm"]
    ch: Width = Field(128, description="channels of the first level")
    num_res_blocks: Blocks = Field(2, description="residual blocks per level")
    attn_resolutions: Annotated[tuple[int, ...], Distinct] = Field(
        (16,), description="resolutions in pixels with attention"
    )
    ch_mult: Multipliers = Field(
        (1, 1, 2, 2, 4, 4), description="channels of each level, in multiples of ch; one level per number"
    )
    dropout: Dropout = Field(0.0, description="dropout probability")

    def contradiction(self, size: tuple[int, int]) -> tuple[str, str] | None:
        """The key that does not go with images of a size, and why; None: all do."""
        sizes = [max(size) // 2**level for level in range(len(self.ch_mult))]
        attends = [side in self.attn_resolutions for side in sizes]
        if what := too_large(parameters(self.ch, self.ch_mult, self.num_res_blocks, attends)):
            return "ch_mult", what
        if what := too_small(size, len(self.ch_mult), self.ch * self.ch_mult[-1]):
            return "ch_mult", what
        if none := [side for side in self.attn_resolutions if side not in sizes]:
            return "attn_resolutions", f"no level has {none[0]} pixels; they have {listed(sizes)}"
        return None


class ResidualNetwork(Arguments):
    """Constructor arguments of a U-Net without normalisation or attention, for images of any size."""

    kind: Literal["residual"]
    model_channels: Width = Field(32, description="channels of the first level")
    channel_mult: Multipliers = Field(
        (1, 2, 4), description="channels of each level, in multiples of model_channels; one level per number"
    )
    num_res_blocks: Blocks = Field(2, description="residual blocks per level")

    def contradiction(self, size: tuple[int, int]) -> tuple[str, str] | None:
        """The key that does not go with images of a size, and why; None: all do."""
        widths = [self.model_channels * multiple for multiple in self.channel_mult]
        convolutions = 4 * self.num_res_blocks * 9
        if what := too_large(convolutions * sum(width**2 for width in widths)):
            return "channel_mult", what
        factor = 2 ** len(widths)
        if any(side % factor for side in size):
            what = f"{len(widths)} levels need sides that divide by {factor}"
            return "channel_mult", f"{what}, not {size[0]} x {size[1]} pixels"
        return None


class PlainAdmNetwork(Network):
    """ADM's U-Net, when kind is left out."""

    kind: Literal["adm"] = Field("adm", exclude=True)


def kind(network: Any) -> str:
    """The kind of an I2SB network; ADM's U-Net when kind is left out."""
    said = network.get("kind") if isinstance(network, dict) else network.kind
    return "adm" if said is None else str(said)


RestorationNetwork = Annotated[
    Annotated[PlainAdmNetwork, Tag("adm")] | Annotated[ResidualNetwork, Tag("residual")], Discriminator(kind)
]


class PointNetwork(Arguments):
    """Constructor arguments of DDIB's network of points."""

    kind: Literal["points"] = "points"
    model_channels: Annotated[Width, Field(ge=64)] = Field(256, description="channels of every block")
    num_res_blocks: Blocks = Field(3, description="residual blocks")
    dropout: Dropout = Field(0.0, description="dropout probability")
    frequencies: int = Field(
        0, ge=0, le=8, description="octaves of sine features of the coordinates; published: 0"
    )


MOST = 2_000_000_000  # parameters: training holds four numbers for each, 32 GB
GROUPS = 32  # of group normalisation


def too_small(size: tuple[int, int], levels: int, channels: int) -> str | None:
    """Why images of a size cannot be halved ``levels - 1`` times; None: they can.

    Args:
        channels: channels of the last level. A group of a single number would be normalised to zero.
    """
    factor = 2 ** (levels - 1)
    if any(side % factor for side in size):
        return f"{levels} levels need sides that divide by {factor}, not {size[0]} x {size[1]} pixels"
    if size[0] * size[1] * channels <= GROUPS * factor**2:
        return f"{levels} levels leave one pixel of {channels} channels: take fewer levels, or more channels"
    return None


def too_large(count: int) -> str | None:
    """Why a network of so many parameters cannot be trained; None: it can."""
    return f"a U-Net of about {count:,} parameters; at most {MOST:,} are taken" if count > MOST else None


def parameters(
    first: int,
    multipliers: Sequence[int],
    blocks: int,
    attends: Sequence[bool],
    scale_shift: bool = False,
    resblocks: bool = False,
) -> int:
    """Number of weights in the convolutions, attention and embeddings of a U-Net, to a few per cent.

    Args:
        first: channels of the first level, which ``multipliers`` scale at each level.
        blocks: residual blocks per level.
        attends: whether each level has attention.
        scale_shift, resblocks: ``use_scale_shift_norm`` and ``resblock_updown`` of `Network`.
    """

    def block(before: int, after: int) -> int:
        embedded = (8 if scale_shift else 4) * first * after
        return 9 * after * (before + after) + embedded + (before * after if before != after else 0)

    def resampled(level: int) -> int:
        return block(widths[level], widths[level]) if resblocks else 9 * widths[level] ** 2

    widths = [first * multiplier for multiplier in multipliers]
    attention = [4 * width**2 * attended for width, attended in zip(widths, attends, strict=True)]
    last, channels, skips = widths[-1], first, [first]
    total = 20 * first**2 + 2 * block(last, last) + 4 * last**2
    total += 2 * sum(resampled(level) for level in range(len(widths) - 1))
    for level, width in enumerate(widths):
        for _ in range(blocks):
            total += block(channels, width) + attention[level]
            channels = width
            skips.append(width)
        skips += [width] * (level < len(widths) - 1)
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(blocks + 1):
            total += block(channels + skips.pop(), width) + attention[level]
            channels = width
    return total


def listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
