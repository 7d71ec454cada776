"""From a configuration to networks, objectives and trained models: the one place that knows every method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts, closure, ilsvrc
from bridgepipe import config as configuration
from bridgepipe.classes import trained_classes
from bridgepipe.cli.common import fields_of, open_sources, problem_of, tuples
from bridgepipe.cli.options import Ends, Trained
from bridgepipe.cli.settings import read_settings
from bridgepipe.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from bridgepipe.datasets.points import Points
    from bridgepipe.methods.gaussian import Diffusion, Model
    from bridgepipe.training.objective import Images, Objective

SPECTRUM = ("c1", "c2", "m")
SPEED = ("device", "precision", "batch_size", "channels_last", "compile")


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


def task_of(settings: dict[str, Any], data: Images, sources: Path | None, spectrum: Path | None) -> Task:
    """The training task of an experiment.

    Args:
        settings: the stage's configuration.
        data: training images or points.
        sources: store of the corrupted half of every pair.
        spectrum: of the data, where the configuration leaves it to be fitted.
    """
    if settings["method"] == "i2sb":
        return _restoration(settings, data, sources)
    fitted = {} if spectrum is None else {"spectrum": _spectrum_of(spectrum, data)}
    diffusion = diffusion_of(settings, shape_of(data), fitted.get("spectrum", {}))
    card = {"shape": list(diffusion.shape), **fitted}
    return (_classifier if settings["method"] == "guide" else _denoiser)(settings, data, diffusion, card)


def _spectrum_of(file: Path, data: Any) -> dict[str, Any]:
    """A fitted spectrum.

    Raises:
        UserError: it was fitted to other data.
    """
    found = artifacts.read_object(file)
    if found.get("data") != data.digest:
        raise UserError("the spectrum was fitted to other data", file, f"fit it to {data.path}")
    return found


def _restoration(settings: dict[str, Any], data: Any, sources: Path | None) -> Task:
    from bridgepipe import corruptions
    from bridgepipe.methods import i2sb

    problem, seed = problem_of(settings, data.image_size), settings["train"]["seed"]
    arguments = {k: tuples(v) for k, v in settings["network"].items()}
    network = i2sb.network(problem.image_size, problem.cond_x1, seed, **arguments)
    _initialise(network, settings)
    pairs = open_sources(sources, data)
    read = {"init": settings["train"]["init"], "masks": settings["mask_file"]}
    card = {key: artifacts.digest_file(file) for key, file in read.items() if file is not None}
    card |= {} if pairs is None else {"sources": pairs.digest}
    unused = corruptions.unused_modules(problem.corruption)
    emphasis = i2sb.Emphasis(**{key: settings["train"][key] for key in ("at_end", "clean")})
    objective = i2sb.objective(problem, pairs, emphasis)
    return Task(network, objective, card, (_restoration,), unused)


def _denoiser(settings: dict[str, Any], data: Any, diffusion: Diffusion, card: dict[str, Any]) -> Task:
    from bridgepipe.methods import gaussian

    labels, classes, drop = None, None, settings.get("drop_labels", 0.0)
    if settings.get("conditional"):
        labels, names = _labels(data)
        classes, card = len(names), {**card, "class_names": names}
    told = None if classes is None else classes + (drop > 0)
    kind, seed = settings["network"]["kind"], settings["train"]["seed"]
    network = gaussian.network(kind, diffusion, told, seed, **_arguments(settings))
    objective = gaussian.Denoising(diffusion, labels, classes or 0, drop)
    unused = tuple(n for k, n in gaussian.NETWORKS.items() if k != kind)
    return Task(network, objective, card, (_denoiser, diffusion_of, shape_of), unused)


def _classifier(settings: dict[str, Any], data: Any, diffusion: Diffusion, card: dict[str, Any]) -> Task:
    from bridgepipe.methods import gaussian

    labels, names = _labels(data)
    pool, seed = settings["pool"], settings["train"]["seed"]
    network = gaussian.classifier(diffusion, len(names), seed, pool=pool, **_arguments(settings))
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


def _initialise(network: nn.Module, settings: dict[str, Any]) -> None:
    """Start from published ADM weights where the configuration says so."""
    from bridgepipe import fetch
    from bridgepipe.networks import plain, published

    how = settings["train"]
    if how["init"] is not None:
        if (source := fetch.source_at(how["init"])) is not None:
            fetch.check(source, how["init"])
        adm = plain.read_weights(how["init"])
        weights = published.i2sb_from_adm(adm, settings["cond_x1"], how["new_channels"], how["seed"])
        published.load(network, weights, how["init"])


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the network's constructor."""
    return {k: tuples(v) for k, v in settings["network"].items() if k != "kind"}


def diffusion_of(
    settings: Mapping[str, Any], shape: tuple[int, ...], spectrum: Mapping[str, float]
) -> Diffusion:
    """What the configuration of a Gaussian model describes.

    Args:
        shape: of one item.
        spectrum: fitted c1, c2 and m, where the configuration has none; may be empty.
    """
    from bridgepipe.methods.gaussian import Diffusion

    process = {**settings["process"], **{k: spectrum[k] for k in SPECTRUM if k in spectrum}}
    return Diffusion(shape, **fields_of(Diffusion, process))


def open_data(path: Path) -> Any:
    """Images of a store, or points of a file."""
    if path.suffix == ".safetensors":
        from bridgepipe.datasets.points import Points

        return Points(path)
    from bridgepipe.store import ImageStore

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

    settings = read_settings(trained.train_config)
    if (settings["method"] == "guide") != guide:
        what = (
            "a model is no guide: it tells no classes"
            if guide
            else "a guide is no model: it denoises nothing"
        )
        mend = "give the folder of a guide" if guide else "give the folder of a model"
        raise UserError(what, trained.model, f"{mend}, such as results/{'guide' if guide else 'model'}/NAME")
    weights, card = artifacts.load_tensors(trained.model, {"config": settings})
    diffusion = diffusion_of(settings, tuple(card["shape"]), card.get("spectrum", {}))
    classes = null = None
    names = card.get("class_names")
    if settings["method"] == "guide":
        network: nn.Module = gaussian.classifier(
            diffusion, _answers(weights, trained.model), pool=settings["pool"], **_arguments(settings)
        )
    else:
        told = _told(weights)
        null = told - 1 if told is not None and settings["drop_labels"] else None
        classes = null if null is not None else told
        network = gaussian.network(settings["network"]["kind"], diffusion, told, **_arguments(settings))
    published.load(network, weights, trained.model)
    speed = {name: getattr(runtime, name) for name in SPEED}
    content, repeat = card[artifacts.CONTENT], settings["train"]["seed"]
    return gaussian.Model(network, diffusion, content, classes, null, names, repeat, **speed)


def load_ends(ends: Ends, runtime: configuration.Runtime) -> tuple[Model, Model]:
    """The models of the source and of the target."""
    source, target = Trained(ends.source, ends.source_config), Trained(ends.target, ends.target_config)
    return load_model(source, runtime), load_model(target, runtime)


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


def imported_classes(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Card entry with the classes of published weights that are told or tell classes: those of ILSVRC."""
    told = settings["method"] == "guide" or settings.get("conditional", False)
    return {"class_names": ilsvrc.classes()} if told else {}


def published_model(
    settings: Mapping[str, Any], weights: dict[str, Tensor], shape: tuple[Any, ...], file: Path
) -> dict[str, Tensor]:
    """The weights, when they are those of the network that the configuration describes.

    Raises:
        UserError: a name or a shape differs.
    """
    from bridgepipe.methods import gaussian
    from bridgepipe.networks import published

    diffusion = diffusion_of(settings, shape, {})
    if settings["method"] == "guide":
        network: nn.Module = gaussian.classifier(
            diffusion, _answers(weights, file), pool=settings["pool"], **_arguments(settings)
        )
    else:
        network = gaussian.network(
            settings["network"]["kind"], diffusion, _told(weights), **_arguments(settings)
        )
    published.load(network, weights, file)
    return weights
