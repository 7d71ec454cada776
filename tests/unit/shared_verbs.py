"""What `test_shared_verbs` runs, as one process or as each of two: verbs on a tiny project in this folder.

What a verb reads of another is what one process made, in ``one``: two don't wait for each other's files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from bridgepipe import cli

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
    if out == "one":
        made = files(out, output="statistics.safetensors")
        yield ["statistics", "--data", "images.lmdb", *EXTRACTOR, *made]
    yield ["study-samples", *read, *EXTRACTOR, *files(out, output="samples.csv")]
    read = [*config("study"), *network("bridge"), "--sample-config", "config/restore.json"]
    yield ["study", *read, "--data", "images.lmdb", *EXTRACTOR, *files(out, output="restored.csv")]


def main(out: str) -> None:
    for verbs in (
        translation(out),
        translation(out, "-published"),
        translation_measures(out),
        boundaries(out),
        studies(out),
    ):
        for words in verbs:
            processes = [] if "search" in words else ["--processes", os.environ.get("WORLD_SIZE", "1")]
            cli.app([*words, *SPEED, *processes], standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1])
