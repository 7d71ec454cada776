"""Verbs of the evaluation stage: reference statistics, one metric each, and the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.options import Config, ExtractorFiles, File, Real, Shared
from bridgepipe.config.i2sb import Evaluate
from bridgepipe.config.recipe import Distribution
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data.lineage import same_count
from bridgepipe.errors import UserError
from bridgepipe.methods.trained import load_extractor

if TYPE_CHECKING:
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation.fid import Statistics


@groups.stage.verb()
def statistics(
    data: File,
    extractor: ExtractorFiles,
    output: File,
    run: Shared = Shared(),
) -> None:
    """Mean and covariance of the features of a split: the reference of the FID."""
    speed = run.start()
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation import extractors, fid
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    network, images = load_extractor(extractor, speed), ImageStore(data)
    extractors.check_fits(network, images)
    identity = {"extractor": extractors.describe(network), "images": images.digest}
    with kept(output, identity, speed):
        measured = fid.statistics(network, images, speed.batch_size)
        if running.is_main():
            replace(measured, origin=lineage.origin(images)).save(output)


@groups.evaluate.verb("fid")
def fid_metric(
    config: Config,
    images: File,
    statistics: File,
    extractor: ExtractorFiles,
    output: File,
    corrupted: Annotated[Path | None, typer.Option(help="what the images were made from")] = None,
    originals: Annotated[Path | None, typer.Option(help="what they were restored to be")] = None,
    real: Real = None,
    run: Shared = Shared(),
) -> None:
    """FID and KID of images, of what they were made from, and of as many real ones, against real ones."""
    speed = run.start()
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation import fid, protocol
    from bridgepipe.evaluation import real as real_images
    from bridgepipe.evaluation.extractors import check_fits, describe
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    settings = read_stage(config, Evaluate, Distribution)
    network = load_extractor(extractor, speed)
    reference = fid.Statistics.load(statistics, {"extractor": describe(network)})
    store, seen, truth, held_out = (
        None if path is None else ImageStore(path) for path in (images, corrupted, originals, real)
    )
    assert store is not None
    check_fits(network, store)
    _check_reference(reference, store, settings.reference, statistics)
    if seen is not None:
        lineage.made_together(store, seen)
    if truth is not None:
        lineage.made_from(store, truth, "originals")
    others = {} if seen is None else {"_corrupted": seen}
    sets = real_images.sets_of(store, real_images.floor_of(store, held_out, truth), **others)
    read = {"originals": truth, "real": held_out, "corrupted": seen}
    inputs = {"extractor": network.digest} | {role: s.digest for role, s in read.items() if s is not None}
    with kept(output, {**inputs, "images": store.digest}, speed):
        measured = {
            suffix: fid.statistics(network, s, speed.batch_size, label=f"features{suffix}")
            for suffix, s in sets.items()
        }
    if not running.is_main():
        return
    measured = real_images.restored_from(measured, store, truth)
    values = real_images.values_of(measured, reference, settings.kid)
    made_by = store.card["made_by"]
    shared = real_images.described(
        measured,
        reference,
        settings=settings.as_json(),
        inputs={role: digest for role, digest in inputs.items() if role != "corrupted"},
        restored=truth is not None,
        trained_on=made_by.get("data") if truth is None else None,
        subset=made_by.get("subset"),
        quantisation=lineage.quantisation(store),
    )
    protocol.write_metric(output, values, shared, _made_with(store))


@groups.evaluate.verb("accuracy")
def accuracy_metric(
    restored: File,
    corrupted: File,
    originals: File,
    extractor: ExtractorFiles,
    output: File,
    run: Shared = Shared(),
) -> None:
    """Share of restored, corrupted and original images that a classifier names rightly."""
    speed = run.start()
    from bridgepipe.data import lineage
    from bridgepipe.data.subset import Subset, items_of
    from bridgepipe.evaluation import protocol
    from bridgepipe.evaluation.accuracy import classes_of, classifier_accuracy
    from bridgepipe.evaluation.extractors import describe
    from bridgepipe.evaluation.features import Images
    from bridgepipe.names.classes import numbers_in
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    network = load_extractor(extractor, speed)
    *degraded, truth = _restored_stores(restored, corrupted, originals)
    stores = dict(zip(("", "_corrupted"), degraded, strict=True))
    known = truth.classes if truth.labels is not None else None
    numbers_in(classes_of(network), known, network.name, truth.path)
    items = items_of(stores[""])
    labels = None if truth.labels is None else truth.labels[items]
    values: dict[str, Any] = {}
    sets: dict[str, Images] = {**stores, "_originals": Subset(truth, items)}
    identity = {"extractor": describe(network), "images": [s.digest for s in (*degraded, truth)]}
    with kept(output, identity, speed):
        for suffix, images in sets.items():
            found = classifier_accuracy(network, images, labels, speed.batch_size, known)
            values |= found.values(f"accuracy{suffix}")
    if not running.is_main():
        return
    shared = protocol.protocol(
        "top-1 accuracy, Wilson's 95 % interval",
        n=len(items),
        settings={},
        inputs={"originals": truth, "extractor": network.digest},
        extractor=describe(network),
        subset=stores[""].card["made_by"].get("subset"),
        quantisation=lineage.quantisation(stores[""]),
    )
    protocol.write_metric(output, values, shared, _made_with(stores[""]))


@groups.evaluate.verb("restoration")
def restoration_metric(restored: File, corrupted: File, originals: File, output: File) -> None:
    """PSNR and SSIM of restored and of corrupted images against their originals."""
    from bridgepipe.data import lineage
    from bridgepipe.data.subset import Subset, items_of
    from bridgepipe.evaluation import protocol
    from bridgepipe.evaluation.restoration import restoration

    images, seen, truth = _restored_stores(restored, corrupted, originals)
    found = restoration(images, seen, Subset(truth, items_of(images)))
    shared = protocol.protocol(
        "psnr, ssim: per image on uint8, mean and its 95 % interval",
        n=len(images),
        settings={},
        inputs={"originals": truth},
        subset=images.card["made_by"].get("subset"),
        quantisation=lineage.quantisation(images),
    )
    protocol.write_metric(output, found.means(), shared, _made_with(images))


@groups.stage.verb()
def table(
    metrics: list[Path],
    csv: File,
    markdown: File,
    numbers: Annotated[Path | None, typer.Option(help="JSON for DVC with the numbers alone")] = None,
) -> None:
    """One row per experiment from its metric files, published numbers beside ours."""
    from bridgepipe.evaluation import summary, tables

    frame = summary.collect(metrics)
    tables.write_table(csv, markdown, frame, summary.notes_of(frame))
    if numbers is not None:
        _write_numbers(metrics, numbers)


@groups.stage.verb("numbers")
def write_numbers(metrics: list[Path], output: File) -> None:
    """The numbers of an experiment's metric files, without what they were made with, for DVC."""
    _write_numbers(metrics, output)


def _without_intervals(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.endswith(("_low", "_high", "_n"))}


def _write_numbers(metrics: list[Path], output: Path) -> None:
    """Numbers by metric file; digests of these files stand in a list, which DVC does not show."""
    values = {file.stem: _without_intervals(artifacts.read_object(file)["values"]) for file in metrics}
    made_of = [[file.as_posix(), artifacts.digest_file(file)] for file in metrics]
    artifacts.write_json(output, {**values, "made_of": made_of})


def _made_with(images: ImageStore) -> dict[str, Any]:
    """What one value was made with and another may differ in."""
    made_by = images.card["made_by"]
    told = {key: made_by[key] for key in ("settings", "model", "data", "origin") if key in made_by}
    return {**told, "evaluated": images.digest}


def _restored_stores(*paths: Path) -> tuple[ImageStore, ImageStore, ImageStore]:
    """Restored and corrupted images of one run, and the originals that they were made from.

    Raises:
        UserError: they do not belong together.
    """
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore

    images, seen, truth = (ImageStore(path) for path in paths)
    lineage.made_together(images, seen)
    lineage.made_from(images, truth, "originals")
    same_count(restored=images, corrupted=seen)
    return images, seen, truth


def _check_reference(found: Statistics, images: ImageStore, split: str, where: Path) -> None:
    """Refuse reference statistics of another source or split, or of images of another size.

    Raises:
        UserError: they are, as far as their card tells.
    """
    from bridgepipe.data import lineage

    about, made = found.origin, images.card["made_by"].get("origin", {})
    kinds = {lineage.kind_of(o["source"]) for o in (about, made) if "source" in o}
    if len(kinds) > 1:
        what = f"statistics of {about['name']}, the images were made from {made['name']}"
        raise UserError(what, where, "give those of the images' own dataset")
    lineage.same_split(about, split, where)
    lineage.same_size(about.get("size"), images.image_size, where)
