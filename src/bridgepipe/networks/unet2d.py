"""Weights of diffusers' UNet2DModel under the names of our U-Nets, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bridgepipe.errors import UserError

# names inside a block: ours -> theirs
LEAVES = {
    "ddpm": {
        "temb_proj": "time_emb_proj",
        "nin_shortcut": "conv_shortcut",
        "norm": "group_norm",
        **{name: f"to_{name}" for name in "qkv"},
        "proj_out": "to_out.0",
    },
    "adm": {
        "in_layers.0": "norm1",
        "in_layers.2": "conv1",
        "emb_layers.1": "time_emb_proj",
        "out_layers.0": "norm2",
        "out_layers.3": "conv2",
        "skip_connection": "conv_shortcut",
        "norm": "group_norm",
        "proj_out": "to_out.0",
        "op": "conv",
    },
}
# names of attention until diffusers 0.14, in which the published files are still written
OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
OLD_NAME = re.compile(rf"(?<=\.attentions\.)(\d+)\.({'|'.join(OLD)})(?=\.)")
QKV = "qkv"  # ADM's three projections in one, head by head


def from_diffusers(
    weights: Mapping[str, Tensor], network: Mapping[str, Any], wanted: Mapping[str, Tensor], where: object
) -> dict[str, Tensor]:
    """Weights of a UNet2DModel by our names.

    Args:
        weights: tensors by diffusers' names, the old ones of attention too.
        network: section ``network`` of an experiment, as `names.unet2d.network_of` returns it.
        wanted: state dict of our network, for its names and shapes; may be on the meta device.
        where: the file, for the message.

    Raises:
        UserError: a tensor is missing, unknown, or of another shape; the first one is named.
    """
    left = {OLD_NAME.sub(lambda m: f"{m[1]}.{OLD[m[2]]}", name): value for name, value in weights.items()}
    found = {}
    for ours, like in wanted.items():
        names = _theirs(ours, network)
        shape = torch.Size((like.shape[0] // len(names), *like.shape[1:]))
        parts = [_taken(left, name, shape, where) for name in names]
        value = parts[0] if len(parts) == 1 else _joined(parts, _heads(network, shape[0]))
        found[ours] = value.reshape(like.shape)
    if left:
        raise _other(f"{next(iter(left))} is unknown", where)
    return found


def _taken(left: dict[str, Tensor], name: str, shape: torch.Size, where: object) -> Tensor:
    """A tensor, which may lack the sizes of 1 that a convolution has and a linear layer does not."""
    if name not in left:
        raise _other(f"{name} is missing", where)
    value = left.pop(name)
    if [n for n in value.shape[1:] if n != 1] != [n for n in shape[1:] if n != 1] or value.shape[:1] != shape[
        :1
    ]:
        raise _other(f"{name} is {tuple(value.shape)}, expected {tuple(shape)}", where)
    return value


def _other(what: str, where: object) -> UserError:
    mend = "give the weights that belong to its config.json, whole"
    return UserError(f"weights of another network: {what}", where, mend)


def to_diffusers(weights: Mapping[str, Tensor], network: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of one of our U-Nets by the names of UNet2DModel.

    Args:
        weights: tensors by our names.
        network: section ``network`` of an experiment.
    """
    found = {}
    for ours, value in weights.items():
        names = _theirs(ours, network)
        parts = [value] if len(names) == 1 else _split(value, _heads(network, value.shape[0] // 3))
        for name, part in zip(names, parts, strict=True):
            found[name] = part.flatten(1) if ".to_" in name and part.dim() > 1 else part
    return found


def _theirs(ours: str, network: Mapping[str, Any]) -> list[str]:
    """Their name of a tensor, or their three."""
    module, parameter = ours.rsplit(".", 1)
    for before, after, inner in _modules(network):
        if module == before or module.startswith(f"{before}."):
            leaf = module[len(before) + 1 :]
            if leaf == QKV:
                return [f"{after}.to_{name}.{parameter}" for name in QKV]
            path = [after, inner.get(leaf, leaf), parameter]
            return [".".join(part for part in path if part)]
    raise KeyError(ours)


def _modules(network: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Every part of a network: our name, theirs, and the names inside it."""
    yield from _ddpm(network) if network["kind"] == "ddpm" else _adm(network)


def _ddpm(network: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    inner, last = LEAVES["ddpm"], len(network["ch_mult"]) - 1
    for i in range(2):
        yield f"temb.dense.{i}", f"time_embedding.linear_{i + 1}", {}
        yield f"mid.block_{i + 1}", f"mid_block.resnets.{i}", inner
    yield "mid.attn_1", "mid_block.attentions.0", inner
    yield "conv_in", "conv_in", {}
    yield "norm_out", "conv_norm_out", {}
    yield "conv_out", "conv_out", {}
    for level in range(last + 1):
        for ours, theirs in (
            (f"down.{level}", f"down_blocks.{level}"),
            (f"up.{level}", f"up_blocks.{last - level}"),
        ):
            for i in range(network["num_res_blocks"] + 1):
                yield f"{ours}.block.{i}", f"{theirs}.resnets.{i}", inner
                yield f"{ours}.attn.{i}", f"{theirs}.attentions.{i}", inner
            for way in ("down", "up"):
                yield f"{ours}.{way}sample", f"{theirs}.{way}samplers.0", {}


def _adm(network: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    inner, levels, blocks = LEAVES["adm"], len(network["channel_mult"]), network["num_res_blocks"]
    yield "time_embed.0", "time_embedding.linear_1", {}
    yield "time_embed.2", "time_embedding.linear_2", {}
    yield "label_emb", "class_embedding", {}
    yield "input_blocks.0.0", "conv_in", {}
    yield "out.0", "conv_norm_out", {}
    yield "out.2", "conv_out", {}
    for i, theirs in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        yield f"middle_block.{i}", f"mid_block.{theirs}", inner
    attends = [2**level in network["attention_resolutions"] for level in range(levels)]
    for level in range(levels):
        first, theirs = 1 + level * (blocks + 1), f"down_blocks.{level}"
        for i in range(blocks):
            yield f"input_blocks.{first + i}.0", f"{theirs}.resnets.{i}", inner
            yield f"input_blocks.{first + i}.1", f"{theirs}.attentions.{i}", inner
        yield f"input_blocks.{first + blocks}.0", f"{theirs}.downsamplers.0", inner
        start, theirs = (levels - 1 - level) * (blocks + 1), f"up_blocks.{levels - 1 - level}"
        yield f"output_blocks.{start + blocks}.{1 + attends[level]}", f"{theirs}.upsamplers.0", inner
        for i in range(blocks + 1):
            yield f"output_blocks.{start + i}.0", f"{theirs}.resnets.{i}", inner
            yield f"output_blocks.{start + i}.1", f"{theirs}.attentions.{i}", inner


def _heads(network: Mapping[str, Any], channels: int) -> int:
    return (
        network["num_heads"]
        if network["num_head_channels"] == -1
        else channels // network["num_head_channels"]
    )


def _joined(parts: list[Tensor], heads: int) -> Tensor:
    """q, k and v, one after the other in every head, as ADM stores them."""
    return torch.stack([part.unflatten(0, (heads, -1)) for part in parts], dim=1).flatten(0, 2)


def _split(fused: Tensor, heads: int) -> list[Tensor]:
    return [part.flatten(0, 1) for part in fused.unflatten(0, (heads, 3, -1)).unbind(1)]
