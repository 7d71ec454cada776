"""Edits across boundaries: strips of edited images, and what they are measured by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridgepipe import artifacts
from bridgepipe.config.boundary import BoundaryJudge, BoundaryMeasures
from bridgepipe.config.boundary_settings import Edit, Judge, Measures
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import lineage
from bridgepipe.data.pixels import to_uint8
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.data.subset import Subset, choose
from bridgepipe.datasets import attributes
from bridgepipe.errors import UserError
from bridgepipe.evaluation import classifier, edits, judges, protocol, tables
from bridgepipe.evaluation.extractors import check_fits, describe
from bridgepipe.evaluation.strips import halves
from bridgepipe.methods import boundary as boundaries
from bridgepipe.methods import boundary_edit
from bridgepipe.methods.boundary import SPACES, Boundaries, load, load_both
from bridgepipe.methods.boundary_edit import Source
from bridgepipe.methods.boundary_latents import Latents, generate, space_of
from bridgepipe.methods.gaussian import Model
from bridgepipe.methods.trained import ExtractorFiles, Trained, load_extractor, open_model
from bridgepipe.names import QUANTISATION, Json
from bridgepipe.networks.hspace import HSpace
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable

if TYPE_CHECKING:
    from bridgepipe.evaluation.perceptual import Clip, Identity


def strips(
    how: Edit,
    trained: Trained,
    boundary: Path,
    latents: Path,
    edited: Path,
    control: Path,
    plain: Path,
    speed: Runtime,
) -> None:
    """Edit test images, or samples, at every distance; and decode them without an edit."""
    network = open_model(trained, speed)
    stores, pair = _latents_and_boundaries(latents, boundary, network.digest)
    made = stores[0].card["made_by"]
    h_space = space_of(network, how.variant)
    distances = np.linspace(how.start, how.end, how.n).round(9)
    real = how.source == "images"
    kinds = stores[0].array("value") > made["cut"]
    items = choose(how.images, len(kinds), kinds) if real else np.arange(how.images)

    def decoded(piece: Sequence[int]) -> tuple[np.ndarray, ...]:
        if real:
            z, h = (store.batch(piece).to(network.device) for store in stores)
            at = Latents(z, h, made["t"])
        else:
            at = _sampled(h_space, network, piece, made["t"], how)

        def noise(k: int = 0) -> Source:  # the same at every distance, and without a move
            return network.noise(how.seed, boundary_edit.DRAW, piece)

        images = boundary_edit.strip(h_space, network.process, at, pair, distances.tolist(), how, noise)
        unmoved = boundary_edit.control(h_space, network.process, at, how, noise())
        back = boundary_edit.reconstruct(h_space, network.process, at, how, noise())
        return to_uint8(images), to_uint8(unmoved), to_uint8(back)

    about = {"settings": {**made["settings"], **how.as_json()}, "model": network.digest, "data": made["data"]}
    about |= {"boundaries": boundaries.digests(boundary), "source": how.source, "cut": made["cut"]}
    about |= {"quantisation": QUANTISATION["exact"]}
    arrays = {"item": stores[0].array("item")[items]} if real else {}
    with resumable(edited, {**about, "latents": [store.digest for store in stores]}, speed):
        batches = running.shared(decoded, items.tolist(), network.batch_size, "editing")
        if not running.is_main():
            running.exhaust(batches)
            return
        _write_strips((edited, control, plain), batches, about, np.tile(distances, len(items)), arrays)


def _latents_and_boundaries(
    latents: Path, boundary: Path, model: str
) -> tuple[tuple[ImageStore, ImageStore], Boundaries]:
    """Test latents in z and in h, and the boundaries in both.

    Raises:
        UserError: latents and boundaries are not of one model, step and attribute.
    """
    z, h = (ImageStore(latents / f"test-{space}.lmdb") for space in SPACES)
    lineage.made_together(z, h)
    made = z.card["made_by"]
    if made["model"] != model:
        raise UserError("latents of another model", z.path, "give the model that made them")
    pair = load_both(boundary, model, made["t"])
    _same_attribute(made["settings"]["attribute"], load(boundary / "z.safetensors")[1].attribute, boundary)
    return (z, h), pair


def _same_attribute(wanted: str, attribute: str, where: Path) -> None:
    if attribute != wanted:
        what = f"it is of the attribute {attribute}, not of {wanted}"
        raise UserError(what, where, "give what was made for this attribute")


def _write_strips(
    paths: tuple[Path, Path, Path],
    batches: Iterator[tuple[np.ndarray, ...]],
    about: Json,
    distances: np.ndarray,
    arrays: dict[str, np.ndarray],
) -> None:
    """Stores of the edited images, with the distance of each, of their controls, and of the plain ones.

    Controls and plain ones come with the arrays.
    """
    edited, control, plain = paths
    with (
        writer(edited, {"images": "edited", **about}) as strips_out,
        writer(control, {"images": "control", **about}) as control_out,
        writer(plain, {"images": "plain", **about}) as plain_out,
    ):
        for strips, *unedited in batches:
            for image in strips.reshape(-1, *strips.shape[2:]):
                strips_out.put(image)
            for store, images in zip((control_out, plain_out), unedited, strict=True):
                for image in images:
                    store.put(image)
        strips_out.set_array("distance", distances)
        for name, values in arrays.items():
            control_out.set_array(name, values)
            plain_out.set_array(name, values)


def _sampled(h_space: HSpace, network: Model, items: Sequence[int], t: int, how: Edit) -> Latents:
    noise = network.noise(how.seed, "boundary sample", items)
    start = noise.normal(network.diffusion.shape)
    return generate(h_space, network.process, start, t, how.generate, how.variant)


def judge(
    settings: BoundaryJudge,
    train: Path,
    output: Path,
    speed: Runtime,
) -> None:
    """Train a small classifier of the attribute on images: it judges edits where nothing else can."""
    images = ImageStore(train)
    values, cut = attributes.values_and_cut(images, settings, at=settings.threshold)
    items = attributes.chosen(images, values, cut, settings.seed, None, settings.middle)
    recipe = settings.model_dump(include=set(Judge.model_fields))
    having = (values[items] > cut).astype("int64")
    with resumable(output, {"config": settings.as_json(), "data": images.digest}, speed):
        trained = classifier.train_classifier(Subset(images, items), having, **recipe, classes=judges.SIDES)
    trained.save(output, {"config": settings.as_json(), "data": images.digest})


def evaluate(
    settings: BoundaryMeasures,
    edited: Path,
    control: Path,
    plain: Path,
    data: Path,
    train: Path,
    classifier: Path,
    extractor: ExtractorFiles,
    output: Path,
    csv: Path,
    speed: Runtime,
) -> None:
    """What the edits flip against the distance, what they keep, and how evenly they change."""
    features, real = load_extractor(extractor, speed), ImageStore(train)
    store, unmoved, undone, source = edits_and_data(edited, control, plain, data)
    check_fits(features, real)
    known = judges.load_judge(settings, classifier, real, speed)
    made = store.card["made_by"]
    _same_attribute(settings.attribute, made["settings"]["attribute"], edited)
    values, cut = attributes.values_and_cut(real, settings, at=made["cut"])
    strips, seed = judges.open_strips(store, unmoved, undone, source), settings.seed
    judge = judges.judge_of_the_edit(settings, real, known, values, cut)
    named = None if settings.classifier is None else known
    clip, identity_of, seen = _networks(settings, speed)
    sides = {"with": Subset(real, np.flatnonzero(values > cut))}
    sides["without"] = Subset(real, np.flatnonzero(values <= cut))
    identity = {"settings": settings.as_json(), "extractor": describe(features), "judge": known.digest}
    identity |= {"images": [s.digest for s in (store, unmoved, undone, source, real)], **seen}
    with resumable(output, identity, speed):
        more = edits.perceived(strips, clip, settings.clip.text if settings.clip else "", identity_of)
        found, rows = edits.measure(strips, judge, judges.keepers(settings, real, known), named, seed, more)
        found |= edits.distances_to_real(strips, judge, found["best_distance"], sides, features, seed)
    if not running.is_main():
        return
    artifacts.write_text(csv, tables.table(rows).to_csv(index=False, float_format="%.6g"))
    shared = protocol.protocol(
        "edits that the judge calls flipped against the same noise without a move, of those that can flip",
        settings=settings.as_json(),
        inputs={"data": source, "train": real, "classifier": known, "extractor": features.digest, **seen},
        extractor=describe(features),
        quantisation=lineage.quantisation(store),
        judge=judge.name,
        cut=made["cut"],
        source=made["source"],
        items=artifacts.digest_of(undone.array("item").tolist()) if strips.originals is not None else None,
        **halves(strips, seed),
        **protocol.over_pictures(strips.sources_of(np.arange(len(strips.plain)))),
    )
    made_with = {key: made[key] for key in ("settings", "model", "data", "boundaries")}
    artifacts.write_json(output, {**protocol.metric(found, shared, made_with), "curve": rows})


def _networks(how: Measures, speed: Runtime) -> tuple[Clip | None, Identity | None, dict[str, str]]:
    """Networks that judge edits where they are asked for, and their digests by name."""
    from bridgepipe.evaluation import perceptual

    clip, identity = None, None
    if how.clip is not None:
        weights = perceptual.file_of(how.clip.weights)
        clip = perceptual.Clip(weights, running.placed(speed.device).device)
    if how.identity is not None:
        identity = perceptual.Identity(perceptual.file_of(how.identity))
    made = {"clip": clip, "identity": identity}
    return clip, identity, {name: one.digest for name, one in made.items() if one is not None}


def edits_and_data(*paths: Path) -> tuple[ImageStore, ...]:
    """Edited images, their controls, the plain ones, and the images that they were made from.

    Raises:
        UserError: the stores do not belong together.
    """
    *made, source = (ImageStore(path) for path in paths)
    lineage.made_together(*made)
    lineage.made_from(made[0], source, "source images")
    return *made, source
