"""Verbs of the evaluation stage: reference statistics, one metric each, and the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe.cli.common import (
    RUNTIME,
    Config,
    File,
    Processes,
    Runtime,
    Threads,
    load_extractor,
    read_shared_runtime,
    same_count,
)

app = typer.Typer()
metric_app = typer.Typer(no_args_is_help=True, help="Metrics of restored images, each with its protocol.")


@app.command()
def statistics(
    data: File,
    extractor: File,
    weights: File,
    output: File,
    runtime: Runtime = RUNTIME,
    threads: Threads = None,
    processes: Processes = None,
) -> None:
    """Mean and covariance of the features of a split: the reference of the FID."""
    speed = read_shared_runtime(runtime, threads, processes)
    from bridgepipe import running
    from bridgepipe.evaluation import fid
    from bridgepipe.store import ImageStore

    network = load_extractor(extractor, weights, speed)
    found = fid.statistics(network, ImageStore(data), speed.batch_size)
    if running.is_main():
        found.save(output)


@metric_app.command("fid")
def fid_metric(
    config: Config,
    images: File,
    statistics: File,
    extractor: File,
    weights: File,
    output: File,
    corrupted: Annotated[Path | None, typer.Option(help="what the images were made from")] = None,
    runtime: Runtime = RUNTIME,
    threads: Threads = None,
    processes: Processes = None,
) -> None:
    """FID and KID of images, and of what they were made from, against real ones."""
    speed = read_shared_runtime(runtime, threads, processes)
    from bridgepipe import running
    from bridgepipe.evaluation import fid, protocol
    from bridgepipe.evaluation.features import describe
    from bridgepipe.store import ImageStore

    settings, network = artifacts.read_json(config), load_extractor(extractor, weights, speed)
    reference = fid.Statistics.load(statistics, {"extractor": describe(network)})
    stores = {"": ImageStore(images)}
    if corrupted is not None:
        stores["_corrupted"] = ImageStore(corrupted)
    measured = {suffix: fid.statistics(network, s, speed.batch_size) for suffix, s in stores.items()}
    if not running.is_main():
        return
    values: dict[str, Any] = {}
    for suffix, found in measured.items():
        values[f"fid{suffix}"] = fid.fid(found, reference)
        if settings["kid"]:
            values[f"kid{suffix}"] = fid.kernel_distance(found, reference)
    shared = protocol.protocol(
        "fid: float64, unbiased covariance",
        n=len(stores[""]),
        extractor=describe(network),
        reference=settings["reference"],
        reference_digest=reference.data,
    )
    protocol.write_metric(output, values, shared, _made_with(stores[""]))


@metric_app.command("accuracy")
def accuracy_metric(
    restored: File,
    corrupted: File,
    originals: File,
    extractor: File,
    weights: File,
    output: File,
    runtime: Runtime = RUNTIME,
    threads: Threads = None,
    processes: Processes = None,
) -> None:
    """Share of restored, corrupted and original images that a classifier names rightly."""
    speed = read_shared_runtime(runtime, threads, processes)
    from bridgepipe import running
    from bridgepipe.evaluation import protocol
    from bridgepipe.evaluation.accuracy import classifier_accuracy
    from bridgepipe.evaluation.features import First, Images, describe
    from bridgepipe.store import ImageStore

    network, truth = load_extractor(extractor, weights, speed), ImageStore(originals)
    stores = {"": ImageStore(restored), "_corrupted": ImageStore(corrupted)}
    n = len(stores[""])
    labels = None if truth.labels is None else truth.labels[:n]
    values: dict[str, Any] = {}
    sets: dict[str, Images] = {**stores, "_originals": First(truth, n)}
    for suffix, images in sets.items():
        found = classifier_accuracy(network, images, labels, speed.batch_size)
        values |= {
            f"accuracy{suffix}": found.accuracy,
            f"low{suffix}": found.low,
            f"high{suffix}": found.high,
        }
    if not running.is_main():
        return
    shared = protocol.protocol(
        "top-1 accuracy", n=n, extractor=describe(network), reference_digest=truth.digest
    )
    protocol.write_metric(output, values, shared, _made_with(stores[""]))


@metric_app.command("restoration")
def restoration_metric(restored: File, corrupted: File, originals: File, output: File) -> None:
    """PSNR and SSIM of restored and of corrupted images against their originals."""
    from bridgepipe.evaluation import protocol
    from bridgepipe.evaluation.features import First
    from bridgepipe.evaluation.restoration import restoration
    from bridgepipe.store import ImageStore

    images, seen, truth = ImageStore(restored), ImageStore(corrupted), ImageStore(originals)
    same_count(restored=images, corrupted=seen)
    found = restoration(images, seen, First(truth, len(images)))
    shared = protocol.protocol(
        "psnr, ssim: per image on uint8, mean", n=len(images), reference_digest=truth.digest
    )
    protocol.write_metric(output, found.means(), shared, _made_with(images))


@app.command()
def table(metrics: list[Path], csv: File, markdown: File) -> None:
    """One row per experiment from its metric files, published numbers beside ours."""
    from bridgepipe import tables
    from bridgepipe.evaluation import summary

    tables.write_table(csv, markdown, summary.collect(metrics))


def _made_with(images: Any) -> dict[str, Any]:
    """What one value was made with and another may differ in."""
    made_by = images.card["made_by"]
    return {"settings": made_by["settings"], "model": made_by["model"], "data": made_by["data"]}
