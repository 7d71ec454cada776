"""What weights tell of the network that they are of, and of the process that they were trained for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe.config.gaussian import GuideTraining, ModelTraining
from bridgepipe.config.i2sb import RestorationTraining
from bridgepipe.config.points import PointTraining
from bridgepipe.config.stage_files import Training
from bridgepipe.errors import UserError
from bridgepipe.methods.task import diffusion_of, is_conditional
from bridgepipe.names import ilsvrc
from bridgepipe.names.released import Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bridgepipe.methods.gaussian import Diffusion
    from bridgepipe.networks.layouts import Found

Gaussian = ModelTraining | GuideTraining | PointTraining


def network_of(
    settings: Gaussian, diffusion: Diffusion, weights: Mapping[str, Tensor], where: Path
) -> nn.Module:
    """The network that the settings describe, with as many classes as its weights have."""
    from bridgepipe.methods import gaussian

    arguments = settings.network.arguments
    if isinstance(settings, GuideTraining):
        return gaussian.classifier(diffusion, _answers(weights, where), pool=settings.pool, **arguments)
    return gaussian.network(settings.network.kind, diffusion, num_labels_of(weights), **arguments)


def num_labels_of(weights: Mapping[str, Tensor]) -> int | None:
    """Number of labels of a class-conditional network, the null label included; None: unconditional."""
    return weights["label_emb.weight"].shape[0] if "label_emb.weight" in weights else None


def _answers(weights: Mapping[str, Tensor], where: Path) -> int:
    """Number of classes that a classifier predicts.

    Raises:
        UserError: the weights are not those of a classifier.
    """
    for name in ("out.2.c_proj.bias", "out.3.bias"):
        if name in weights:
            return weights[name].shape[0]
    raise UserError("not the weights of a guide: they tell no classes", where, "give those of a classifier")


def imported_classes(settings: Gaussian, weights: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Card entry with the classes of imported weights: those of ILSVRC, else their numbers."""
    has_classes = isinstance(settings, GuideTraining) or is_conditional(settings)
    known = ilsvrc.classes()
    number = num_labels_of(weights)
    numbers = None if number in (None, len(known)) else [str(i) for i in range(number or 0)]
    return {"class_names": numbers or known} if has_classes else {}


# what weights were trained for: where an experiment that imports them says otherwise it is refused
OF_PROCESS = ("schedule", "T", "c1", "c2", "m", "variant", "prediction", "rescale_timesteps")
OF_BRIDGE = ("corruption", "interval", "beta_max", "t0", "T", "ot_ode", "cond_x1", "add_x1_noise")


def agree(settings: Training, found: Found, config: Path) -> None:
    """Compare an experiment with the process that a folder of weights says they were trained for.

    Raises:
        UserError: with the first setting that differs.
    """
    said = found.settings or found.card.get("config", {})
    process = said.get("process", {})
    stated = {key: said[key] for key in OF_BRIDGE if key in said and "process" not in said}
    stated |= {f"process.{key}": process[key] for key in OF_PROCESS if key in process}
    stated |= {f"network.{key}": value for key, value in said.get("network", {}).items() if key != "dropout"}
    for key, expected, value in Weights("", {}, stated).differences(settings):
        what = f"the weights have {key} {expected}, the experiment {value}"
        raise UserError(what, config, f"set it to {expected}, or import other weights than {found.file}")


def fits(settings: Training, weights: Mapping[str, Tensor], card: Mapping[str, Any], file: Path) -> None:
    """Refuse weights of another network than the configuration describes, without its memory.

    Raises:
        UserError: a name or a shape differs.
    """
    import torch

    from bridgepipe.methods import i2sb
    from bridgepipe.networks import published

    with torch.device("meta"):
        if isinstance(settings, RestorationTraining):
            kind, arguments = settings.network.kind, settings.network.arguments
            seen = {"cond_x1": settings.cond_x1, "noise": settings.train.distil is not None}
            network: nn.Module = i2sb.network((256, 256), seed=0, kind=kind, **seen, **arguments)
        else:
            shape = tuple(card["shape"])
            diffusion = diffusion_of(settings.process, shape, card.get("spectrum", {}))
            network = network_of(settings, diffusion, weights, file)
    published.compare(network.state_dict(), weights, file)
