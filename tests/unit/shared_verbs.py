"""What `test_shared_verbs` runs in this folder, a tiny project: as one process, as each of two, or stopped.

What a verb reads of another is what one process made, in ``one``: two don't wait for each other's files.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any
from unittest import mock

from bridgepipe import cli
from bridgepipe.finished import Finished
from bridgepipe.interruption import Interrupted
from bridgepipe.methods import ddib_points

POINTS = 32  # of a batch

SPEED = ["--runtime", "runtime.json"]
EXTRACTOR = ["--extractor", "extractor.json", "--weights", "classifier.safetensors"]
CONDITIONAL = ["--source-model", "conditional", "--data", "images.lmdb"]


def network(name: str) -> list[str]:
    return ["--model", f"{name}/model.safetensors", "--train-config", f"{name}/config/train.json"]


def config(name: str) -> list[str]:
    return ["--config", f"config/{name}.json"]


def files(folder: str, **names: str) -> list[str]:
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
    real = ["--reference", "images.lmdb", "--source", "images.lmdb"]
    settings = config("evaluate-translation")
    yield ["evaluate", "translation-fid", *settings, *read, *real, *files(out, output="fid.json")]
    yield ["evaluate", "target-accuracy", *settings, *read, *files(out, output="accuracy.json")]
    yield ["evaluate", "kept", *read, "--source", "images.lmdb", *files(out, output="kept.json")]


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
        stores = files(out, edited=f"{edit}.lmdb", plain=f"{edit}-plain.lmdb")
        yield ["boundary", "strips", *config(edit), *model, *read, *stores]
    real = ["--data", "images.lmdb", "--train", "images.lmdb", "--classifier", "classifier.safetensors"]
    read = [*files("one", edited="edit.lmdb", plain="edit-plain.lmdb"), *real, *EXTRACTOR]
    measured = files(out, output="edit.json", csv="edit.csv")
    yield ["boundary", "evaluate", *config("evaluate-edits"), *read, *measured]


def studies(out: str) -> Iterator[list[str]]:
    read = [*config("study-samples"), *network("plain"), *files("one", statistics="statistics.safetensors")]
    if out in ("one", "stopped"):
        made = files(out, output="statistics.safetensors")
        yield ["statistics", "--data", "images.lmdb", *EXTRACTOR, *made]
    yield ["study-samples", *read, *EXTRACTOR, *files(out, output="samples.csv")]
    read = [*config("study"), *network("bridge"), "--sample-config", "config/restore.json"]
    yield ["study", *read, "--data", "images.lmdb", *EXTRACTOR, *files(out, output="restored.csv")]


def samples(out: str) -> Iterator[list[str]]:
    read = [*config("restore"), *network("bridge"), "--data", "images.lmdb"]
    yield ["sample", *read, *files(out, restored="restored.lmdb", corrupted="corrupted.lmdb")]
    yield ["generate", *config("generate"), *network("plain"), *files(out, output="samples.lmdb")]


def points(out: str) -> Iterator[list[str]]:
    model = network("points")
    data, truth = ["--data", "points.safetensors"], ["--truth", "points.safetensors"]
    yield ["sample-points", *config("points"), *model, *data, *files(out, output="points.safetensors")]
    ends = [f"--{end}{name}" for end in ("source", "target") for name in ("", "-config")]
    of_ends = [word for pair in zip(ends, [model[1], model[3]] * 2, strict=True) for word in pair]
    moved = files(out, output="moved.safetensors")
    yield ["translate-points", *config("translate-points"), *data, *of_ends, *moved]
    cycle = [*config("translate-points"), *data, *truth, *of_ends]
    yield ["cycle-points", *cycle, *files(out, output="cycle.json")]


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
    ):
        for words in some:
            processes = [] if "search" in words else ["--processes", os.environ.get("WORLD_SIZE", "1")]
            yield [*words, *SPEED, *processes]


KEEPING = ("translate", "mixing", "latents", "strips", "stud", "sample", "generate", "cycle", "-fid")


def keeps(words: list[str]) -> bool:
    """Whether a verb keeps what it has finished."""
    return words[0] == "statistics" or any(part in verb for verb in words[:2] for part in KEEPING)


def stopped_once(words: list[str]) -> None:
    """A command that is warned by Slurm after its second batch, and given again."""
    added = 0

    def add(self: Finished, label: str, batch: Any) -> None:
        nonlocal added
        keep(self, label, batch)
        added += 1
        if added == 2:
            os.kill(os.getpid(), signal.SIGUSR1)

    keep, said = Finished.add, io.StringIO()
    with mock.patch.object(Finished, "add", add):
        try:
            cli.app(words, standalone_mode=False)
        except Interrupted:
            assert added == 2
        else:
            raise AssertionError(f"not stopped: {words}")
        with redirect_stderr(said):
            cli.app(words, standalone_mode=False)
    assert re.search("found [0-9]+ of [0-9]+ images finished", said.getvalue()), (words, said.getvalue())


def main(out: str) -> None:
    ddib_points.BATCH = POINTS
    for words in verbs(out):
        if out == "stopped" and keeps(words):
            stopped_once(words)
        else:
            cli.app(words, standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1])
