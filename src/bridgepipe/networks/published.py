"""Published networks: their architectures, and their weights under our constructors' names.

Our networks carry the published names, so most files load unchanged. What
remains is the I2SB release (unnamed EMA weights, a prefix), and I2SB's start
from ADM (no variance half, a wider input for the condition).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bridgepipe.errors import UserError
from bridgepipe.names import IMAGENET_CLASSES, Json
from bridgepipe.names.released import ADM_256, CHANNEL_MULT, CLASSIFIER_256, DDPM_256, IDDPM_256
from bridgepipe.networks import adm, ddpm, mlp
from bridgepipe.networks.plain import as_weights, read_checkpoint, read_options

I2SB_PREFIX = "diffusion_model."
ARCHITECTURES: dict[str, tuple[type[nn.Module], Json]] = {
    "adm_256x256_diffusion": (adm.UNet, ADM_256 | {"num_classes": IMAGENET_CLASSES}),
    "adm_256x256_diffusion_uncond": (adm.UNet, ADM_256),
    "adm_256x256_classifier": (adm.Classifier, CLASSIFIER_256),
    "i2sb_256x256_diffusion_uncond_fixedsigma": (adm.UNet, ADM_256 | {"out_channels": 3}),
    "i2sb_256x256_diffusion_cond_fixedsigma": (adm.UNet, ADM_256 | {"in_channels": 6, "out_channels": 3}),
    "boundarydiffusion_ddpm_celeba256": (ddpm.UNet, DDPM_256),
    "boundarydiffusion_iddpm_afhq_ffhq": (adm.UNet, IDDPM_256),
    "ddib_synthetic_2d": (mlp.PointNet, {"dropout": 0.2}),
}

# I2SB's option -> ours
I2SB_OPTIONS = {
    "corrupt": "corruption",
    "image_size": "image_size",
    "interval": "interval",
    "beta_max": "beta_max",
    "t0": "t0",
    "T": "T",
    "ot_ode": "ot_ode",
    "cond_x1": "cond_x1",
    "add_x1_noise": "add_x1_noise",
    "clip_denoise": "clip",
}


def adm_arguments(flags: Mapping[str, Any]) -> Json:
    """Arguments of `adm.UNet` for a network described by guided-diffusion's flags.

    Args:
        flags: image_size, num_channels, num_res_blocks, ``attention_resolutions`` in pixels
            ("32,16,8"), ``channel_mult`` ("1,1,2,2" or "" for the size's own), learn_sigma, class_cond
            and the heads, dropout and norm flags under our names; training flags are left out.

    Raises:
        UserError: no multipliers are known for the size.
    """
    size = flags["image_size"]
    mult = tuple(int(m) for m in flags["channel_mult"].split(",") if m) or CHANNEL_MULT.get(size)
    if mult is None:
        raise UserError(f"no channel multipliers known for size {size}", "channel_mult", "give them as 1,2,4")
    same = (
        "num_res_blocks",
        "dropout",
        "num_heads",
        "num_head_channels",
        "num_heads_upsample",
        "use_scale_shift_norm",
        "resblock_updown",
        "use_new_attention_order",
    )
    return {
        "image_size": size,
        "in_channels": flags.get("in_channels", 3),
        "model_channels": flags["num_channels"],
        "out_channels": 6 if flags["learn_sigma"] else 3,
        "attention_resolutions": tuple(size // int(r) for r in flags["attention_resolutions"].split(",")),
        "channel_mult": mult,
        "num_classes": IMAGENET_CLASSES if flags["class_cond"] else None,
    } | {name: flags[name] for name in same}


def i2sb_problem(options: Mapping[str, Any]) -> Json:
    """The restoration problem that I2SB's options describe, under our names; others are left out."""
    return {ours: options[theirs] for theirs, ours in I2SB_OPTIONS.items() if theirs in options}


def check_options(path: str | Path, problem: Mapping[str, Any], where: object) -> None:
    """Compare the options that weights were trained with to the problem that they are imported for.

    Args:
        path: published ``options.pkl``.
        problem: our names and values; those that the options lack are not compared.
        where: the configuration, for the message.

    Raises:
        UserError: an option differs.
    """
    for name, trained in i2sb_problem(read_options(path)).items():
        if name in problem and problem[name] != trained:
            what = f"the weights were trained with {name} {trained!r}, not {problem[name]!r}"
            raise UserError(what, where, f"set {name} to {trained!r}, or import other weights")


def i2sb_weights(path: str | Path, which: Literal["ema", "net"] = "ema") -> dict[str, Tensor]:
    """Weights of I2SB's ``latest.pt`` = {net, ema, optimizer, sched}, by the names of `adm.UNet`.

    Args:
        path: the published file.
        which: ``ema``, the averaged weights that I2SB samples with, or ``net``, the raw ones.

    Returns:
        Tensors by name, mapped from the file.

    Raises:
        UserError: missing, damaged, unsafe, not of this layout, or a number is not finite.
    """
    content = read_checkpoint(path)
    if not isinstance(content, Mapping) or not {"net", "ema"} <= set(content):
        raise UserError("no net and ema in it", path, "give the latest.pt of an I2SB release")
    return i2sb_from(content, path, which)


def i2sb_from(
    content: Mapping[str, Any], path: str | Path, which: Literal["ema", "net"] = "ema"
) -> dict[str, Tensor]:
    """`i2sb_weights` of a file that has been read."""
    net = as_weights(content["net"], path)
    if not all(key.startswith(I2SB_PREFIX) for key in net):
        raise UserError(f"names without {I2SB_PREFIX}", path, "give the latest.pt of an I2SB release")
    net = {key.removeprefix(I2SB_PREFIX): value for key, value in net.items()}
    return net if which == "net" else as_weights(_named(content["ema"], net, path), path)


def _named(ema: Any, net: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """The EMA's unnamed weights with the names of the network's, which are in the same order."""
    shadow = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    shapes = [value.shape for value in net.values()]
    if not isinstance(shadow, list) or [getattr(value, "shape", None) for value in shadow] != shapes:
        raise UserError(
            "its EMA weights do not match its network one by one", path, "get the file again, or use net"
        )
    return {key: value.detach() for key, value in zip(net, shadow, strict=True)}


def i2sb_from_adm(
    weights: Mapping[str, Tensor],
    cond_x1: bool = False,
    new_channels: Literal["zero", "published"] = "zero",
    seed: int = 0,
) -> dict[str, Tensor]:
    """Where I2SB's training starts: ADM's unconditional weights without the variance half.

    Args:
        weights: tensors of ADM's ``256x256_diffusion_uncond.pt`` or a network like it.
        cond_x1: widen the input to twice the channels, the new half for the corrupted image.
        new_channels: ``zero``: the start is exactly ADM, blind to the condition; ``published``: the
            default random initialisation of a convolution, which the release draws anew on each machine.
        seed: seed of the random initialisation.

    Raises:
        UserError: the weights have no variance half to cut.
    """
    first, last = weights["input_blocks.0.0.weight"], weights["out.2.weight"]
    channels = first.shape[1]
    if last.shape[0] != 2 * channels:
        raise UserError(
            f"{last.shape[0]} output channels for {channels} input channels: no variance half",
            "out.2.weight",
            "give the weights of an ADM network with learned variance",
        )
    cut = {f"out.2.{part}": weights[f"out.2.{part}"][:channels].clone() for part in ("weight", "bias")}
    if cond_x1:
        cut["input_blocks.0.0.weight"] = torch.cat([first, _fresh(first, new_channels, seed)], dim=1)
    return {**weights, **cut}


def widened(weights: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a network that sees more channels, behind those it saw: theirs are as in the fresh one."""

    def wide(old: Tensor, new: Tensor) -> Tensor:
        return old if old.shape == new.shape else torch.cat([old, new[:, old.shape[1] :]], dim=1)

    return {name: wide(old, fresh[name]) for name, old in weights.items()}


def is_adm(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    """Whether weights have the variance half that a network of I2SB with these tensors lacks."""
    last = "out.2.weight"
    found = weights[last].shape[0] if last in weights else None
    return last in wanted and found == 2 * wanted[last].shape[0]


def _fresh(first: Tensor, kind: str, seed: int) -> Tensor:
    """Weights of the new input channels, drawn as PyTorch draws those of the widened convolution."""
    if kind == "zero":
        return torch.zeros_like(first)
    bound = (2 * first[0].numel()) ** -0.5
    draws = torch.empty(first.shape, dtype=first.dtype)
    return draws.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))


def load(network: nn.Module, weights: Mapping[str, Tensor], where: object) -> None:
    """Put weights into a network that has exactly these names and shapes.

    Args:
        network: changed in place.
        weights: tensors by name.
        where: the file they came from, for the message.

    Raises:
        UserError: a name is missing or unknown, or a shape differs; the first one is named.
    """
    compare(network.state_dict(), weights, where)
    network.load_state_dict(weights)


def compare(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor], where: object) -> None:
    """Refuse weights of other names or shapes than a network's, as `load` does."""
    for key in [*wanted, *weights]:
        found = tuple(weights[key].shape) if key in weights else "missing"
        expected = tuple(wanted[key].shape) if key in wanted else "unknown"
        if found != expected:
            raise UserError(
                f"weights of another network: {key} is {found}, expected {expected}",
                where,
                "use the architecture that the file was made for",
            )
