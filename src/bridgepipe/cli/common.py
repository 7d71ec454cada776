"""What several verbs share: options, and the step from configuration to plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.cli.settings import RUNTIME as RUNTIME
from bridgepipe.cli.settings import read_settings
from bridgepipe.config.errors import nearest
from bridgepipe.errors import UserError

if TYPE_CHECKING:
    from bridgepipe.cli.options import ExtractorFiles, Trained
    from bridgepipe.evaluation.features import Extractor
    from bridgepipe.methods.i2sb import Problem, Restorer, Sampling
    from bridgepipe.store import ImageStore

# of a stage's configuration, besides the problem
STAGES = ("method", "dataset", "network", "train", "sample", "evaluate", "study")


def fields_of(kind: type, values: Mapping[str, Any], besides: Sequence[str] = ()) -> dict[str, Any]:
    """The entries of ``values`` that are fields of a dataclass, lists as tuples.

    Args:
        besides: keys that something else reads.

    Raises:
        UserError: a key that nothing reads.
    """
    names = {f.name for f in dataclasses.fields(kind)}
    for key in values:
        if key not in names and key not in besides:
            raise UserError(f"unknown key '{key}'", kind.__name__, nearest(key, [*names, *besides]))
    return {k: tuples(v) for k, v in values.items() if k in names}


def tuples(value: Any) -> Any:
    """JSON has lists only; constructors want tuples."""
    return tuple(value) if isinstance(value, list) else value


def problem_of(settings: dict[str, Any], image_size: Sequence[int]) -> Problem:
    from bridgepipe.methods.i2sb import Problem

    height, width = image_size
    return Problem(image_size=(height, width), **fields_of(Problem, settings, STAGES))


def sampling_of(section: dict[str, Any]) -> Sampling:
    from bridgepipe.methods.i2sb import Sampling

    return Sampling(**fields_of(Sampling, section, ("dataset", "whole", "split", "count")))


def open_sources(path: Path | None, images: Any) -> ImageStore | None:
    """The store of the source images of pairs; None without a path.

    Raises:
        UserError: they are not the other halves of ``images``.
    """
    from bridgepipe import lineage
    from bridgepipe.store import ImageStore

    if path is None:
        return None
    sources = ImageStore(path)
    lineage.made_together(images, sources)
    same_count(images=images, sources=sources)
    return sources


def load_restorer(trained: Trained, problem: Problem, runtime: configuration.Runtime) -> Restorer:
    """A trained network, refused when it was trained under another configuration, or for another problem."""
    from bridgepipe.methods import i2sb
    from bridgepipe.networks import published

    settings = read_settings(trained.train_config)
    _same_problem(settings, problem, trained.model)
    weights, card = artifacts.load_tensors(trained.model, {"config": settings})
    arguments = {k: tuples(v) for k, v in settings["network"].items()}
    network = i2sb.network(problem.image_size, problem.cond_x1, seed=0, **arguments)
    published.load(network, weights, trained.model)
    return i2sb.Restorer(
        network,
        problem,
        device=runtime.device,
        precision=runtime.precision,
        batch_size=runtime.batch_size,
        channels_last=runtime.channels_last,
        compile=runtime.compile,
        digest=card[artifacts.CONTENT],
        repeat=settings["train"]["seed"],
    )


def _same_problem(trained: dict[str, Any], problem: Problem, model: Path) -> None:
    """Refuse to sample a bridge that a network was not trained for.

    Raises:
        UserError: with the first setting that differs.
    """
    for key, now in dataclasses.asdict(problem).items():
        if key not in ("image_size", "mask_file") and trained.get(key, now) != now:
            what = f"a network trained with {key} {trained[key]}, the configuration says {now}"
            raise UserError(what, model, "give the network of this experiment")


def load_extractor(files: ExtractorFiles, runtime: configuration.Runtime) -> Extractor:
    from bridgepipe import running
    from bridgepipe.evaluation import features

    config = read_settings(files.extractor)
    device = running.accelerator(runtime.device).device
    return features.load_extractor(config["kind"], files.weights, device=device, config=config)


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
