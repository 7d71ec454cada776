"""Trained networks from their files, each refused when it was trained under other settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.config.i2sb import Restoration, RestorationTraining
from bridgepipe.config.stage_files import made_under, read_stage
from bridgepipe.errors import UserError

if TYPE_CHECKING:
    from bridgepipe.methods.i2sb import Restorer


@dataclass(frozen=True)
class Trained:
    """A trained network, and the configuration that it was trained under."""

    model: Path
    train_config: Path

    @classmethod
    def within(cls, folder: Path) -> Self:
        """Of the results folder of an experiment."""
        return cls(folder / "model.safetensors", folder / "config/train.json")


def load_restorer(
    trained: Trained, settings: Restoration, image_size: tuple[int, int], runtime: configuration.Runtime
) -> Restorer:
    """A trained network, refused when it was trained under another configuration, or for another problem."""
    recipe = read_stage(trained.train_config, RestorationTraining)
    return restorer_of(trained.model, recipe, settings, image_size, runtime)


def restorer_of(
    model: Path,
    recipe: RestorationTraining,
    settings: Restoration,
    image_size: tuple[int, int],
    runtime: configuration.Runtime,
) -> Restorer:
    """A network from its file and the settings of its training, refused as by `load_restorer`."""
    from bridgepipe.methods import i2sb
    from bridgepipe.networks import published

    _same_problem(recipe, settings, model)
    weights, card = artifacts.load_tensors(model, made_under(recipe, artifacts.load_card(model)))
    kind, arguments = recipe.network.kind, recipe.network.arguments
    network = i2sb.network(image_size, settings.cond_x1, seed=0, kind=kind, **arguments)
    published.load(network, weights, model)
    problem = i2sb.Problem(image_size, settings)
    return i2sb.Restorer(network, problem, card[artifacts.CONTENT], recipe.train.seed, runtime)


def _same_problem(trained: Restoration, settings: Restoration, model: Path) -> None:
    """Refuse to sample a bridge that a network was not trained for.

    Raises:
        UserError: with the first setting that differs.
    """
    for key in Restoration.model_fields:
        then, now = getattr(trained, key), getattr(settings, key)
        if key != "mask_file" and then != now:
            what = f"a network trained with {key} {then}, the configuration says {now}"
            raise UserError(what, model, "give the network of this experiment")
