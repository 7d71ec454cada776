"""From a configuration to networks, objectives and trained models: the one place that knows every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.cli.common import open_sources
from bridgepipe.cli.options import Ends, Trained
from bridgepipe.config.gaussian import GuideTraining, ModelTraining, Noising, Process
from bridgepipe.config.i2sb import RestorationTraining
from bridgepipe.config.points import PointProcess, PointTraining
from bridgepipe.config.stage_files import Training, made_under, read_training
from bridgepipe.errors import UserError
from bridgepipe.names import ilsvrc
from bridgepipe.names.classes import trained_classes
from bridgepipe.runtime import closure

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from bridgepipe.datasets.points import Points
    from bridgepipe.methods.gaussian import Diffusion, Model
    from bridgepipe.training.objective import Images, Objective

SPECTRUM = ("c1", "c2", "m")
Gaussian = ModelTraining | GuideTraining | PointTraining


@dataclass(frozen=True)
class Task:
    """What training needs of a method.

    Attributes:
        network: freshly initialised.
        objective: its loss.
        card: what its artefact must tell, digests of every file that was read among it.
        code: what made all this, for `closure`.
        unused: code that the method has for other experiments.
    """

    network: nn.Module
    objective: Objective
    card: dict[str, Any]
    code: tuple[closure.Root, ...]
    unused: tuple[closure.Root, ...] = ()


def task_of(settings: Training, data: Images, sources: Path | None, spectrum: Path | None) -> Task:
    """The training task of an experiment.

    Args:
        settings: the stage's configuration.
        data: training images or points.
        sources: store of the corrupted half of every pair.
        spectrum: of the data, where the configuration leaves it to be fitted.
    """
    if isinstance(settings, RestorationTraining):
        return _restoration(settings, data, sources)
    fitted = {} if spectrum is None else {"spectrum": _spectrum_of(spectrum, data)}
    diffusion = diffusion_of(settings.process, shape_of(data), fitted.get("spectrum", {}))
    card = {"shape": list(diffusion.shape), **fitted}
    if isinstance(settings, GuideTraining):
        return _classifier(settings, data, diffusion, card)
    return _denoiser(settings, data, diffusion, card)


def _spectrum_of(file: Path, data: Any) -> dict[str, Any]:
    """A fitted spectrum.

    Raises:
        UserError: it was fitted to other data.
    """
    found = artifacts.read_object(file)
    if found.get("data") != data.digest:
        raise UserError("the spectrum was fitted to other data", file, f"fit it to {data.path}")
    return found


def _restoration(settings: RestorationTraining, data: Any, sources: Path | None) -> Task:
    from bridgepipe import corruptions
    from bridgepipe.methods import i2sb

    problem, seed, network = i2sb.Problem(data.image_size, settings), settings.train.seed, settings.network
    made = i2sb.network(data.image_size, settings.cond_x1, seed, network.kind, **network.arguments)
    _initialise(made, settings)
    pairs = open_sources(sources, data)
    read = {"init": settings.train.init, "masks": settings.mask_file}
    card = {key: artifacts.digest_file(file) for key, file in read.items() if file is not None}
    card |= {} if pairs is None else {"sources": pairs.digest}
    unused = corruptions.unused_modules(settings.corruption)
    objective = i2sb.objective(problem, pairs, settings.train)
    return Task(made, objective, card, (_restoration,), unused)


def _denoiser(
    settings: ModelTraining | PointTraining, data: Any, diffusion: Diffusion, card: dict[str, Any]
) -> Task:
    from bridgepipe.methods import gaussian

    labels, classes = None, None
    drop = settings.drop_labels if isinstance(settings, ModelTraining) else 0.0
    if _is_conditional(settings):
        labels, names = _labels(data)
        classes, card = len(names), {**card, "class_names": names}
    told = None if classes is None else classes + (drop > 0)
    kind, seed = settings.network.kind, settings.train.seed
    network = gaussian.network(kind, diffusion, told, seed, **settings.network.arguments)
    objective = gaussian.Denoising(diffusion, labels, classes or 0, drop)
    unused = tuple(n for k, n in gaussian.NETWORKS.items() if k != kind)
    return Task(network, objective, card, (_denoiser, diffusion_of, shape_of), unused)


def _classifier(settings: GuideTraining, data: Any, diffusion: Diffusion, card: dict[str, Any]) -> Task:
    from bridgepipe.methods import gaussian

    labels, names = _labels(data)
    pool, seed = settings.pool, settings.train.seed
    network = gaussian.classifier(diffusion, len(names), seed, pool=pool, **settings.network.arguments)
    objective, code = gaussian.classifier_objective(diffusion, labels), (_classifier, diffusion_of, shape_of)
    return Task(network, objective, {**card, "class_names": names}, code)


def _labels(data: Any) -> tuple[np.ndarray, list[str]]:
    """Labels and names of the classes.

    Raises:
        UserError: no labels, or a class without training images.
    """
    if data.labels is None:
        raise UserError("no labels", data.path, "take a dataset with classes, or conditional: false")
    return data.labels, trained_classes(data.labels, data.classes, data.path)


def _initialise(network: nn.Module, settings: RestorationTraining) -> None:
    """Start from published ADM weights where the configuration says so."""
    from bridgepipe.downloads import fetch
    from bridgepipe.networks import plain, published

    how = settings.train
    if how.init is not None:
        if (source := fetch.source_at(how.init)) is not None:
            fetch.check(source, how.init)
        adm = plain.read_weights(how.init)
        weights = published.i2sb_from_adm(adm, settings.cond_x1, how.new_channels, how.seed)
        published.load(network, weights, how.init)


def diffusion_of(
    settings: Noising | PointProcess, shape: tuple[int, ...], spectrum: Mapping[str, float]
) -> Diffusion:
    """What the process of a Gaussian model describes.

    Args:
        settings: of the process; what it leaves out is as by default.
        shape: of one item.
        spectrum: fitted c1, c2 and m, where the configuration has none; may be empty.
    """
    from bridgepipe.methods.gaussian import Diffusion

    fitted = {key: spectrum[key] for key in SPECTRUM if key in spectrum}
    # the limits of c1, c2 and m are for what a person writes: what was fitted is what the data say
    return Diffusion(shape, Process.of(settings).model_copy(update=fitted))


def open_data(path: Path) -> Any:
    """Images of a store, or points of a file."""
    if path.suffix == ".safetensors":
        from bridgepipe.datasets.points import Points

        return Points(path)
    from bridgepipe.data.store import ImageStore

    return ImageStore(path)


def shape_of(data: Any) -> tuple[int, ...]:
    """Shape of one item as networks see it."""
    return (3, *data.image_size) if hasattr(data, "image_size") else (data.dim,)


def load_model(trained: Trained, runtime: configuration.Runtime, guide: bool = False) -> Model:
    """A trained Gaussian model, or a guide.

    Args:
        guide: whether a classifier of noisy images is wanted.

    Raises:
        UserError: it was trained under another configuration, or is the other of the two.
    """
    from bridgepipe.methods import gaussian
    from bridgepipe.networks import published

    settings = _read_gaussian(trained.train_config)
    if isinstance(settings, GuideTraining) != guide:
        what = (
            "a model is no guide: it tells no classes"
            if guide
            else "a guide is no model: it denoises nothing"
        )
        mend = "give the folder of a guide" if guide else "give the folder of a model"
        raise UserError(what, trained.model, f"{mend}, such as results/{'guide' if guide else 'model'}/NAME")
    expected = made_under(settings, artifacts.load_card(trained.model))
    weights, card = artifacts.load_tensors(trained.model, expected)
    diffusion = diffusion_of(settings.process, tuple(card["shape"]), card.get("spectrum", {}))
    classes = null = None
    names = card.get("class_names")
    if not isinstance(settings, GuideTraining):
        told = _told(weights)
        null = told - 1 if told is not None and _drops_labels(settings) else None
        classes = null if null is not None else told
    network = _network(settings, diffusion, weights, trained.model)
    published.load(network, weights, trained.model)
    content, repeat = card[artifacts.CONTENT], settings.train.seed
    return gaussian.Model(network, diffusion, content, classes, null, names, repeat, runtime)


def load_ends(ends: Ends, runtime: configuration.Runtime) -> tuple[Model, Model]:
    """The models of the source and of the target."""
    source, target = Trained(ends.source, ends.source_config), Trained(ends.target, ends.target_config)
    return load_model(source, runtime), load_model(target, runtime)


def _read_gaussian(train_config: Path) -> Gaussian:
    settings = read_training(train_config)
    if isinstance(settings, RestorationTraining):
        mend = "give the folder of an experiment of model, guide or points"
        raise UserError("a bridge is no Gaussian model", train_config, mend)
    return settings


def _is_conditional(settings: Gaussian) -> bool:
    return isinstance(settings, ModelTraining) and settings.conditional


def _drops_labels(settings: Gaussian) -> bool:
    return isinstance(settings, ModelTraining) and settings.drop_labels > 0


def _network(
    settings: Gaussian, diffusion: Diffusion, weights: Mapping[str, Tensor], where: Path
) -> nn.Module:
    """The network that the settings describe, told or telling as many classes as its weights have."""
    from bridgepipe.methods import gaussian

    arguments = settings.network.arguments
    if isinstance(settings, GuideTraining):
        return gaussian.classifier(diffusion, _answers(weights, where), pool=settings.pool, **arguments)
    return gaussian.network(settings.network.kind, diffusion, _told(weights), **arguments)


def check_dimension(model: Model, points: Points) -> None:
    """Refuse points of another dimension than the model's.

    Raises:
        UserError: they are.
    """
    if (points.dim,) != tuple(model.diffusion.shape):
        what = f"points of dimension {points.dim}, the model's are of {model.diffusion.shape[0]}"
        raise UserError(what, points.path, "give the points of this model")


def _told(weights: Mapping[str, Tensor]) -> int | None:
    """Number of labels that a network is told."""
    return weights["label_emb.weight"].shape[0] if "label_emb.weight" in weights else None


def _answers(weights: Mapping[str, Tensor], where: Path) -> int:
    """Number of classes that a classifier tells apart.

    Raises:
        UserError: the weights are not those of a classifier.
    """
    for name in ("out.2.c_proj.bias", "out.3.bias"):
        if name in weights:
            return weights[name].shape[0]
    raise UserError("not the weights of a guide: they tell no classes", where, "give those of a classifier")


def imported_classes(settings: Gaussian) -> dict[str, list[str]]:
    """Card entry with the classes of published weights that are told or tell classes: those of ILSVRC."""
    told = isinstance(settings, GuideTraining) or _is_conditional(settings)
    return {"class_names": ilsvrc.classes()} if told else {}


def published_model(
    settings: Gaussian, weights: dict[str, Tensor], shape: tuple[Any, ...], file: Path
) -> dict[str, Tensor]:
    """The weights, when they are those of the network that the configuration describes.

    Raises:
        UserError: a name or a shape differs.
    """
    from bridgepipe.networks import published

    network = _network(settings, diffusion_of(settings.process, shape, {}), weights, file)
    published.load(network, weights, file)
    return weights
