"""Trained networks from their files, each refused when it was trained under other settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.config import Extractor
from bridgepipe.config.gaussian import GuideTraining, ModelTraining
from bridgepipe.config.i2sb import Restoration, RestorationTraining
from bridgepipe.config.recipe import MODEL, Checkpoint
from bridgepipe.config.stage_files import (
    TRAININGS,
    Training,
    made_under,
    parsed_stage,
    read_stage,
    read_training,
)
from bridgepipe.errors import UserError
from bridgepipe.methods.fitting import Gaussian, imported_classes, network_of, num_labels_of
from bridgepipe.methods.task import diffusion_of
from bridgepipe.names import Json

if TYPE_CHECKING:
    from torch import Tensor

    from bridgepipe.datasets.points import Points
    from bridgepipe.evaluation import extractors
    from bridgepipe.methods.gaussian import Model
    from bridgepipe.methods.i2sb import Restorer
    from bridgepipe.networks.layouts import Found


@dataclass(frozen=True)
class Trained:
    """A trained network, and the configuration that it was trained under."""

    model: Path
    train_config: Path

    @classmethod
    def within(cls, named: Path, weights: Checkpoint | None = None) -> Self:
        """From an experiment's results folder, or from other weights, which come with their own settings.

        Args:
            named: folder, file or name; see `located`.
            weights: checkpoint of an experiment; its last weights where no others are meant.
        """
        place = home_of(located(named))
        config = place / "config/train.json"
        if place.exists() and not config.is_file():
            return cls(place, place)
        return cls(place / (MODEL if weights is None else weights.file(read_training(config).train)), config)

    @property
    def alone(self) -> bool:
        """Whether the weights come with their own settings."""
        return self.model == self.train_config


def located(named: Path) -> Path:
    """The file or folder that a person names as `train.published` does; of a hub it is fetched.

    Raises:
        UserError: the file cannot be fetched.
    """
    from bridgepipe.downloads import fetch, sources

    text = str(named)
    if named.exists():
        return named
    if sources.is_fetched(text):
        return fetch.fetch(text, "data")
    place = sources.place_of(text)
    return place.parent if place.name == MODEL and text != str(place) else place


def home_of(folder: Path) -> Path:
    """The results folder with the network of an experiment: of a variant ``NAME.VARIANT`` that of NAME."""
    here = folder
    while not (here / "config/train.json").is_file() and "." in here.name:
        here = here.with_name(here.name.rpartition(".")[0])
    return here if (here / "config/train.json").is_file() else folder


@dataclass(frozen=True)
class Ends:
    """The source model and the target model."""

    source: Path
    source_config: Path
    target: Path
    target_config: Path


@dataclass(frozen=True)
class ExtractorFiles:
    """The configuration and the weights of an extractor."""

    extractor: Path
    weights: Path


@dataclass(frozen=True)
class HeldOut:
    """What the validation of a training reads.

    Attributes:
        validation: store of images, or file of points.
        validation_sources: store of the corrupted half of every pair.
        extractor, weights: configuration and weights of the extractor of FID and accuracy.
        statistics: statistics of the images that the FID compares with.
    """

    validation: Path | None = None
    validation_sources: Path | None = None
    extractor: Path | None = None
    weights: Path | None = None
    statistics: Path | None = None

    @property
    def extractor_files(self) -> ExtractorFiles | None:
        if self.extractor is None or self.weights is None:
            return None
        return ExtractorFiles(self.extractor, self.weights)


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
    kind, arguments, calls = recipe.network.kind, recipe.network.arguments, recipe.train.distil
    seen = {"cond_x1": settings.cond_x1, "noise": calls is not None}
    network = i2sb.network(image_size, seed=0, kind=kind, **seen, **arguments)
    published.load(network, weights, model)
    problem = i2sb.Problem(image_size, settings)
    return i2sb.Restorer(network, problem, card[artifacts.CONTENT], recipe.train.seed, runtime, calls)


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


def load_model(trained: Trained, runtime: configuration.Runtime, guide: bool = False) -> Model:
    """A trained Gaussian model, or a guide.

    Args:
        guide: whether to load a classifier of noisy images.

    Raises:
        UserError: the weights were trained under another configuration, or are those of the other of the two.
    """
    from bridgepipe.methods import gaussian
    from bridgepipe.networks import published

    settings, weights, card = _opened(trained, guide)
    diffusion = diffusion_of(settings.process, tuple(card["shape"]), card.get("spectrum", {}))
    classes = null = None
    names = card.get("class_names")
    if not isinstance(settings, GuideTraining):
        num_labels = num_labels_of(weights)
        null = num_labels - 1 if num_labels is not None and _drops_labels(settings) else None
        classes = null if null is not None else num_labels
    network = network_of(settings, diffusion, weights, trained.model)
    published.load(network, weights, trained.model)
    content, repeat = card[artifacts.CONTENT], settings.train.seed
    return gaussian.Model(network, diffusion, content, classes, null, names, repeat, runtime)


def open_model(trained: Trained, runtime: configuration.Runtime) -> Model:
    """A Gaussian model whose bottleneck can be read, which a compiled one's cannot."""
    return load_model(trained, runtime.model_copy(update={"compile": False}))


def load_ends(ends: Ends, runtime: configuration.Runtime) -> tuple[Model, Model]:
    """The models of the source and of the target."""
    source, target = Trained(ends.source, ends.source_config), Trained(ends.target, ends.target_config)
    return load_model(source, runtime), load_model(target, runtime)


def _opened(trained: Trained, guide: bool) -> tuple[Gaussian, Mapping[str, Tensor], Mapping[str, Any]]:
    """Settings of a training, the weights, and their card."""
    if trained.alone:
        settings, weights, card = _alone(trained.model)
        return _wanted(settings, trained, guide), weights, card
    found = _wanted(read_training(trained.train_config), trained, guide)
    weights, card = artifacts.load_tensors(
        trained.model, made_under(found, artifacts.load_card(trained.model))
    )
    return found, weights, card


def _wanted(settings: Training, trained: Trained, guide: bool) -> Gaussian:
    """The settings, when they are those of what is wanted: a guide, or a model."""
    if isinstance(settings, RestorationTraining):
        mend = "give the folder of an experiment of model, guide or points"
        raise UserError("a bridge is no Gaussian model", trained.train_config, mend)
    if isinstance(settings, GuideTraining) != guide:
        is_none = "a model is no guide: it predicts no classes", "a guide is no model: it denoises nothing"
        kind = "guide" if guide else "model"
        raise UserError(
            is_none[not guide], trained.model, f"give the folder of a {kind}, such as results/{kind}/NAME"
        )
    return settings


def _alone(place: Path) -> tuple[Training, Mapping[str, Tensor], Json]:
    """Weights that come with their own settings: of this project, or a UNet2DModel with its scheduler.

    Raises:
        UserError: the files hold no settings.
    """
    from bridgepipe.networks import layouts

    found = layouts.open_weights(place)
    stated = found.card.get("config") or found.card.get("settings") or _as_training(found)
    if stated.get("method") not in TRAININGS:
        mend = "name them in train.published of an experiment, or give a folder of diffusers or of `share`"
        raise UserError("weights that tell no settings", place, mend)
    settings = parsed_stage(stated, place, TRAININGS[stated["method"]])
    card = {"shape": found.settings.get("shape"), artifacts.CONTENT: found.sha256}
    if not found.card and isinstance(settings, ModelTraining):
        card |= imported_classes(settings, found.weights)
    return settings, found.weights, {**card, **found.card}


def _as_training(found: Found) -> Json:
    """Settings in a diffusers folder, as those of a training; {} for other weights."""
    if not found.settings:
        return {}
    about = {key: found.settings[key] for key in ("process", "network")}
    labels = found.settings["classes"] is not None
    return {"method": "model", "dataset": "unknown", "conditional": labels, "train": {"steps": 1}, **about}


def _drops_labels(settings: Gaussian) -> bool:
    return isinstance(settings, ModelTraining) and settings.drop_labels > 0


def check_dimension(model: Model, points: Points) -> None:
    """Refuse points of another dimension than the model's.

    Raises:
        UserError: the dimensions differ.
    """
    if (points.dim,) != tuple(model.diffusion.shape):
        what = f"points of dimension {points.dim}, the model's are of {model.diffusion.shape[0]}"
        raise UserError(what, points.path, "give the points of this model")


def load_extractor(files: ExtractorFiles, runtime: configuration.Runtime) -> extractors.Extractor:
    from bridgepipe.evaluation import extractors
    from bridgepipe.runtime import running

    settings = read_stage(files.extractor, Extractor)
    device = running.placed(runtime.device).device
    return extractors.load_extractor(settings.kind, files.weights, device=device, config=settings.as_json())
