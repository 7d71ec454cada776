"""Verbs for training: experiments, and the small classifier of the demo scale."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from bridgepipe import artifacts
from bridgepipe.cli.common import (
    RUNTIME,
    Config,
    File,
    Processes,
    Runtime,
    Sources,
    Threads,
    fields_of,
    read_runtime,
    read_shared_runtime,
    write_provenance,
)
from bridgepipe.cli.models import imported_classes, open_data, published_model, task_of

app = typer.Typer()
# of runtime, besides training; of train, besides the loop
JOBS = ("threads", "processes", "batch_size", "partitions")
START = ("published", "init", "new_channels")
# a state of training is resumed only by the same code
CODE = ("training.py", "training_state.py", "rng.py", "methods", "networks", "processes", "corruptions")


@app.command()
def train(
    config: Config,
    data: File,
    folder: File,
    output: File,
    csv: File,
    sources: Sources = None,
    spectrum: Annotated[Path | None, typer.Option(help="fitted spectrum of the data")] = None,
    runtime: Runtime = RUNTIME,
    threads: Threads = None,
    processes: Processes = None,
) -> None:
    """Train an experiment's network, resuming what an earlier call left in FOLDER."""
    started = time.monotonic()
    speed = read_shared_runtime(runtime, threads, processes)
    from bridgepipe import rng, training
    from bridgepipe.running import is_main

    running = training.Running(**fields_of(training.Running, speed.model_dump(), JOBS))
    settings, items = artifacts.read_json(config), open_data(data)
    task = task_of(settings, items, sources, spectrum)
    recipe = training.Recipe(**fields_of(training.Recipe, settings["train"], START))
    code = artifacts.digest_code(*CODE)
    identity = {"config": settings, "data": items.digest, "code": code, **task.card}
    noise = rng.ItemNoise if data.suffix == ".lmdb" else rng.BlockNoise
    weights = training.train(task.network, task.objective, items, recipe, running, folder, identity, noise)
    if not is_main():
        return
    artifacts.save_tensors(output, weights, {"kind": settings["method"], **identity, "step": recipe.steps})
    artifacts.write_text(csv, (folder / "train.csv").read_text())
    write_provenance(folder / "provenance.json", started)


@app.command()
def import_weights(
    weights: Path,
    config: Config,
    output: File,
    size: Annotated[int | None, typer.Option(help="of the images of a Gaussian model")] = None,
) -> None:
    """Turn published weights into a model of an experiment; I2SB's options are compared with it."""
    from bridgepipe import fetch
    from bridgepipe.networks import plain, published

    settings = artifacts.read_json(config)
    if settings["train"].get("published") is not None:
        fetch.check(settings["train"]["published"], weights)
    file = weights / "latest.pt" if weights.is_dir() else weights
    card = {"kind": settings["method"], "config": settings, "imported_sha256": artifacts.digest_file(file)}
    if settings["method"] != "i2sb":
        card |= imported_classes(settings)
        checked = published_model(settings, plain.read_weights(file), (3, size, size), file)
        artifacts.save_tensors(output, checked, {**card, "shape": [3, size, size]})
        return
    options = file.with_name("options.pkl")
    if options.exists():
        published.check_options(options, settings, config)
    artifacts.save_tensors(output, published.i2sb_weights(file), card)


@app.command()
def train_classifier(
    config: Config, train: File, val: File, output: File, runtime: Runtime = RUNTIME, threads: Threads = None
) -> None:
    """Train the small classifier that stands in for published feature extractors at demo scale."""
    from bridgepipe.evaluation import classifier
    from bridgepipe.evaluation.accuracy import classifier_accuracy
    from bridgepipe.store import ImageStore

    read_runtime(runtime, threads)
    settings, images, held_out = artifacts.read_json(config), ImageStore(train), ImageStore(val)
    recipe = {key: settings[key] for key in ("steps", "batch_size", "lr", "seed")}
    trained = classifier.train_classifier(images, images.labels, **recipe)
    accuracy = classifier_accuracy(trained, held_out, held_out.labels, classes=held_out.classes)
    print(f"accuracy on {accuracy.n} held-out images: {accuracy.accuracy:.4f}")
    trained.save(output, {"config": settings, "data": images.digest, "held_out_accuracy": accuracy.accuracy})
