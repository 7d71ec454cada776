"""The verb of the study: quality of several samplers against the number of network calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    load_extractor,
    load_restorer,
    open_sources,
    problem_of,
    read_shared_runtime,
    sampling_of,
)
from bridgepipe.cli.settings import read_settings

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bridgepipe.methods.i2sb import Sampling

app = typer.Typer()


@app.command()
def study(
    config: Config,
    sample_config: File,
    train_config: File,
    model: File,
    data: File,
    extractor: File,
    weights: File,
    output: File,
    sources: Sources = None,
    runtime: Runtime = RUNTIME,
    threads: Threads = None,
    processes: Processes = None,
) -> None:
    """PSNR, FID to the same originals, and accuracy of every walk at every number of calls, as CSV."""
    speed, plan = read_shared_runtime(runtime, threads, processes), read_settings(config)
    import numpy as np

    from bridgepipe import running, tables
    from bridgepipe.evaluation import fid, restoration
    from bridgepipe.evaluation.accuracy import classifier_accuracy
    from bridgepipe.evaluation.features import check_fits
    from bridgepipe.finished import kept
    from bridgepipe.store import ImageStore
    from bridgepipe.subset import choose_from

    settings, images = read_settings(sample_config), ImageStore(data)
    restorer = load_restorer(model, train_config, problem_of(settings, images.image_size), speed)
    network = load_extractor(extractor, weights, speed)
    check_fits(network, images)
    named = images.labels is not None and set(images.classes or ()) <= set(getattr(network, "classes", ()))
    items = choose_from(images, plan["count"]).tolist()
    originals = np.stack([images[i] for i in items])
    source = open_sources(sources, images)

    def restored(label: str, how: Sampling) -> np.ndarray:
        def work(share: Sequence[int]) -> Iterator[np.ndarray]:
            return (r.image for r in restorer.restore(images, share, how, source))

        return np.concatenate(running.together(work, items, speed.batch_size, label))

    def row(walk: str, how: Sampling, reference: fid.Statistics) -> dict[str, Any]:
        found = restored(f"{walk}, {how.nfe} calls", how)
        values = {
            "sampler": walk,
            "nfe": how.nfe,
            "n": len(items),
            "PSNR": restoration.quality(found, originals).mean_psnr,
            "FID": fid.fid(fid.statistics(network, found, speed.batch_size), reference),
        }
        if images.labels is not None and named:
            labels = images.labels[items]
            measured = classifier_accuracy(network, found, labels, speed.batch_size, images.classes)
            values |= {
                "accuracy %": 100 * measured.accuracy,
                "low of accuracy %": 100 * measured.low,
                "high of accuracy %": 100 * measured.high,
            }
        return values

    identity = {"plan": plan, "settings": settings, "model": restorer.digest, "data": images.digest}
    with kept(output, {**identity, "sources": source and source.digest}, speed):
        # the originals of the same images: a study of few images would otherwise measure their number
        reference = fid.statistics(network, originals, speed.batch_size)
        walks = _walks(plan, settings["sample"])
        frame = tables.table([row(walk, how, reference) for walk, how in walks])
        if running.is_main():
            artifacts.write_text(output, frame.to_csv(index=False, float_format="%.6g"))


def _walks(plan: dict[str, Any], sample: dict[str, Any]) -> Iterator[tuple[str, Sampling]]:
    for walk, how in plan["walks"].items():
        for nfe in plan["nfe"]:
            yield walk, sampling_of({**sample, **how, "nfe": nfe})


@app.command()
def study_table(parts: list[Path], csv: File, markdown: File, figure: File, title: str = "") -> None:
    """Join the studies of several experiments into one table and one figure.

    Metrics of another number of images are another column: few images make a FID larger by themselves.
    Samplers that two experiments call the same are told apart by the name of the experiment.
    """
    import pandas as pd

    from bridgepipe import figures, tables

    found = [tables.read_csv(part, "sampler", "nfe", "n") for part in parts]
    used = [name for rows in found for name in rows["sampler"].unique()]
    for part, rows in zip(parts, found, strict=True):
        shared = rows["sampler"].map(used.count) > 1
        rows["sampler"] = rows["sampler"].where(
            ~shared, f"{part.parent.name}, " + rows["sampler"].astype(str)
        )
    frame = pd.concat(found, ignore_index=True)
    if frame["n"].nunique() > 1:
        named = [_named_by_n(rows, n) for n, rows in frame.groupby("n")]
        frame = pd.concat(named).sort_index()
    tables.write_table(csv, markdown, frame)
    figures.quality_against_calls(figure, frame, title)


def _named_by_n(rows: pd.DataFrame, n: Any) -> pd.DataFrame:
    """Rows with the number of images in the names of their metrics."""
    metrics = [name for name in rows if name not in ("sampler", "nfe", "n")]
    return rows.drop(columns="n").rename(columns={name: f"{name} (n {n})" for name in metrics})
