"""Weights that experiments name: there are such, and published ones are of this method, network and data."""

from __future__ import annotations

from typing import Any

from bridgepipe.config import contents
from bridgepipe.config.checks.shared import Defined, Problem, Problems, pixels
from bridgepipe.config.data import Folder, Pairs, Parquet, WebDataset
from bridgepipe.config.recipe import Checkpoint, Checkpoints
from bridgepipe.config.values import Strict
from bridgepipe.names import origins
from bridgepipe.names.released import WEIGHTS, Weights


def kept(section: str, weights: Checkpoint, name: str, defined: Defined) -> Problems:
    """Weights that the training of a network does not keep.

    Args:
        section: where its keys are written, ending in a dot unless it is the experiment itself.
        name: experiment of the network, ``method/name``.
    """
    if found := weights.missing(defined.experiments[name].train):
        key, what, mend = found
        yield Problem(f"{section}{key}", f"{name}: {what}", mend)


def kept_of_both(section: str, weights: Checkpoints, names: tuple[str, str], defined: Defined) -> Problems:
    """`kept` of the source model and of the target model of a translation."""
    source, target = names
    yield from kept(section, weights, source, defined)
    if target != source:
        own = "" if weights.target_weights is None else "target_weights."
        yield from kept(f"{section}{own}", weights.of_target, target, defined)


def named(full: str, e: Any, defined: Defined) -> Problems:
    """Weights that nothing is called, or that are those of the experiment itself."""
    method = full.rsplit("/", 1)[0]
    for key, text in e.train.weights.items():
        source, experiment = WEIGHTS.get(text), origins.experiment_of(text)
        if source is not None:
            whole = key == "train.published" or getattr(e.train, "distil", None) is not None
            yield from _released(key, text, source, method, e, defined) if whole else ()
        elif experiment is not None and experiment in defined.experiments:
            yield from _trained(key, experiment, full, defined)
        elif text.startswith(origins.HUB):
            repository = origins.repository_of(text)
            if repository is None or repository["datasets"]:
                yield Problem(
                    key, f"'{text}' is no network of a hub", "write hf:OWNER/NAME or hf:OWNER/NAME@REVISION"
                )
        elif not origins.is_path(text):
            released = [name for name, w in WEIGHTS.items() if key == "train.init" or w.method == method]
            known = (*released, *(n for n in defined.experiments if origins.experiment_of(n)))
            yield Problem(key, f"unknown source '{text}'", value=text, names=known)


def _trained(key: str, experiment: str, full: str, defined: Defined) -> Problems:
    """Weights of an experiment that in the end begins with this one."""
    seen, now = [full], experiment
    while now not in seen and now in defined.experiments:
        seen.append(now)
        named = defined.experiments[now].train.weights.values()
        now = next((found for text in named if (found := origins.experiment_of(text))), "")
    if now == full:
        yield Problem(key, f"{full} would begin with its own weights", "name other weights")


def _released(key: str, name: str, weights: Weights, method: str, e: Any, defined: Defined) -> Problems:
    """Weights of another method, another network, or data of another size or number of classes."""
    if weights.method != method:
        fitting = tuple(n for n, w in WEIGHTS.items() if w.method == method)
        what = f"{name} is of {weights.method}"
        if not fitting:
            yield Problem(key, what, f"there are no published weights of {method}: set it to null")
        else:
            yield Problem(key, what, value=name, names=fitting)
        return
    for setting, expected, found in weights.differences(e):
        what = f"{name} has {setting} {expected}, the experiment {found}"
        yield Problem(setting, what, f"set it to {expected}, or import other weights")
    dataset = defined.datasets[e.dataset]
    size, known = contents.size_of(dataset), contents.classes_of(dataset)
    if weights.size is not None and size not in (None, (weights.size, weights.size)):
        what = f"{name} is of {weights.size} x {weights.size} pixels, {e.dataset} of {pixels(size or (0, 0))}"
        yield Problem("dataset", what, "name a dataset of that size, or other weights")
    if weights.trained_on is not None and not _fits(dataset, weights.trained_on):
        what = f"{name} was trained on {' '.join(filter(None, weights.trained_on))}, not on {e.dataset}"
        yield Problem("dataset", what, "name that dataset, or other weights")
    if weights.classes is not None and known is not None and len(known) != weights.classes:
        what = f"{name} has {weights.classes} classes, {e.dataset} {len(known)}"
        yield Problem("dataset", what, "name the dataset that it was trained on, or other weights")


def _fits(dataset: Strict, trained_on: tuple[str, str | None]) -> bool:
    """Whether a dataset may hold pictures of what weights know: of one's own pictures a person knows it."""
    values = dataset.model_dump()
    part = values.get("category") or values.get("domain")
    return isinstance(dataset, Folder | Pairs | Parquet | WebDataset) or (
        values["source"] == trained_on[0] and part in (None, trained_on[1])
    )
