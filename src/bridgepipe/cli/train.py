"""Verbs for training: experiments, and the small classifier of the demo scale."""

from __future__ import annotations

import sys

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
)

app = typer.Typer()
# a state of training is resumed only by the same code
CODE = ("training.py", "rng.py", "methods", "networks", "processes", "corruptions")


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

    running = training.Running(**fields_of(training.Running, read_runtime(runtime, threads).model_dump()))
    settings, images = artifacts.read_json(config), ImageStore(data)
    problem, recipe = problem_of(settings, images.image_size), training.Recipe(**settings["train"])
    identity = {"config": settings, "data": images.digest, "code": artifacts.digest_code(*CODE)}
    arguments = {k: tuples(v) for k, v in settings["network"].items()}
    network = i2sb.network(problem.image_size, problem.cond_x1, recipe.seed, **arguments)
    try:
        objective = i2sb.objective(problem, open_sources(sources))
        weights = training.train(network, objective, images, recipe, running, folder, identity)
    except training.Interrupted as e:
        print(f"bridgepipe: {e}", file=sys.stderr)
        raise SystemExit(training.RESUME_ME) from None
    artifacts.save_tensors(output, weights, {"kind": settings["method"], **identity, "step": recipe.steps})
    artifacts.write_text(csv, (folder / "train.csv").read_text())


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
