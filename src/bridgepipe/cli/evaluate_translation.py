"""Metrics and the picture of translations between classes of images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Config, ExtractorFiles, File, Real, Shared
from bridgepipe.config.ddib import EvaluateTranslation
from bridgepipe.config.stage_files import read_stage
from bridgepipe.errors import UserError
from bridgepipe.methods.trained import load_extractor

if TYPE_CHECKING:
    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import Subset

ROWS = 8


@groups.evaluate.verb("translation-fid")
def translation_fid(
    config: Config,
    translated: File,
    reference: File,
    extractor: ExtractorFiles,
    output: File,
    source: Annotated[Path | None, typer.Option(help="source images, where target ones lie too")] = None,
    real: Real = None,
    run: Shared = Shared(),
) -> None:
    """FID and KID of translations to real images of the target class.

    Beside them those of the untranslated images, of one dataset, and of other real ones: ceiling and floor.
    """
    speed, settings = run.start(), read_stage(config, EvaluateTranslation)
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import Subset, items_of_class
    from bridgepipe.evaluation import fid, protocol
    from bridgepipe.evaluation import real as real_images
    from bridgepipe.evaluation.extractors import check_fits
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    network = load_extractor(extractor, speed)
    images, pictures = ImageStore(translated), ImageStore(reference)
    check_fits(network, pictures)
    lineage.same_split(lineage.origin(pictures), settings.reference, reference)
    lineage.same_size(pictures.image_size, images.image_size, reference)
    label = _target(images)
    wanted = Subset(pictures, items_of_class(pictures, label))
    others, floor = {}, None
    if source is not None:
        lineage.made_from(images, ImageStore(source), "source images")
        others["_source"] = Subset(ImageStore(source), images.array("item"))
    if real is not None:
        held_out = ImageStore(real)
        check_fits(network, held_out)
        floor = Subset(held_out, items_of_class(held_out, label, len(images)))
    sets = real_images.sets_of(images, floor, **others)
    read = {"reference_images": reference, "source": source, "real": real}
    inputs = {role: ImageStore(path).digest for role, path in read.items() if path is not None}
    inputs |= {"extractor": network.digest, "data": images.card["made_by"]["data"]}
    with kept(output, {**inputs, "images": images.digest}, speed):
        measured = {
            suffix: fid.statistics(network, s, speed.batch_size, label=f"features{suffix}")
            for suffix, s in {"_reference": wanted, **sets}.items()
        }
    if not running.is_main():
        return
    against = replace(measured.pop("_reference"), origin=lineage.origin(pictures))
    values = real_images.values_of(measured, against, settings.kid)
    told: dict[str, Any] = {**_translated(images), "quantisation": lineage.quantisation(images)}
    shared = real_images.described(measured, against, settings=settings.as_json(), inputs=inputs, **told)
    protocol.write_metric(output, values, shared, _made_with(images))


def _translated(images: ImageStore) -> dict[str, Any]:
    """Which images of their data were translated, and to what: entries of the protocol."""
    from bridgepipe.artifacts import digest_of
    from bridgepipe.data.subset import items_of

    return {"label": _target(images), "items": digest_of(items_of(images).tolist())}


def _target(images: ImageStore) -> str | None:
    """Name of the class that images were translated to."""
    return images.card["made_by"]["target_class"]


@groups.evaluate.verb("target-accuracy")
def target_accuracy(
    config: Config,
    translated: File,
    extractor: ExtractorFiles,
    output: File,
    run: Shared = Shared(),
) -> None:
    """Share of translations that an independent classifier takes for the target class."""
    speed, settings = run.start(), read_stage(config, EvaluateTranslation)
    import numpy as np

    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation import protocol
    from bridgepipe.evaluation.accuracy import classes_of, classifier_accuracy
    from bridgepipe.evaluation.extractors import describe
    from bridgepipe.names.classes import name_of, numbers_in
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    network, images = load_extractor(extractor, speed), ImageStore(translated)
    known, target = classes_of(network), _target(images)
    wanted = target if settings.label is None else name_of(settings.label, known, "evaluate.label")
    if wanted is None:
        mend = "give its name in the classifier's data, or set evaluate.classifier to null"
        raise UserError("no target class", "evaluate.label", mend)
    number = numbers_in(known, [wanted], network.name, translated)[0]
    with kept(output, {"extractor": describe(network), "images": images.digest}, speed):
        found = classifier_accuracy(network, images, np.full(len(images), number), speed.batch_size)
    if not running.is_main():
        return
    shared = protocol.protocol(
        "share taken for the target class, Wilson's 95 % interval",
        n=len(images),
        settings=settings.as_json(),
        inputs={"extractor": network.digest, "data": images.card["made_by"]["data"]},
        extractor=describe(network),
        **{**_translated(images), "label": wanted},
        quantisation=lineage.quantisation(images),
    )
    protocol.write_metric(output, found.values("accuracy"), shared, _made_with(images))


@groups.evaluate.verb("kept")
def kept_metric(
    translated: File,
    source: File,
    extractor: ExtractorFiles,
    output: File,
    real: Annotated[bool, typer.Option(help="the source's store holds real images of the target too")] = True,
    run: Shared = Shared(),
) -> None:
    """How near translations are to their sources: PSNR, SSIM, distance of features.

    Beside them the same for a translation of another image, and for a random real image of the target class.
    """
    speed = run.start()
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import Subset, items_of_class
    from bridgepipe.evaluation import protocol
    from bridgepipe.evaluation.extractors import check_fits, describe
    from bridgepipe.evaluation.translation import likeness, others, partners
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    network = load_extractor(extractor, speed)
    images, store = ImageStore(translated), ImageStore(source)
    lineage.made_from(images, store, "source images")
    check_fits(network, store)
    sources = Subset(store, images.array("item"))
    floors: dict[str, Subset] = {"_other": Subset(images, others(len(images)))}
    if real:
        targets = items_of_class(store, _target(images))
        floors["_random"] = Subset(Subset(store, targets), partners(len(images), len(targets)))
    with kept(output, {"extractor": describe(network), "images": [images.digest, store.digest]}, speed):
        found = likeness(images, sources, network, speed.batch_size)
        values = found.means()
        for suffix, some in floors.items():
            floor = likeness(some, sources, network, speed.batch_size)
            values |= {**floor.means(suffix), **found.gains(floor, suffix)}
    if not running.is_main():
        return
    shared = protocol.protocol(
        "psnr, ssim on uint8, Euclidean distance of features, to the source: mean and its 95 % interval",
        n=len(images),
        settings={"real": real},
        inputs={"source": store, "extractor": network.digest},
        extractor=describe(network),
        **_translated(images),
        quantisation=lineage.quantisation(images),
    )
    protocol.write_metric(output, values, shared, _made_with(images))


@groups.evaluate.verb("cycle-of-images")
def cycle_of_images(back: File, output: File) -> None:
    """Distance of images to where they return to: from the pair of states, the image, its 8 bits alone."""
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation import protocol

    images = ImageStore(back)
    values: dict[str, Any] = {}
    for name in ("pair", "image", "uint8"):
        if f"l2_{name}" in images.attributes:
            found = images.array(f"l2_{name}")
            values |= {f"{name}_{key}": value for key, value in protocol.errors(found).items()}
    if not values:
        raise UserError("no distances in it", back, "give a store that translate-back wrote")
    shared = protocol.protocol(
        "L2 over all pixels of an image in [-1, 1], mean and its 95 % interval, and largest",
        n=len(images),
        settings={},
        inputs={"data": images.card["made_by"]["data"]},
        **_translated(images),
        quantisation="none",
    )
    protocol.write_metric(output, values, shared, _made_with(images))


@groups.figure.verb("translations")
def translations(
    source: File, latents: File, translated: File, back: File, output: File, title: str = ""
) -> None:
    """Source, latent, translation and the way back of some images."""
    import numpy as np

    from bridgepipe.data import lineage
    from bridgepipe.data.pixels import to_uint8
    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import choose, items_of
    from bridgepipe.figures import images as figures

    images, noise, returned, store = (ImageStore(p) for p in (translated, latents, back, source))
    lineage.made_together(images, noise, returned)
    lineage.made_from(images, store, "source images")
    shown = choose(ROWS, len(returned))
    rows = items_of(returned)[shown]
    columns = {
        "source": np.stack([store[int(i)] for i in items_of(images)[rows]]),
        "latent": to_uint8(store_to_tensor(noise, rows) / 3),
        "translation": np.stack([images[int(i)] for i in rows]),
        "back": np.stack([returned[int(i)] for i in shown]),
    }
    figures.comparison_grid(output, columns, None, title)


def store_to_tensor(states: ImageStore, items: Iterable[int]) -> Any:
    """First state of every item, float32 ``[B, C, H, W]``."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([states[int(i)][0] for i in items])).float()


def _made_with(images: Any) -> dict[str, Any]:
    """What one value was made with and another may differ in."""
    made_by = images.card["made_by"]
    kept = ("settings", "model", "target_model", "guide", "data", "origin")
    return {**{key: made_by[key] for key in kept if key in made_by}, "evaluated": images.digest}
