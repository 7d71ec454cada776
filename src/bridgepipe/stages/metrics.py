"""Reference statistics, and metrics of restored images and of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridgepipe.config.i2sb import Evaluate
from bridgepipe.config.recipe import Distribution
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import lineage
from bridgepipe.data.lineage import same_count
from bridgepipe.data.store import ImageStore
from bridgepipe.data.subset import Subset, items_of
from bridgepipe.datasets.patches import pictures_of
from bridgepipe.errors import UserError
from bridgepipe.evaluation import extractors, fid, protocol
from bridgepipe.evaluation import real as real_images
from bridgepipe.evaluation.accuracy import classes_of, classifier_accuracy
from bridgepipe.evaluation.extractors import check_fits, describe
from bridgepipe.evaluation.features import Images
from bridgepipe.evaluation.fid import Statistics
from bridgepipe.evaluation.image_sets import reference_statistics
from bridgepipe.evaluation.protocol import Value
from bridgepipe.evaluation.restoration import restoration
from bridgepipe.methods.trained import ExtractorFiles, load_extractor
from bridgepipe.names import Json
from bridgepipe.names.classes import numbers_in
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable


def statistics(
    data: Path,
    extractor: ExtractorFiles,
    output: Path,
    speed: Runtime,
) -> None:
    """Mean and covariance of the features of a split: the reference of the FID."""
    network, images = load_extractor(extractor, speed), ImageStore(data)
    extractors.check_fits(network, images)
    identity = {"extractor": extractors.describe(network), "images": images.digest}
    with resumable(output, identity, speed):
        measured = fid.statistics(network, images, speed.batch_size)
        if running.is_main():
            replace(measured, origin=lineage.origin(images)).save(output)


def fid_metric(
    settings: Evaluate | Distribution,
    images: Path,
    statistics: Path,
    extractor: ExtractorFiles,
    output: Path,
    corrupted: Path | None,
    originals: Path | None,
    real: Path | None,
    speed: Runtime,
) -> None:
    """FID and KID of images, of what they were made from, and of as many real ones, against real ones."""
    network = load_extractor(extractor, speed)
    reference = reference_statistics(statistics, network, settings.kid, speed.batch_size)
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
    with resumable(output, {**inputs, "images": store.digest}, speed):
        measured = {
            suffix: fid.statistics(network, s, speed.batch_size, label=f"features{suffix}")
            for suffix, s in sets.items()
        }
    if not running.is_main():
        return
    measured = real_images.restored_from(measured, store, truth)
    pictures = None if truth is None else pictures_of(truth, items_of(store))
    measured = real_images.cut_from(measured, pictures, sets.get("_real"))
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
        **protocol.over_pictures(pictures),
    )
    protocol.write_metric(output, values, shared, made_with(store))


def accuracy_metric(
    restored: Path,
    corrupted: Path,
    originals: Path,
    extractor: ExtractorFiles,
    output: Path,
    speed: Runtime,
) -> None:
    """Share of restored, corrupted and original images that a classifier names rightly."""
    network = load_extractor(extractor, speed)
    *degraded, truth = _restored_stores(restored, corrupted, originals)
    stores = dict(zip(("", "_corrupted"), degraded, strict=True))
    known = truth.classes if truth.labels is not None else None
    numbers_in(classes_of(network), known, network.name, truth.path)
    items = items_of(stores[""])
    labels = None if truth.labels is None else truth.labels[items]
    pictures = pictures_of(truth, items)
    values: dict[str, Value] = {}
    sets: dict[str, Images] = {**stores, "_originals": Subset(truth, items)}
    identity = {"extractor": describe(network), "images": [s.digest for s in (*degraded, truth)]}
    with resumable(output, identity, speed):
        for suffix, images in sets.items():
            found = classifier_accuracy(network, images, labels, speed.batch_size, known, pictures)
            values |= found.values(f"accuracy{suffix}")
    if not running.is_main():
        return
    write(
        output,
        stores[""],
        values,
        "top-1 accuracy, Wilson's 95 % interval",
        settings={},
        inputs={"originals": truth, "extractor": network.digest},
        extractor=describe(network),
        subset=stores[""].card["made_by"].get("subset"),
        **protocol.over_pictures(pictures),
    )


def restoration_metric(
    restored: Path,
    corrupted: Path,
    originals: Path,
    output: Path,
) -> None:
    """PSNR and SSIM of restored and of corrupted images against their originals."""
    images, seen, truth = _restored_stores(restored, corrupted, originals)
    items = items_of(images)
    found, pictures = restoration(images, seen, Subset(truth, items)), pictures_of(truth, items)
    write(
        output,
        images,
        found.means(pictures),
        "psnr, ssim: per image on uint8, mean and its 95 % interval",
        settings={},
        inputs={"originals": truth},
        subset=images.card["made_by"].get("subset"),
        **protocol.over_pictures(pictures),
    )


def write(output: Path, images: ImageStore, values: Mapping[str, Value], metric: str, **about: Any) -> None:
    """Write a metric of the images of a store, with its protocol and what the images were made with.

    Args:
        metric, about: see `protocol.protocol`.
    """
    entries = {"n": len(images), "quantisation": lineage.quantisation(images), **about}
    protocol.write_metric(output, values, protocol.protocol(metric, **entries), made_with(images))


def made_with(images: ImageStore) -> Json:
    """What one value was made with and another may differ in."""
    made_by = images.card["made_by"]
    keys = ("settings", "model", "target_model", "guide", "data", "origin")
    return {**{key: made_by[key] for key in keys if key in made_by}, "evaluated": images.digest}


def _restored_stores(*paths: Path) -> tuple[ImageStore, ImageStore, ImageStore]:
    """Restored and corrupted images of one run, and the originals that they were made from.

    Raises:
        UserError: the stores do not belong together.
    """
    images, seen, truth = (ImageStore(path) for path in paths)
    lineage.made_together(images, seen)
    lineage.made_from(images, truth, "originals")
    same_count(restored=images, corrupted=seen)
    return images, seen, truth


def _check_reference(found: Statistics, images: ImageStore, split: str, where: Path) -> None:
    """Refuse reference statistics of another source or split, or of images of another size.

    Raises:
        UserError: the statistics are of another source, split or size, as far as their card says.
    """
    about, made = found.origin, images.card["made_by"].get("origin", {})
    kinds = {lineage.kind_of(o["source"]) for o in (about, made) if "source" in o}
    if len(kinds) > 1:
        what = f"statistics of {about['name']}, the images were made from {made['name']}"
        raise UserError(what, where, "give those of the images' own dataset")
    lineage.same_split(about, split, where)
    lineage.same_size(about.get("size"), images.image_size, where)
