"""The verb of the sampling stage."""

from __future__ import annotations

import typer

from bridgepipe import artifacts
from bridgepipe.cli.common import (
    RUNTIME,
    Config,
    File,
    Runtime,
    Sources,
    Threads,
    load_restorer,
    open_sources,
    problem_of,
    read_runtime,
    sampling_of,
)

app = typer.Typer()


@app.command()
def sample(
    config: Config,
    train_config: File,
    model: File,
    data: File,
    restored: File,
    corrupted: File,
    part: int = 0,
    parts: int = 1,
    sources: Sources = None,
    runtime: Runtime = RUNTIME,
    threads: Threads = None,
) -> None:
    """Corrupt and restore one part of a split."""
    from bridgepipe.store import ImageStore, writer

    speed = read_runtime(runtime, threads)
    settings, images = artifacts.read_json(config), ImageStore(data)
    how, count = sampling_of(settings["sample"]), settings["sample"]["count"]
    restorer = load_restorer(model, train_config, problem_of(settings, images.image_size), speed)
    count = min(len(images), count or len(images))
    items = range(count * part // parts, count * (part + 1) // parts)
    made_by = {"settings": settings, "model": restorer.digest, "data": images.digest}
    with (
        writer(restored, {"images": "restored", **made_by}, classes=images.classes, first=items.start) as out,
        writer(
            corrupted, {"images": "corrupted", **made_by}, classes=images.classes, first=items.start
        ) as seen,
    ):
        for result in restorer.restore(images, items, how, open_sources(sources)):
            for image, degraded in zip(result.image, result.corrupted, strict=True):
                out.put(image)
                seen.put(degraded)
        if images.labels is not None:
            out.set_labels(images.labels[items.start : items.stop])
            seen.set_labels(images.labels[items.start : items.stop])
