"""Verbs for training: experiments, and the small classifier of the demo scale."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bridgepipe import artifacts
from bridgepipe.cli.common import (
    RUNTIME,
    Config,
    File,
    Runtime,
    Sources,
    Threads,
    fields_of,
    open_sources,
    problem_of,
    read_runtime,
    tuples,
    write_provenance,
)

if TYPE_CHECKING:
    from torch import nn

app = typer.Typer()
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
    runtime: Runtime = RUNTIME,
    threads: Threads = None,
) -> None:
    """Train an experiment's network, resuming what an earlier call left in FOLDER."""
    from bridgepipe import training
    from bridgepipe.methods import i2sb
    from bridgepipe.store import ImageStore

    started = time.monotonic()
    running = training.Running(**fields_of(training.Running, read_runtime(runtime, threads).model_dump()))
    settings, images = artifacts.read_json(config), ImageStore(data)
    problem = problem_of(settings, images.image_size)
    recipe = training.Recipe(**fields_of(training.Recipe, settings["train"]))
    identity = {"config": settings, "data": images.digest, "code": artifacts.digest_code(*CODE)}
    arguments = {k: tuples(v) for k, v in settings["network"].items()}
    network = i2sb.network(problem.image_size, problem.cond_x1, recipe.seed, **arguments)
    _initialise(network, settings)
    try:
        objective = i2sb.objective(problem, open_sources(sources))
        weights = training.train(network, objective, images, recipe, running, folder, identity)
    except training.Interrupted as e:
        print(f"bridgepipe: {e}", file=sys.stderr)
        raise SystemExit(training.RESUME_ME) from None
    artifacts.save_tensors(output, weights, {"kind": settings["method"], **identity, "step": recipe.steps})
    artifacts.write_text(csv, (folder / "train.csv").read_text())
    write_provenance(folder / "provenance.json", started)


def _initialise(network: nn.Module, settings: dict[str, Any]) -> None:
    """Start from published ADM weights where the configuration says so."""
    from bridgepipe.networks import plain, published

    how = settings["train"]
    if how["init"] is not None:
        adm = plain.read_weights(how["init"])
        weights = published.i2sb_from_adm(adm, settings["cond_x1"], how["new_channels"], how["seed"])
        published.load(network, weights, how["init"])


@app.command()
def import_weights(weights: Path, config: Config, output: File) -> None:
    """Turn published I2SB weights (latest.pt, or the folder with it) into a model of an experiment."""
    from bridgepipe.networks import published

    settings = artifacts.read_json(config)
    file = weights / "latest.pt" if weights.is_dir() else weights
    options = file.with_name("options.pkl")
    if options.exists():
        published.check_options(options, settings, config)
    card = {"kind": settings["method"], "config": settings, "imported_sha256": artifacts.digest_file(file)}
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
    accuracy = classifier_accuracy(trained, held_out, held_out.labels)
    print(f"accuracy on {accuracy.n} held-out images: {accuracy.accuracy:.4f}")
    trained.save(output, {"config": settings, "data": images.digest, "held_out_accuracy": accuracy.accuracy})
