"""What `test_shared_verbs` runs in this folder, a tiny project: by one process, by two, or interrupted.

What a verb reads of another is what one process made, in ``one``: two don't wait for each other's files.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from itertools import count
from typing import Any
from unittest import mock

import numpy as np

from bridgepipe import artifacts, cli
from bridgepipe.evaluation import classifier
from bridgepipe.evaluation import photographs as compared
from bridgepipe.methods import ddib_points
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.runtime.progress import Progress
from bridgepipe.stages import photographs as comparing

POINTS = 32  # of a batch

SINGLE = ("one", "stopped")  # results of one process
ONE_PROCESS = ("search", "judge", "train-classifier", "photographs", "restore", "edit", "generate")
PEOPLE = ("restore", "edit", "translate", "generate", "measure", "fid", "share", "export")
PHOTOS = [f"photos/{name}.png" for name in ("a", "b", "c")]
SPEED = ["--runtime", "runtime.json"]
TRUTH = ["--truth", "points.safetensors"]
EXTRACTOR = ["--extractor", "extractor.json", "--weights", "classifier.safetensors"]
CONDITIONAL = ["--source-model", "conditional", "--data", "images.lmdb"]


def network(name: str) -> list[str]:
    return ["--model", f"{name}/model.safetensors", "--train-config", f"{name}/config/train.json"]


def config(name: str) -> list[str]:
    return ["--config", f"config/{name}.json"]


def files(folder: str, /, **names: str) -> list[str]:
    """Options that name files of a folder."""
    return [word for option, name in names.items() for word in (f"--{option}", f"{folder}/{name}")]


def translation(out: str, published: str = "") -> Iterator[list[str]]:
    """There and back; ``published`` ends the names of what keeps no pair of states."""
    stores = {kind: f"{kind}{published}.lmdb" for kind in ("translated", "latents", "states")}
    there = [*config(f"translate{published}"), *CONDITIONAL, *files(out, **stores)]
    yield ["translate-classes", *there]
    read = files("one", translated=stores["translated"], states=stores["states"])
    back = [*config(f"cycle{published}"), *CONDITIONAL, *read]
    yield ["translate-back", *back, *files(out, output=f"back{published}.lmdb")]
    part = ["--part", "1", "--parts", "2"]
    yield ["translate-back", *back, *part, *files(out, output=f"back-part{published}.lmdb")]


def translation_measures(out: str) -> Iterator[list[str]]:
    read = [*files("one", translated="translated.lmdb"), *EXTRACTOR]
    real = ["--reference", "images.lmdb", "--source", "images.lmdb", "--real", "images.lmdb"]
    settings = config("evaluate-translation")
    yield ["evaluate", "translation-fid", *settings, *read, *real, *files(out, output="fid.json")]
    yield ["evaluate", "target-accuracy", *settings, *read, *files(out, output="accuracy.json")]
    yield ["evaluate", "similarity", *read, "--source", "images.lmdb", *files(out, output="similarity.json")]


def boundaries(out: str) -> Iterator[list[str]]:
    model = network("plain")
    curve = files(out, output="mixing.json", csv="mixing.csv", figure="mixing.png")
    yield ["boundary", "mixing", *config("mixing"), *model, "--data", "images.lmdb", *curve]
    stores = ["--train", "images.lmdb", "--test", "images.lmdb", *files("one", mixing="mixing.json")]
    yield ["boundary", "latents", *config("latents"), *model, *stores, "--output", out]
    if out == "one":
        found = files(out, latents="", output="", accuracy="boundary.json")
        yield ["boundary", "search", *config("search"), *found]
    read = files("one", boundary="", latents="")
    for edit in ("edit", "edit-samples"):
        stores = files(out, edited=f"{edit}.lmdb", control=f"{edit}-control.lmdb", plain=f"{edit}-plain.lmdb")
        yield ["boundary", "strips", *config(edit), *model, *read, *stores]
    real = ["--data", "images.lmdb", "--train", "images.lmdb", "--classifier", "judge.safetensors"]
    read = files("one", edited="edit.lmdb", control="edit-control.lmdb", plain="edit-plain.lmdb")
    read = [*read, *real, *EXTRACTOR]
    measured = files(out, output="edit.json", csv="edit.csv")
    yield ["boundary", "evaluate", *config("evaluate-edits"), *read, *measured]


def studies(out: str) -> Iterator[list[str]]:
    if out in SINGLE:
        made = files(out, output="statistics.safetensors")
        yield ["statistics", "--data", "images.lmdb", *EXTRACTOR, *made]
    read = [*config("study-samples"), *network("plain"), *files("one", statistics="statistics.safetensors")]
    measuring = ["--evaluate-config", "config/measure.json", "--real", "images.lmdb"]
    yield ["study-samples", *read, *EXTRACTOR, *measuring, *files(out, output="samples.csv")]
    read = [*config("study"), *network("bridge"), "--sample-config", "config/restore.json"]
    read += ["--data", "images.lmdb", *files("one", statistics="statistics.safetensors"), *measuring]
    yield ["study", *read, *EXTRACTOR, *files(out, output="restored.csv")]


def samples(out: str) -> Iterator[list[str]]:
    read = [*config("restore"), *network("bridge"), "--data", "images.lmdb"]
    yield ["sample", *read, *files(out, restored="restored.lmdb", corrupted="corrupted.lmdb")]
    yield ["generate-samples", *config("generate"), *network("plain"), *files(out, output="samples.lmdb")]
    measured = files(out, output="recognised.json")
    read = files("one", restored="restored.lmdb", corrupted="corrupted.lmdb")
    yield ["evaluate", "accuracy", *read, "--originals", "images.lmdb", *EXTRACTOR, *measured]
    small = ["--extractor", "classifier", "--weights", "classifier.safetensors"]
    for verb in ("measure", "fid"):
        yield [verb, "one/restored.lmdb", "images.lmdb", *small, *files(out, output=f"compared-{verb}.json")]


def points(out: str) -> Iterator[list[str]]:
    model = network("points")
    data, truth = ["--data", "points.safetensors"], ["--truth", "points.safetensors"]
    yield ["sample-points", *config("points"), *model, *data, *files(out, output="points.safetensors")]
    ends = [f"--{end}{name}" for end in ("source", "target") for name in ("", "-config")]
    of_ends = [word for pair in zip(ends, [model[1], model[3]] * 2, strict=True) for word in pair]
    moved = files(out, output="moved.safetensors")
    yield ["translate-points", *config("translate-points"), *data, *of_ends, *moved]
    cycle = [*config("cycle-points"), *data, *truth, *of_ends]
    yield ["cycle-points", *cycle, *files(out, output="cycle.json")]


def alone(out: str) -> Iterator[list[str]]:
    """Verbs that one process does, or whose sharing `test_several_processes` tests."""
    yield [
        "boundary",
        "judge",
        *config("judge"),
        "--train",
        "images.lmdb",
        *files(out, output="judge.safetensors"),
    ]
    read = files("one", images="restored.lmdb", statistics="statistics.safetensors")
    yield ["evaluate", "fid", *config("fid"), *read, *EXTRACTOR, *files(out, output="restored-fid.json")]
    read = ["--train", "images.lmdb", "--val", "images.lmdb"]
    yield ["train-classifier", *config("classifier"), *read, *files(out, output="small.safetensors")]
    place = files(out, output="restored")
    yield ["restore", *PHOTOS, "--experiment", "bridge", "--results", ".", *place]
    ends = ["--class-a", "dark", "--class-b", "light", "--steps", "3", "--batch-size", "1", "--side-by-side"]
    yield ["translate", "--input", "photos", "--model", "conditional", *ends, *files(out, output="folder")]
    ends = [f"--{end}" for end in ("source", "target") for end in (end, f"{end}-config", f"{end}-pixels")]
    model = ["points/model.safetensors", "points/config/train.json"]
    read = [*model, "pixels.safetensors", *model, "paints.safetensors"]
    colors = [word for pair in zip(ends, read, strict=True) for word in pair]
    yield ["color-transfer", *config("color"), *colors, *files(out, output="colors.safetensors")]

    made = files(out, csv="photographs.csv", markdown="photographs.md", figure="photographs.png")
    yield ["evaluate", "photographs", *config("restore"), *network("bridge"), *made]

    read = ["--experiment", "samples", "--results", ".", "--model", "plain", "--num-images", "8"]
    yield ["generate", *read, *files(out, output="drawn")]

    read = ["--boundary", "one", "--model", "plain", "--distances", "-1:1:3"]
    yield ["edit", PHOTOS[0], *read, *files(out, output="edit.png")]


def grouped(words: list[str]) -> list[str]:
    """A command with the group of its verb."""
    return [*([] if words[0] in PEOPLE else ["stage"]), *words]


def verbs(out: str) -> Iterator[list[str]]:
    """All commands, their results in the folder ``out``."""
    for some in (
        translation(out),
        translation(out, "-published"),
        translation_measures(out),
        boundaries(out),
        studies(out),
        samples(out),
        points(out),
        alone(out) if out in SINGLE else (),
    ):
        for words in some:
            processes = (
                []
                if words[0] in ONE_PROCESS or words[1] in ONE_PROCESS
                else ["--processes", os.environ.get("WORLD_SIZE", "1")]
            )
            yield grouped([*words, *SPEED, *processes])


def whole(out: str) -> Iterator[list[str]]:
    """Commands of verbs that keep no batches: when they are interrupted, they begin anew."""

    def one(**names: str) -> list[str]:
        return files("one", **names)

    def made(**names: str) -> list[str]:
        return files(out, **names)

    originals = ["--originals", "images.lmdb"]
    pair = one(restored="restored.lmdb", corrupted="corrupted.lmdb")
    yield ["prepare", "--config", "config/digits.json", *made(output="digits")]
    yield ["gather", "one/back.lmdb", *made(output="gathered.lmdb")]
    yield ["spectrum", "--data", "images.lmdb", *made(output="spectrum.json", figure="spectrum.png")]
    train = ["train", *config("train"), "--data", "images.lmdb", *SPEED]
    yield [*train, *made(folder="train", output="trained.safetensors", csv="train.csv")]
    kept = ["--model", "one/trained.safetensors", "--folder", "one/train"]
    yield ["checkpoint", *config("train"), *kept, *made(output="2.safetensors")]
    taken = ["plain/model.safetensors", *config("import"), "--size", "16"]
    yield ["import-weights", *taken, *made(output="taken.safetensors")]
    found = made(output="searched", accuracy="searched/accuracy.json")
    yield ["boundary", "search", *config("search"), *one(latents=""), *found, *SPEED]
    strip = one(edited="edit.lmdb", control="edit-control.lmdb", plain="edit-plain.lmdb")
    yield ["boundary", "figure-strip", *strip, "--data", "images.lmdb", *made(output="strip.png")]
    yield ["boundary", "figure-flips", *one(csv="edit.csv", metric="edit.json"), *made(output="flips.png")]
    yield ["evaluate", "restoration", *pair, *originals, *made(output="restoration.json")]
    yield ["evaluate", "cycle-of-images", *one(back="back.lmdb"), *made(output="cycle-of-images.json")]
    told = made(metrics="drawn.json", figure="drawn.png")
    yield ["evaluate-samples", *one(samples="points.safetensors"), *TRUTH, "--exact", "30", *told]
    told = made(metrics="moved.json", figure="moved.png")
    read = ["--config", "exact.json", *one(translated="moved.safetensors")]
    yield ["evaluate-translation", *read, *TRUTH, *told]
    photographs = ["--source-pixels", "china/test.safetensors", "--target-pixels", "flower/test.safetensors"]
    read = ["--transferred", "colours.safetensors", *photographs]
    yield ["evaluate-color", *read, *made(metrics="colors.json", figure="colors.png")]
    yield ["color-picture", *read, *made(output="china-as-flower.png")]
    yield ["figure", "grid", *pair, *originals, *made(output="grid.png")]
    yield ["figure", "samples", *one(images="samples.lmdb"), *made(output="samples.png")]
    yield ["figure", "loss", *one(csv="train.csv"), *made(output="loss.png")]
    read = [*config("restore"), *network("bridge"), "--data", "images.lmdb", *SPEED]
    yield ["figure", "path", *read, *made(output="path.png")]
    read = ["--source", "images.lmdb", *one(latents="latents.lmdb", translated="translated.lmdb")]
    yield ["figure", "translations", *read, *one(back="back.lmdb"), *made(output="translations.png")]
    ends = [f"--{end}{name}" for end in ("source", "target") for name in ("", "-config")]
    model = ["points/model.safetensors", "points/config/train.json"]
    of_ends = [word for two in zip(ends, model * 2, strict=True) for word in two]
    read = [*config("translate-points"), "--data", "points.safetensors", *of_ends, *SPEED]
    yield ["figure", "densities", *read, *made(output="densities.png")]
    yield ["numbers", "one/edit.json", *made(output="numbers.json")]
    yield ["study-table", "one/restored.csv", *made(csv="study.csv", markdown="study.md", figure="study.png")]
    yield ["cycle-table", "one/cycle.json", *made(csv="cycles.csv", markdown="cycles.md")]
    yield ["share", "model/plain", "--results", ".", *SPEED, *made(folder="shared")]
    yield ["export", "one/restored.lmdb", *made(output="exported")]
    yield ["export", "one/restored.lmdb", *made(output="exported.npz")]


def stopped_once(words: list[str]) -> None:
    """A command that is warned by Slurm after its second batch, and given again."""
    done = 0

    def after(self: Progress, items: int) -> None:
        nonlocal done
        told(self, items)
        done += 1
        if done == 2:
            os.kill(os.getpid(), signal.SIGUSR1)

    told, said = Progress.after, io.StringIO()
    with mock.patch.object(Progress, "after", after):
        try:
            cli.app(words, standalone_mode=False)
        except Interrupted:
            assert done == 2
        else:
            raise AssertionError(f"not stopped: {words}")
        with redirect_stderr(said):
            cli.app(words, standalone_mode=False)
    assert re.search("found [0-9.]+ of [0-9.]+ (images|steps|pixels) finished", said.getvalue()), (
        words,
        said.getvalue(),
    )


def killed(words: list[str]) -> None:
    """A command that is killed by the first file that is whole or the first progress, by the second, the
    fourth and so on, until nothing is left that would kill it."""
    at = 1
    while died(words, at):
        at *= 2
    assert at > 1, f"nothing is written: {words}"


def died(words: list[str], at: int) -> bool:
    """Whether a process of its own was killed just before it gave its file number ``at`` a name."""
    if (child := os.fork()) == 0:
        numbers = count(1)

        def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
            def called(*given: Any, **named: Any) -> Any:
                if next(numbers) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*given, **named)

            return called

        artifacts._sweep.cache_clear()  # of the process that it is a copy of
        try:
            with (
                mock.patch.object(os, "replace", deadly(os.replace)),
                mock.patch.object(Progress, "after", deadly(Progress.after)),
            ):
                cli.app(words, standalone_mode=False)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), words
    return status != 0


def main(out: str) -> None:
    ddib_points.POINTS, classifier.STATE_EVERY = POINTS, 2
    compared.QUALITIES, comparing.SIDE, comparing._pixels = (10,), 32, cropped(comparing._pixels)
    run = {"stopped": stopped_once}.get(out, called_once)
    for words in verbs(out):
        run(words)
    run = {"stopped": killed}.get(out, called_once)
    for words in whole(out) if out in SINGLE else ():
        run(grouped(words))


def cropped(read: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    """Squares of whole photographs."""
    return lambda photo: np.ascontiguousarray(read(photo)[150:198, 250:306])


def called_once(words: list[str]) -> None:
    cli.app(words, standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1])
