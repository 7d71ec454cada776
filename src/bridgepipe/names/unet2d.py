"""diffusers' UNet2DModel in our words, and our U-Nets in theirs: config files, without torch.

UNet2DModel is a family that holds both of our U-Nets. With DDPM's time embedding and padding it is
`networks.ddpm.UNet`, with the defaults of diffusers, or with its residual resampling, `networks.adm.UNet`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridgepipe.errors import UserError
from bridgepipe.names import Json

# key of their config -> what it is where the file has none: old files leave out what was younger than they
DEFAULTS: Json = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
}
# what both of our networks are
ALWAYS: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "time_embedding_dim": (None,),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "act_fn": ("silu", "swish"),
    "norm_num_groups": (32,),
    "attn_norm_num_groups": (None, 32),
    "add_attention": (True,),
    "class_embed_type": (None,),
}
# what tells them apart
DDPM: Json = {
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "downsample_padding": 0,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "resnet_time_scale_shift": "default",
    "num_class_embeds": None,
}
ADM: Json = {"freq_shift": 0, "flip_sin_to_cos": True, "downsample_padding": 1, "norm_eps": 1e-5}
# (attention, residual resampling) -> kinds of blocks; the last level resamples nothing
DOWN = {
    (False, False): "DownBlock2D",
    (True, False): "AttnDownBlock2D",
    (False, True): "ResnetDownsampleBlock2D",
    (True, True): "AttnDownBlock2D",
}
UP = {key: name.replace("Downsample", "Upsample").replace("Down", "Up") for key, name in DOWN.items()}
MEND = "give a UNet2DModel whose blocks are those of DDPM or ADM"


def network_of(config: Mapping[str, Any], where: object) -> Json:
    """Section ``network`` of an experiment for a UNet2DModel.

    Args:
        config: content of its ``config.json``.
        where: place of that file, for the message.

    Raises:
        UserError: neither of our networks has what a key asks for; the first such key is named.
    """
    if (kind := config.get("_class_name")) != "UNet2DModel":
        raise UserError(f"a {kind or 'network of no named class'}, not a UNet2DModel", where, MEND)
    found = _filled(config)
    family = DDPM if found["freq_shift"] == 1 else ADM
    for key, allowed in {**ALWAYS, **{key: (value,) for key, value in family.items()}}.items():
        if found[key] not in allowed:
            name, wanted = ("DDPM's" if family is DDPM else "ADM's"), allowed[0]
            raise UserError(f"{key} is {found[key]!r}, in {name} network it is {wanted!r}", where, MEND)
    widths = found["block_out_channels"]
    if any(width % widths[0] for width in widths):
        what = f"block_out_channels are {list(widths)}, which are no multiples of the first"
        raise UserError(what, where, MEND)
    attends = _attends(found, where)
    return _ddpm(found, attends) if family is DDPM else _adm(found, attends, where)


def _filled(config: Mapping[str, Any]) -> Json:
    return {key: _plain(config.get(key, default)) for key, default in DEFAULTS.items()}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _attends(found: Mapping[str, Any], where: object) -> list[bool]:
    """Whether a level has attention, which has to be the same in the encoder and in the decoder."""
    down, up = found["down_block_types"], found["up_block_types"][::-1]
    levels = len(found["block_out_channels"])
    if not len(down) == len(up) == levels:
        raise UserError(f"{len(down)}, {len(up)} and {levels} levels in it", where, MEND)
    resnet = found["downsample_type"] == "resnet"
    if resnet != (found["upsample_type"] == "resnet"):
        raise UserError("downsample_type and upsample_type differ", where, MEND)
    attends = [name.startswith("Attn") for name in down]
    for level, attention in enumerate(attends):
        # without resampling the two kinds of blocks are one
        kinds = {(attention, resnet), (attention, resnet and level < levels - 1)}
        if down[level] not in {DOWN[k] for k in kinds} or up[level] not in {UP[k] for k in kinds}:
            what = f"level {level + 1} has a {down[level]} and a {up[level]}"
            raise UserError(what, where, MEND)
    return attends


def _ddpm(found: Mapping[str, Any], attends: Sequence[bool]) -> Json:
    size, widths = _size(found), found["block_out_channels"]
    return {
        "kind": "ddpm",
        "ch": widths[0],
        "num_res_blocks": found["layers_per_block"],
        "attn_resolutions": tuple(size // 2**i for i, attention in enumerate(attends) if attention),
        "ch_mult": tuple(width // widths[0] for width in widths),
        "dropout": found["dropout"],
    }


def _adm(found: Mapping[str, Any], attends: Sequence[bool], where: object) -> Json:
    widths, channels = found["block_out_channels"], found["attention_head_dim"]
    scaled = found["resnet_time_scale_shift"] == "scale_shift"
    if scaled and found["attn_norm_num_groups"] is None:
        raise UserError("the attention in its middle is not normalised", where, MEND)
    return {
        "kind": "adm",
        "model_channels": widths[0],
        "num_res_blocks": found["layers_per_block"],
        "channel_mult": tuple(width // widths[0] for width in widths),
        "attention_resolutions": tuple(2**i for i, attention in enumerate(attends) if attention),
        "num_heads": 1,
        "num_head_channels": -1 if channels is None else channels,
        "use_scale_shift_norm": scaled,
        "resblock_updown": found["downsample_type"] == "resnet",
        "dropout": found["dropout"],
    }


def _size(found: Mapping[str, Any]) -> int:
    size = found["sample_size"]
    return max(size) if isinstance(size, tuple) else size or 2 ** len(found["block_out_channels"])


def shape_of(config: Mapping[str, Any], where: object) -> tuple[int, int, int]:
    """Channels, height and width of the images of a UNet2DModel.

    Raises:
        UserError: the configuration gives no size.
    """
    found = _filled(config)
    size = found["sample_size"]
    if size is None:
        raise UserError("no sample_size in it", where, "write the size of its images there")
    height, width = size if isinstance(size, tuple) else (size, size)
    return found["in_channels"], height, width


def config_of(network: Mapping[str, Any], shape: Sequence[int], outputs: int, classes: int | None) -> Any:
    """``config.json`` of the UNet2DModel that one of our networks is.

    Args:
        network: section ``network`` of an experiment.
        shape: channels, height and width of the images.
        outputs: channels that the network gives.
        classes: number of labels that it takes; None: none.

    Returns:
        Values by name; None where no UNet2DModel is this network.
    """
    channels, height, width = shape
    size = height if height == width else (height, width)
    ddpm = network["kind"] == "ddpm"
    own = _ddpm_config(network, max(height, width)) if ddpm else _adm_config(network)
    if own is None:
        return None
    shared = {"sample_size": size, "in_channels": channels, "out_channels": outputs}
    values = {**DEFAULTS, **(DDPM if ddpm else ADM), **shared, **own, "num_class_embeds": classes}
    return {"_class_name": "UNet2DModel", **values}


def _ddpm_config(network: Mapping[str, Any], size: int) -> Json:
    widths = [network["ch"] * m for m in network["ch_mult"]]
    attends = [size // 2**level in network["attn_resolutions"] for level in range(len(widths))]
    return _blocks(network, widths, attends)


def _adm_config(network: Mapping[str, Any]) -> Json | None:
    widths = [int(network["model_channels"] * m) for m in network["channel_mult"]]
    attends = [2**level in network["attention_resolutions"] for level in range(len(widths))]
    heads = set(_head_channels(network, widths, attends))
    if len(heads) != 1:
        return None
    return {
        **_blocks(network, widths, attends, network["resblock_updown"]),
        "attention_head_dim": heads.pop(),
        "resnet_time_scale_shift": "scale_shift" if network["use_scale_shift_norm"] else "default",
        "attn_norm_num_groups": 32 if network["use_scale_shift_norm"] else None,
    }


def _head_channels(
    network: Mapping[str, Any], widths: Sequence[int], attends: Sequence[bool]
) -> Iterator[int | None]:
    """Channels of a head in every attention, the middle's included; None: one head, whatever the width."""
    for width in [*(w for w, attention in zip(widths, attends, strict=True) if attention), widths[-1]]:
        if network["num_head_channels"] != -1:
            yield network["num_head_channels"]
        else:
            yield None if network["num_heads"] == 1 else width // network["num_heads"]


def _blocks(
    network: Mapping[str, Any], widths: Sequence[int], attends: Sequence[bool], resnet: bool = False
) -> Json:
    kinds = [(attention, resnet and i < len(widths) - 1) for i, attention in enumerate(attends)]
    resampled = "resnet" if resnet else "conv"
    return {
        "block_out_channels": list(widths),
        "layers_per_block": network["num_res_blocks"],
        "dropout": network["dropout"],
        "down_block_types": [DOWN[kind] for kind in kinds],
        "up_block_types": [UP[kind] for kind in kinds[::-1]],
        "downsample_type": resampled,
        "upsample_type": resampled,
    }
