"""Training: of experiments, and of the small classifier of the demo scale; and published weights."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.config.extractor import Extractor
from bridgepipe.config.i2sb import RestorationTraining
from bridgepipe.config.points import PointTraining
from bridgepipe.config.recipe import BEST, VALIDATIONS
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import Training
from bridgepipe.config.validation import Validation
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets.points import DOMAINS
from bridgepipe.downloads import fetch
from bridgepipe.downloads import sources as sources_yaml
from bridgepipe.errors import UserError
from bridgepipe.evaluation import classifier
from bridgepipe.evaluation.accuracy import classifier_accuracy
from bridgepipe.methods.fitting import agree, fits, imported_classes
from bridgepipe.methods.task import Task, open_data, task_of
from bridgepipe.methods.trained import HeldOut
from bridgepipe.names import Json
from bridgepipe.networks import layouts, published
from bridgepipe.runtime import closure, provenance, rng
from bridgepipe.runtime.finished import resumable
from bridgepipe.runtime.running import is_main
from bridgepipe.stages import validation
from bridgepipe.training import checkpoints, loop
from bridgepipe.training import state as training_state
from bridgepipe.training import validation as training_validation

LINEAGE = ("class_names", "spectrum", "licences", "data")  # what an import takes over of a card
# settings that no step depends on: how long a training is and what it logs, and names of files and
# data, which count by their content
UNRELATED: Any = {
    "dataset": True,
    "mask_file": True,
    "train": {"steps", "log_every", "keep_every", "validation", "init", "published"},
}


def train(
    settings: Training,
    data: Path,
    folder: Path,
    output: Path,
    csv: Path,
    sources: Path | None,
    spectrum: Path | None,
    held_out: HeldOut,
    speed: Runtime,
    started: float,
) -> None:
    """Train an experiment's network, resuming what an earlier call left in ``folder``.

    Args:
        held_out: what the validation reads, where there is one.
        started: time at which the command began, by `time.monotonic`.
    """
    items = open_data(data)
    task = task_of(settings, items, sources, spectrum)
    identity = identity_of(settings, items, task)
    noise = rng.ItemNoise if data.suffix == ".lmdb" else rng.BlockNoise
    card = {"kind": settings.method, **identity, "config": settings.as_json(), **_licences(items)}
    validator = validation.validator(settings, task, held_out, noise, speed)
    trained = task.network, task.objective, items, settings.train, speed, folder, identity, noise, card
    weights = loop.train(*trained, validator, task.part)
    if not is_main():
        return
    artifacts.save_tensors(output, weights, {**card, "step": settings.train.steps})
    artifacts.write_text(csv, (folder / "train.csv").read_text())
    history = artifacts.load_card(folder / training_state.FILE)["history"]
    provenance.trained(history)
    record = {**provenance.facts(), "seconds": round(time.monotonic() - started, 1), "sessions": history}
    artifacts.write_json(folder / "provenance.json", record)


def checkpoint(settings: Training, model: Path, folder: Path, output: Path) -> None:
    """Give a checkpoint that a training kept in ``folder`` its place beside the trained model.

    The table of its validations is one, too: it lies beside the best checkpoint.

    Raises:
        UserError: the training of this model kept no checkpoint of this name.
    """
    trained = _training_of(artifacts.load_card(model))
    if output.name != VALIDATIONS and output.stem != BEST:
        stored = checkpoints.find(folder, output.stem, lambda card: _training_of(card) == trained)
        checkpoints.take(stored, output, {"config": settings.as_json()})
        return
    how = _numbers(settings.train.validation)
    best = checkpoints.find(
        folder, BEST, lambda card: _training_of(card) == trained and _validation_of(card) == how
    )
    if output.name == VALIDATIONS:
        artifacts.write_text(output, training_validation.table(best.parent))
    else:
        checkpoints.take(best, output, {"config": settings.as_json()})


def _validation_of(card: Mapping[str, Any]) -> Json | None:
    """What decided the validations of a training, by the card of a checkpoint."""
    found = card["config"]["train"].get("validation")
    return None if found is None else _numbers(Validation.model_validate_json(json.dumps(found)))


def _numbers(how: Validation | None) -> Json | None:
    return None if how is None else how.numbers


def _training_of(card: Mapping[str, Any]) -> str:
    """Identity of the training of weights, from their card: everything that a step of it depends on."""
    config = {key: value for key, value in card["config"].items() if UNRELATED.get(key) is not True}
    config["train"] = {k: v for k, v in config["train"].items() if k not in UNRELATED["train"]}
    beside = {training_state.CODE, "step", artifacts.CONTENT}
    return artifacts.canonical({k: v for k, v in card.items() if k not in beside} | {"config": config})


def _licences(data: Any) -> Json:
    """The licence of every picture that was trained on, where the data record it."""
    made_by = getattr(data, "card", {}).get("made_by", {})
    return {"licences": made_by["licences"][made_by["split"]]} if "licences" in made_by else {}


def identity_of(settings: Training, data: Any, task: Task) -> Json:
    """What the next step of a training depends on; its state is resumed as long as this is the same."""
    config = settings.model_dump(mode="json", exclude=UNRELATED)
    without = (*closure.MACHINERY, *task.unused)
    code = closure.digest(loop.train, type(data), *task.code, without=without)
    return {"config": config, "data": data.digest, "code": code, **task.card}


def import_weights(
    weights: Path,
    settings: Training,
    config: Path,
    output: Path,
    size: int | None,
    domain: str | None,
) -> None:
    """Turn weights of any layout into a model of an experiment, if their folder's settings agree with it.

    Of a domain of the plane it is the file of the most steps, not EMA.

    Raises:
        UserError: the weights are others, or no size is given of a Gaussian model of images.
    """
    if size is None and not isinstance(settings, RestorationTraining | PointTraining):
        raise UserError("weights do not tell the size of their images", "--size", "give it, in pixels")
    if (source := sources_yaml.source_at(weights)) is not None:
        fetch.check(source, weights)
    found = layouts.open_weights(weights, None if domain is None else list(DOMAINS).index(domain))
    agree(settings, found, config)
    card: Json = {"kind": settings.method, "config": settings.as_json()}
    card |= {"imported_sha256": found.sha256}
    card |= {"imported_from": sources_yaml.origin_of(weights) or {"file": found.file.name}}
    if isinstance(settings, RestorationTraining):
        options = found.file.with_name("options.pkl")
        if options.exists():
            published.check_options(options, settings.model_dump(), config)
    else:
        shape = (2,) if isinstance(settings, PointTraining) else (3, size, size)
        card |= {**imported_classes(settings, found.weights), "shape": list(shape)}
    card |= {key: found.card[key] for key in LINEAGE if key in found.card}
    fits(settings, found.weights, card, found.file)
    artifacts.save_tensors(output, found.weights, card)


def train_classifier(
    settings: Extractor,
    train: Path,
    val: Path,
    output: Path,
    speed: Runtime,
) -> None:
    """Train the small classifier that stands in for published feature extractors at demo scale."""
    images, held_out = ImageStore(train), ImageStore(val)
    recipe = settings.model_dump(include={"steps", "batch_size", "lr", "seed"})
    with resumable(output, {"config": settings.as_json(), "data": [images.digest, held_out.digest]}, speed):
        trained = classifier.train_classifier(images, images.labels, **recipe)
        accuracy = classifier_accuracy(trained, held_out, held_out.labels, classes=held_out.classes)
    interval = f"{accuracy.low:.3f} to {accuracy.high:.3f}"
    print(f"accuracy on {accuracy.n} held-out images: {accuracy.accuracy:.3f} (95 % interval {interval})")
    card = {"config": settings.as_json(), "data": images.digest, **accuracy.values("held_out_accuracy")}
    trained.save(output, card)
