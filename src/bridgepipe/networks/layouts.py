"""Weights in whatever layout they are kept, by the names of our networks.

===========================  ==========================================================================
this project                 ``model.safetensors``, in the folder of an experiment or one that was shared
diffusers                    ``config.json`` and weights, or a pipeline's ``unet/`` and ``scheduler/``; the
                             weights in one file or in shards, of full precision where there are any
I2SB                         ``latest.pt`` = {net, ema, optimizer, sched}: the averaged weights
guided-diffusion, DDIB, SPD  ``ema_RATE_STEPS.pt``, else ``modelSTEPS.pt``: those of the most steps
DDIM                         ``ckpt.pth`` = [network, optimiser, epoch, step, average]: the average
any other file               one state dict, as ``.safetensors`` or as torch wrote it
===========================  ==========================================================================

A pickle is read as `plain` reads it: tensors and plain containers alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bridgepipe import artifacts
from bridgepipe.errors import UserError, reading
from bridgepipe.names import Json, schedulers, unet_files
from bridgepipe.names import unet2d as words
from bridgepipe.names.origins import MODEL, PIPELINE, SCHEDULER, UNET
from bridgepipe.networks import adm, ddpm, plain, published, unet2d

OURS = "bridgepipe.json"  # settings of this project beside a pipeline that it shared
PARALLEL = "module."  # before every name, where the network was trained on several GPUs
NUMBERED = re.compile(r"(?P<kind>ema_(?P<rate>[0-9.]+)_|model_?)(?P<steps>[0-9]+)")
MEND = "give a file of weights, or a folder of I2SB, guided-diffusion, DDIM, diffusers or this project"


@dataclass(frozen=True)
class Found:
    """Weights, and what their folder says about them.

    Attributes:
        weights: tensors by the names of our networks.
        file: file that holds them, or the index of the shards that do.
        card: card of this project's files, and of the pipelines that it shared; {} for others.
        settings: sections ``network`` and ``process`` of an experiment, and the ``shape`` of its images, of
            diffusers' folders; {} of others.
        shards: files that hold them, when they are several.
    """

    weights: dict[str, Tensor]
    file: Path
    card: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    shards: tuple[Path, ...] = ()

    @property
    def sha256(self) -> str:
        """Digest of the file; of shards, that of their digests."""
        if not self.shards:
            return artifacts.digest_file(self.file)
        digests = [artifacts.digest_file(file) for file in (self.file, *self.shards)]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def open_weights(place: str | Path, domain: int | None = None) -> Found:
    """Weights from a file or a folder.

    Args:
        place: file or folder, as listed above.
        domain: number of the domain whose folder is taken, of DDIB's networks of points.

    Raises:
        UserError: nothing there, no such layout, a tensor that lacks, or a pickle of more than tensors.
    """
    place = Path(place)
    if (config := diffusers_config(place)) is not None:
        return _diffusers(config, None if place.is_dir() else place.name)
    file = _file_in(place, domain) if place.is_dir() else place
    if file.suffix == ".safetensors":
        return _safetensors(file)
    return Found(_checkpoint(plain.read_checkpoint(file), file), file)


def diffusers_config(place: Path) -> Path | None:
    """``config.json`` of the UNet2DModel in a folder, or beside its file of weights; None: there is none."""
    folder = place if place.is_dir() else place.parent if place.name.startswith(UNET) else None
    if folder is None:
        return None
    file = folder / "config.json"
    if not (folder / "unet").is_dir() and file.is_file():
        return file if "_class_name" in artifacts.read_object(file) else None
    return (
        folder / "unet/config.json" if (folder / "unet").is_dir() or (folder / PIPELINE).is_file() else None
    )


def described(config: Path) -> Json:
    """Sections ``network`` and ``process``, and the ``shape``, of a diffusers folder.

    Raises:
        UserError: the folder is incomplete, or of another network or process than ours; the key is named.
    """
    content = artifacts.read_object(config)
    return {
        "network": words.network_of(content, config),
        "shape": list(words.shape_of(content, config)),
        "outputs": content.get("out_channels", 3),
        "classes": content.get("num_class_embeds"),
        **_scheduled(config),
    }


def clips(place: Path) -> bool:
    """Whether the scheduler of a diffusers folder clamps predictions of the clean image."""
    config = diffusers_config(place)
    return config is None or bool(described(config)["clip"])


def _scheduled(config: Path) -> Json:
    inner = config.parent.name == "unet"
    folder = config.parent.parent if inner else config.parent
    file = folder / "scheduler" / SCHEDULER if inner else folder / SCHEDULER
    scheduler: Mapping[str, Any] = {}
    if file.is_file() or (folder / PIPELINE).is_file():
        scheduler = artifacts.read_object(file)
    return {"process": schedulers.process_of(scheduler, file), "clip": schedulers.clips(scheduler)}


def _diffusers(config: Path, named: str | None) -> Found:
    """The UNet2DModel of a configuration; ``named`` is the file that a person gave in place of its folder."""
    content, folder = described(config), config.parent
    chosen = unet_files.read_in(folder, named)
    file = folder / (chosen.index or chosen.files[0])
    shards = chosen.shards(folder) if chosen.index else {}
    weights = _joined(shards, file) if shards else _tensors(file)
    network = content["network"]
    wanted = skeleton(network, content["shape"], content["outputs"], content["classes"]).state_dict()
    beside = folder.parent / OURS
    card = artifacts.read_object(beside) if beside.is_file() and folder.name == "unet" else {}
    ours = unet2d.from_diffusers(weights, network, wanted, file)
    return Found(ours, file, card, content, tuple(folder / name for name in shards))


def _joined(shards: Mapping[str, Sequence[str]], index: Path) -> dict[str, Tensor]:
    """Tensors of all shards, each in the file that the index names.

    Raises:
        UserError: a shard lacks a tensor that the index expects in it, or holds another.
    """
    found: dict[str, Tensor] = {}
    for name, tensors in shards.items():
        held = _tensors(index.with_name(name))
        if differing := sorted(held.keys() ^ set(tensors)):
            what = "lacks" if differing[0] not in held else "holds"
            other = f"it {what} {differing[0]}, against {index.name}"
            raise UserError(f"a shard of other weights: {other}", index.with_name(name), unet_files.MEND)
        found |= held
    return found


def _tensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a file of diffusers, in single precision."""
    weights = plain.read_weights(file) if file.suffix == ".bin" else _safetensors(file).weights
    return {name: value.float() for name, value in weights.items()}


def skeleton(
    network: Mapping[str, Any], shape: tuple[int, int, int], outputs: int, classes: int | None = None
) -> nn.Module:
    """A U-Net on the meta device: names and shapes without memory.

    Args:
        network: section of an experiment.
        shape: channels, height and width of its images.
        outputs: channels that it gives.
        classes: labels that it takes.
    """
    arguments = {key: value for key, value in network.items() if key != "kind"}
    channels, size = shape[0], max(shape[1:])
    with torch.device("meta"):
        if network["kind"] == "ddpm":
            return ddpm.UNet(size, channels, out_ch=outputs, **arguments)
        return adm.UNet(size, channels, out_channels=outputs, num_classes=classes, **arguments)


def _safetensors(file: Path) -> Found:
    """Weights of this project, whose digest is compared, or of others."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    with reading(file, "damaged or foreign file", "give a file of weights, whole"):
        with open(file, "rb"), safe_open(file, framework="pt") as f:
            ours = artifacts.CARD in (f.metadata() or {})
        if not ours:
            return Found(_unwrapped(plain.as_weights(load_file(file), file)), file)
    weights, card = artifacts.load_tensors(file)
    return Found(dict(weights), file, card)


def _checkpoint(content: Any, file: Path) -> dict[str, Tensor]:
    """Weights of what torch wrote: a state dict, I2SB's dict or DDIM's list."""
    if isinstance(content, Mapping) and {"net", "ema"} <= set(content):
        return published.i2sb_from(content, file)
    if isinstance(content, list | tuple) and content and isinstance(content[0], Mapping):
        average = content[4] if len(content) > 4 else content[0]
        return _unwrapped(plain.as_weights(average, file))
    return _unwrapped(plain.as_weights(content, file))


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith(PARALLEL) for name in weights):
        return {name.removeprefix(PARALLEL): value for name, value in weights.items()}
    return weights


def _file_in(folder: Path, domain: int | None) -> Path:
    """The file of weights in a folder that is none of diffusers.

    Raises:
        UserError: the folder holds no weights, or several averages of the same steps.
    """
    if domain is not None and not (folder / MODEL).is_file():
        return _of_domain(folder, domain)
    for name in (MODEL, "latest.pt", "ckpt.pth"):
        if (folder / name).is_file():
            return folder / name
    found = [(f, match) for f in sorted(folder.glob("*.pt")) if (match := NUMBERED.fullmatch(f.stem))]
    if not found:
        if not folder.exists():
            raise UserError("no such file or folder", folder, MEND)
        raise UserError("no weights in it", folder, MEND)
    averages = [(f, match) for f, match in found if match["rate"]] or found
    most = max(int(match["steps"]) for _, match in averages)
    last = [f for f, match in averages if int(match["steps"]) == most]
    if len(last) > 1:
        names = " and ".join(f.name for f in last)
        raise UserError(f"{names} are of the same steps", folder, "name one of these files")
    return last[0]


def _of_domain(folder: Path, number: int) -> Path:
    """The ``model<steps>.pt`` of the most steps, not an average, as DDIB takes it."""
    files = (f for f in folder.rglob("model*.pt") if f.stem[5:].isdigit())
    found = [f for f in files if f.parent.name.endswith(str(number)) or f.parent == folder]
    if not found:
        mend = "keep the published folders of the six domains, log2D0 to log2D5"
        raise UserError(f"no model*.pt in a folder of number {number}", folder, mend)
    return max(found, key=lambda f: int(f.stem[5:]))
