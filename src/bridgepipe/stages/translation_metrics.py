"""Metrics of translations between classes of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bridgepipe.artifacts import digest_of
from bridgepipe.config.ddib import EvaluateTranslation
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import lineage
from bridgepipe.data.store import ImageStore
from bridgepipe.data.subset import Subset, items_of, items_of_class
from bridgepipe.datasets.patches import pictures_of
from bridgepipe.errors import UserError
from bridgepipe.evaluation import fid, protocol
from bridgepipe.evaluation import real as real_images
from bridgepipe.evaluation.accuracy import classes_of, classifier_accuracy
from bridgepipe.evaluation.extractors import check_fits, describe
from bridgepipe.evaluation.protocol import Value
from bridgepipe.evaluation.translation import likeness, others, partners
from bridgepipe.methods.trained import ExtractorFiles, load_extractor
from bridgepipe.names import Json
from bridgepipe.names.classes import name_of, numbers_in
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable
from bridgepipe.stages.metrics import made_with, write


def translation_fid(
    settings: EvaluateTranslation,
    translated: Path,
    reference: Path,
    extractor: ExtractorFiles,
    output: Path,
    source: Path | None,
    real: Path | None,
    speed: Runtime,
) -> None:
    """FID and KID of translations to real images of the target class.

    Beside them those of the untranslated images, of one dataset, and of other real ones: ceiling and floor.
    """
    network = load_extractor(extractor, speed)
    images, pictures = ImageStore(translated), ImageStore(reference)
    check_fits(network, pictures)
    lineage.same_split(lineage.origin(pictures), settings.reference, reference)
    lineage.same_size(pictures.image_size, images.image_size, reference)
    label = _target(images)
    wanted = Subset(pictures, items_of_class(pictures, label))
    others, floor, cut = {}, None, None
    if source is not None:
        others["_source"] = _source_of(images, source)
        cut = pictures_of(others["_source"])
    if real is not None:
        held_out = ImageStore(real)
        check_fits(network, held_out)
        floor = Subset(held_out, items_of_class(held_out, label, len(images)))
    sets = real_images.sets_of(images, floor, **others)
    read = {"reference_images": reference, "source": source, "real": real}
    inputs = {role: ImageStore(path).digest for role, path in read.items() if path is not None}
    inputs |= {"extractor": network.digest, "data": images.card["made_by"]["data"]}
    with resumable(output, {**inputs, "images": images.digest}, speed):
        measured = {
            suffix: fid.statistics(network, s, speed.batch_size, label=f"features{suffix}")
            for suffix, s in {"_reference": wanted, **sets}.items()
        }
    if not running.is_main():
        return
    against = replace(measured.pop("_reference"), origin=lineage.origin(pictures))
    measured = real_images.cut_from(measured, cut, floor)
    values = real_images.values_of(measured, against, settings.kid)
    about: Json = {
        **_translated(images),
        "quantisation": lineage.quantisation(images),
        **protocol.over_pictures(cut),
    }
    shared = real_images.described(measured, against, settings=settings.as_json(), inputs=inputs, **about)
    protocol.write_metric(output, values, shared, made_with(images))


def _translated(images: ImageStore) -> Json:
    """Which images of their data were translated, and to what: entries of the protocol."""
    return {"label": _target(images), "items": digest_of(items_of(images).tolist())}


def _source_of(images: ImageStore, source: Path) -> Subset:
    """The image of a store that each was translated from.

    Raises:
        UserError: the store holds other images.
    """
    store = ImageStore(source)
    lineage.made_from(images, store, "source images")
    return Subset(store, images.array("item"))


def _target(images: ImageStore) -> str | None:
    """Name of the class that images were translated to."""
    return images.card["made_by"]["target_class"]


def target_accuracy(
    settings: EvaluateTranslation,
    translated: Path,
    source: Path | None,
    extractor: ExtractorFiles,
    output: Path,
    speed: Runtime,
) -> None:
    """Share of translations that an independent classifier takes for the target class."""
    network, images = load_extractor(extractor, speed), ImageStore(translated)
    known, target = classes_of(network), _target(images)
    wanted = target if settings.label is None else name_of(settings.label, known, "evaluate.label")
    if wanted is None:
        mend = "give its name in the classifier's data, or set evaluate.classifier to null"
        raise UserError("no target class", "evaluate.label", mend)
    number = numbers_in(known, [wanted], network.name, translated)[0]
    pictures = None if source is None else pictures_of(_source_of(images, source))
    with resumable(output, {"extractor": describe(network), "images": images.digest}, speed):
        labels = np.full(len(images), number)
        found = classifier_accuracy(network, images, labels, speed.batch_size, sources=pictures)
    if not running.is_main():
        return
    write(
        output,
        images,
        found.values("accuracy"),
        "share taken for the target class, Wilson's 95 % interval",
        settings=settings.as_json(),
        inputs={"extractor": network.digest, "data": images.card["made_by"]["data"]},
        extractor=describe(network),
        **{**_translated(images), "label": wanted},
        **protocol.over_pictures(pictures),
    )


def similarity_metric(
    translated: Path,
    source: Path,
    extractor: ExtractorFiles,
    output: Path,
    real: bool,
    speed: Runtime,
) -> None:
    """How near translations are to their sources: PSNR, SSIM, distance of features.

    Beside them the same for a translation of another image, and for a random real image of the target class.
    """
    network = load_extractor(extractor, speed)
    images, store = ImageStore(translated), ImageStore(source)
    sources = _source_of(images, source)
    check_fits(network, store)
    pictures = pictures_of(sources)
    floors: dict[str, Subset] = {"_other": Subset(images, others(len(images)))}
    if real:
        targets = items_of_class(store, _target(images))
        floors["_random"] = Subset(Subset(store, targets), partners(len(images), len(targets)))
    with resumable(output, {"extractor": describe(network), "images": [images.digest, store.digest]}, speed):
        found = likeness(images, sources, network, speed.batch_size)
        values = found.means("", pictures)
        for suffix, some in floors.items():
            floor = likeness(some, sources, network, speed.batch_size)
            values |= {**floor.means(suffix, pictures), **found.gains(floor, suffix, pictures)}
    if not running.is_main():
        return
    write(
        output,
        images,
        values,
        "psnr, ssim on uint8, Euclidean distance of features, to the source: mean and its 95 % interval",
        settings={"real": real},
        inputs={"source": store, "extractor": network.digest},
        extractor=describe(network),
        **_translated(images),
        **protocol.over_pictures(pictures),
    )


def cycle_of_images(
    back: Path,
    output: Path,
) -> None:
    """Distance of images to where they return to: from the pair of states, the image, its 8 bits alone."""
    images = ImageStore(back)
    values: dict[str, Value] = {}
    for name in ("pair", "image", "uint8"):
        if f"l2_{name}" in images.attributes:
            found = images.array(f"l2_{name}")
            values |= {f"{name}_{key}": value for key, value in protocol.errors(found).items()}
    if not values:
        raise UserError("no distances in it", back, "give a store that translate-back wrote")
    write(
        output,
        images,
        values,
        "L2 over all pixels of an image in [-1, 1], mean and its 95 % interval, and largest",
        settings={},
        inputs={"data": images.card["made_by"]["data"]},
        **_translated(images),
        quantisation="none",
    )
