"""Verbs for training: experiments, and the small classifier of the demo scale."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone, Config, File, Shared, Sources
from bridgepipe.config.extractor import Extractor
from bridgepipe.config.i2sb import RestorationTraining
from bridgepipe.config.points import PointTraining
from bridgepipe.config.stage_files import Training, read_stage, read_training
from bridgepipe.errors import UserError
from bridgepipe.methods.task import Task, open_data, task_of
from bridgepipe.methods.trained import imported_classes, published_model
from bridgepipe.runtime import closure, provenance
from bridgepipe.training import state as training_state

# settings that no step depends on: how long a training is and what its log tells, and names of files and
# data, which count by their content
UNRELATED: Any = {
    "dataset": True,
    "mask_file": True,
    "train": {"steps", "log_every", "init", "published"},
}


@groups.stage.verb()
def train(
    config: Config,
    data: File,
    folder: File,
    output: File,
    csv: File,
    sources: Sources = None,
    spectrum: Annotated[Path | None, typer.Option(help="fitted spectrum of the data")] = None,
    run: Shared = Shared(),
) -> None:
    """Train an experiment's network, resuming what an earlier call left in FOLDER."""
    started = time.monotonic()
    speed = run.start()
    from bridgepipe.runtime import rng
    from bridgepipe.runtime.running import is_main
    from bridgepipe.training import loop

    settings, items = read_training(config), open_data(data)
    task = task_of(settings, items, sources, spectrum)
    identity = identity_of(settings, items, task)
    noise = rng.ItemNoise if data.suffix == ".lmdb" else rng.BlockNoise
    weights = loop.train(task.network, task.objective, items, settings.train, speed, folder, identity, noise)
    if not is_main():
        return
    card = {"kind": settings.method, **identity, "config": settings.as_json()}
    card |= {"step": settings.train.steps}
    artifacts.save_tensors(output, weights, card | _licences(items))
    artifacts.write_text(csv, (folder / "train.csv").read_text())
    history = artifacts.load_card(folder / training_state.FILE)["history"]
    provenance.trained(history)
    told = {**provenance.facts(), "seconds": round(time.monotonic() - started, 1), "sessions": history}
    artifacts.write_json(folder / "provenance.json", told)


def _licences(data: Any) -> dict[str, Any]:
    """The licence of every picture that was trained on, where the data tell it."""
    made_by = getattr(data, "card", {}).get("made_by", {})
    return {"licences": made_by["licences"][made_by["split"]]} if "licences" in made_by else {}


def identity_of(settings: Training, data: Any, task: Task) -> dict[str, Any]:
    """What the next step of a training depends on; its state is resumed as long as this is the same."""
    from bridgepipe.training import loop

    config = settings.model_dump(mode="json", exclude=UNRELATED)
    without = (*closure.MACHINERY, *task.unused)
    code = closure.digest(loop.train, type(data), *task.code, without=without)
    return {"config": config, "data": data.digest, "code": code, **task.card}


@groups.people.verb("training-state")
def show_training_state(
    folder: Path,
    go_on: Annotated[
        bool, typer.Option("--go-on", help="train on from the state although the code has changed")
    ] = False,
    start_again: Annotated[
        bool, typer.Option("--start-again", help="set the state aside, the next training begins anew")
    ] = False,
) -> None:
    """Show the states in the folder of a training, or decide what becomes of the current one."""
    with artifacts.exclusive(folder / ".lock"):
        states = {s.path.name: s for s in training_state.saved(folder)}
        current = states.get(training_state.FILE)
        if go_on and start_again:
            raise UserError("two choices", "--go-on --start-again", "give one of them")
        if (go_on or start_again) and current is None:
            raise UserError("no state of a training", folder, "give the folder train/ of an experiment")
        if go_on and current is not None:
            training_state.accept(current)
        if start_again and current is not None:
            training_state.set_aside(current)
        for line in training_state.described(folder):
            print(line)


@groups.stage.verb()
def import_weights(
    weights: Path,
    config: Config,
    output: File,
    size: Annotated[int | None, typer.Option(help="of the images of a Gaussian model")] = None,
    domain: Annotated[str | None, typer.Option(help="of points: which of the six domains")] = None,
) -> None:
    """Turn published weights into a model of an experiment; I2SB's options are compared with it.

    Of a domain of the plane it is the file of the most steps, not EMA.
    """
    from bridgepipe.downloads import fetch
    from bridgepipe.networks import plain, published

    settings = read_training(config)
    if settings.train.published is not None:
        fetch.check(settings.train.published, weights)
    file = _published_file(weights, domain)
    card: dict[str, Any] = {"kind": settings.method, "config": settings.as_json()}
    card |= {"imported_sha256": artifacts.digest_file(file)}
    if not isinstance(settings, RestorationTraining):
        shape = (2,) if isinstance(settings, PointTraining) else (3, size, size)
        card |= imported_classes(settings)
        checked = published_model(settings, plain.read_weights(file), shape, file)
        artifacts.save_tensors(output, checked, {**card, "shape": list(shape)})
        return
    options = file.with_name("options.pkl")
    if options.exists():
        published.check_options(options, settings.model_dump(), config)
    artifacts.save_tensors(output, published.i2sb_weights(file), card)


@groups.stage.verb()
def train_classifier(config: Config, train: File, val: File, output: File, run: Alone = Alone()) -> None:
    """Train the small classifier that stands in for published feature extractors at demo scale."""
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation import classifier
    from bridgepipe.evaluation.accuracy import classifier_accuracy
    from bridgepipe.runtime.finished import kept

    speed = run.start()
    settings, images, held_out = read_stage(config, Extractor), ImageStore(train), ImageStore(val)
    recipe = settings.model_dump(include={"steps", "batch_size", "lr", "seed"})
    with kept(output, {"config": settings.as_json(), "data": [images.digest, held_out.digest]}, speed):
        trained = classifier.train_classifier(images, images.labels, **recipe)
        accuracy = classifier_accuracy(trained, held_out, held_out.labels, classes=held_out.classes)
    interval = f"{accuracy.low:.3f} to {accuracy.high:.3f}"
    print(f"accuracy on {accuracy.n} held-out images: {accuracy.accuracy:.3f} (95 % interval {interval})")
    card = {"config": settings.as_json(), "data": images.digest, **accuracy.values("held_out_accuracy")}
    trained.save(output, card)


def _published_file(folder: Path, domain: str | None) -> Path:
    """A file, or that of a folder: ``latest.pt``, or the domain's ``model<steps>.pt`` of the most steps."""
    if domain is None:
        return folder / "latest.pt" if folder.is_dir() else folder
    from bridgepipe.datasets.points import DOMAINS

    number = list(DOMAINS).index(domain)
    files = (f for f in folder.rglob("model*.pt") if f.stem[5:].isdigit())
    found = [f for f in files if f.parent.name.endswith(str(number))]
    if not found:
        mend = "keep the published folders of the six domains, log2D0 to log2D5"
        raise UserError(f"no model*.pt in a folder of number {number}", folder, mend)
    return max(found, key=lambda f: int(f.stem[5:]))
