"""Verbs of unconditional generation: samples, their export, the study of samplers, and the spectrum."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.common import fields_of, load_extractor
from bridgepipe.cli.models import load_model
from bridgepipe.cli.options import Config, ExtractorFiles, File, Part, Real, Shared, Trained
from bridgepipe.cli.settings import read_settings
from bridgepipe.cli.study import seeds_of
from bridgepipe.names import QUANTISATION

if TYPE_CHECKING:
    from bridgepipe.methods.gaussian import Model
    from bridgepipe.methods.spd import Generation


@groups.stage.verb()
def generate(
    config: Config,
    trained: Trained,
    output: File,
    part: Part = Part(),
    run: Shared = Shared(),
) -> None:
    """Draw one part of an experiment's samples."""
    speed, settings = run.start(), read_settings(config)
    from bridgepipe import running
    from bridgepipe.finished import kept
    from bridgepipe.methods import spd
    from bridgepipe.store import writer

    network = load_model(trained, speed)
    items = part.of(settings["sample"]["count"])
    training = read_settings(trained.train_config)
    how = _generation(settings["sample"]).on(network.process)
    settings["sample"]["nfe"] = how.nfe  # as many as are made
    described = {**settings, "dataset": training["dataset"], "process": training["process"]}
    data = artifacts.load_card(trained.model).get("data")
    made_by = {"images": "samples", "settings": described, "model": network.digest, "data": data}
    made_by |= {"quantisation": QUANTISATION[how.variant]}
    work = partial(spd.images, network, how=how)
    with kept(output, {**made_by, "part": [items.start, items.stop]}, speed):
        batches = running.shared(work, items, speed.batch_size, "sampling")
        if not running.is_main():
            running.exhaust(batches)
            return
        with writer(output, made_by, classes=network.class_names, first=items.start) as out:
            for batch in batches:
                for image in batch:
                    out.put(image)
            labels = spd.labels_of(network, items)
            if labels is not None:
                out.set_labels(labels.numpy())


@groups.people.verb()
def export(samples: Path, output: File) -> None:
    """Write a store in ADM's layout, which other evaluators read: an NPZ file of uint8 [N,H,W,3]."""
    import numpy as np

    from bridgepipe.store import ImageStore

    store = ImageStore(samples).of_images()
    images = np.stack([store[i] for i in range(len(store))])
    with artifacts.atomic(output) as temporary, open(temporary, "wb") as file:
        np.savez(file, images, *([] if store.labels is None else [store.labels]))


@groups.stage.verb()
def study_samples(
    config: Config,
    trained: Trained,
    statistics: File,
    extractor: ExtractorFiles,
    output: File,
    evaluate_config: File,
    real: Real = None,
    run: Shared = Shared(),
) -> None:
    """FID of the samples of every walk at every number of calls, measured as the experiment is, as CSV."""
    speed, plan = run.start(), read_settings(config)
    import numpy as np

    from bridgepipe import lineage, running, tables
    from bridgepipe.evaluation import fid
    from bridgepipe.evaluation import real as real_images
    from bridgepipe.evaluation.features import describe
    from bridgepipe.finished import kept
    from bridgepipe.methods import spd
    from bridgepipe.store import ImageStore
    from bridgepipe.subset import Subset, choose_from

    network, features = load_model(trained, speed), load_extractor(extractor, speed)
    reference = fid.Statistics.load(statistics, {"extractor": describe(features)})
    lineage.same_size(reference.origin.get("size"), network.diffusion.shape[1:], statistics)

    held_out = None if real is None else ImageStore(real)
    inputs = {"extractor": features.digest} | ({} if held_out is None else {"real": held_out.digest})
    about: dict[str, Any] = {"settings": read_settings(evaluate_config), "inputs": inputs}
    about |= {"trained_on": artifacts.load_card(trained.model).get("data"), "subset": None}
    about |= {"quantisation": QUANTISATION[plan["variant"]]}

    seeds = seeds_of(plan, read_settings(trained.train_config))

    def row(walk: str, how: Generation, floor: dict[str, fid.Statistics]) -> dict[str, Any]:
        work, label = partial(spd.images, network, how=how), f"{walk}, {how.nfe} calls"
        items = range(plan["count"])
        images = np.concatenate(running.shared_by_all(work, items, speed.batch_size, label))
        sets = {"": fid.statistics(features, images, speed.batch_size), **floor}
        told = real_images.told(real_images.described(sets, reference, **about))
        return {"sampler": walk, "nfe": how.nfe, **seeds, **real_images.columns(sets, reference), **told}

    identity = {"plan": plan, "model": network.digest, **about, "reference": reference.data}
    with kept(output, identity, speed):
        floor = {}
        if held_out is not None:
            some = Subset(held_out, choose_from(held_out, plan["count"]))
            floor["_real"] = fid.statistics(features, some, speed.batch_size)
        frame = tables.table([row(walk, how, floor) for walk, how in _walks(plan, network)])
        if running.is_main():
            artifacts.write_text(output, frame.to_csv(index=False, float_format="%.6g"))


def _walks(plan: dict[str, Any], network: Model) -> list[tuple[str, Generation]]:
    """Every sampler at every number of calls that it makes, once."""
    wanted = (
        (
            walk,
            _generation({**how, "nfe": nfe, **{key: plan[key] for key in ("seed", "variant")}}).on(
                network.process
            ),
        )
        for walk, how in plan["walks"].items()
        for nfe in plan["nfe"]
    )
    return list(dict.fromkeys(wanted))


def _generation(section: dict[str, Any]) -> Generation:
    from bridgepipe.methods.spd import Generation

    return Generation(**fields_of(Generation, section, ("count",)))


@groups.stage.verb()
def spectrum(data: File, output: File, figure: File, title: str = "", batch_size: int = 256) -> None:
    """Fit the power law of Shortest-Path Diffusion to a split; picture of spectrum and fit."""
    from dataclasses import asdict

    from bridgepipe import figures
    from bridgepipe.processes import schedules
    from bridgepipe.processes import spectrum as power
    from bridgepipe.store import ImageStore

    images = ImageStore(data)
    pieces = (range(i, min(i + batch_size, len(images))) for i in range(0, len(images), batch_size))
    measured = power.power_spectrum(images.batch(piece) for piece in pieces)
    law = power.fit_power_law(measured)
    k = schedules.radial_frequency(measured.shape).ravel()
    figures.spectrum_fit(figure, k, measured.ravel(), law.c1 / (law.c2 + k) ** law.m, title)
    artifacts.write_json(output, {**asdict(law), "data": images.digest})
