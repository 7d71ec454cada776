"""What several verbs share: options, and the step from configuration to plain values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.config import Extractor
from bridgepipe.config.i2sb import Restoration, RestorationTraining
from bridgepipe.config.stage_files import made_under, read_stage
from bridgepipe.errors import UserError

if TYPE_CHECKING:
    from bridgepipe.cli.options import ExtractorFiles, Trained
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation import features
    from bridgepipe.methods.i2sb import Restorer


def open_sources(path: Path | None, images: Any) -> ImageStore | None:
    """The store of the source images of pairs; None without a path.

    Raises:
        UserError: they are not the other halves of ``images``.
    """
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore

    if path is None:
        return None
    sources = ImageStore(path)
    lineage.made_together(images, sources)
    same_count(images=images, sources=sources)
    return sources


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


def load_extractor(files: ExtractorFiles, runtime: configuration.Runtime) -> features.Extractor:
    from bridgepipe.evaluation import features
    from bridgepipe.runtime import running

    settings = read_stage(files.extractor, Extractor)
    device = running.accelerator(runtime.device).device
    return features.load_extractor(settings.kind, files.weights, device=device, config=settings.as_json())


def same_count(**stores: Any) -> None:
    """Stores of the same images must have as many.

    Raises:
        UserError: they have not.
    """
    counts = {name: len(s) for name, s in stores.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{n} {name}" for name, n in counts.items())
        raise UserError(f"different numbers of images: {listed}", *_mend(stores))


def _mend(stores: dict[str, Any]) -> tuple[Any, str]:
    return next(iter(stores.values())).path, "delete the stores and make them again"
