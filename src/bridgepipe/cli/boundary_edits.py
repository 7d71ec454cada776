"""Verbs of edits across boundaries: strips of edited images, and what they are measured by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.boundary import SPACES, chosen, open_model, space_of
from bridgepipe.cli.options import Alone, Config, ExtractorFiles, File, Shared, Trained
from bridgepipe.config.boundary import BoundaryEdit, BoundaryJudge, BoundaryMeasures
from bridgepipe.config.boundary_settings import Edit, Judge
from bridgepipe.config.stage_files import read_stage
from bridgepipe.errors import UserError
from bridgepipe.methods.trained import load_extractor
from bridgepipe.names import QUANTISATION

if TYPE_CHECKING:
    import numpy as np

    from bridgepipe.data.store import ImageStore
    from bridgepipe.methods.boundary import Boundaries
    from bridgepipe.methods.boundary_edit import Source
    from bridgepipe.methods.boundary_latents import Latents
    from bridgepipe.methods.gaussian import Model
    from bridgepipe.networks.hspace import HSpace

Control = Annotated[Path, typer.Option(help="the same images, decoded with the same noise, not moved")]
Plain = Annotated[Path, typer.Option(help="the same images, decoded without an edit and with eta 0")]
DRAW = "boundary edit"  # purpose of the noise of edits


@groups.boundary.verb()
def strips(
    config: Config,
    trained: Trained,
    boundary: Annotated[Path, typer.Option(help="folder of the boundaries")],
    latents: Annotated[Path, typer.Option(help="folder of the latents")],
    edited: File,
    control: Control,
    plain: Plain,
    run: Shared = Shared(),
) -> None:
    """Edit test images, or samples, at every distance; and decode them without an edit."""
    speed, how = run.start(), read_stage(config, BoundaryEdit).edit
    import numpy as np

    from bridgepipe.data.pixels import to_uint8
    from bridgepipe.data.subset import choose
    from bridgepipe.methods import boundary_edit
    from bridgepipe.methods.boundary_latents import Latents
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

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
            return network.noise(how.seed, DRAW, piece)

        images = boundary_edit.strip(h_space, network.process, at, pair, distances.tolist(), how, noise)
        unmoved = boundary_edit.control(h_space, network.process, at, how, noise())
        back = boundary_edit.reconstruct(h_space, network.process, at, how, noise())
        return to_uint8(images), to_uint8(unmoved), to_uint8(back)

    about = {"settings": {**made["settings"], **how.as_json()}, "model": network.digest, "data": made["data"]}
    about |= {"boundaries": digests(boundary), "source": how.source, "cut": made["cut"]}
    about |= {"quantisation": QUANTISATION["exact"]}
    arrays = {"item": stores[0].array("item")[items]} if real else {}
    with kept(edited, {**about, "latents": [store.digest for store in stores]}, speed):
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
        UserError: they are not of one model, step and attribute.
    """
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore
    from bridgepipe.methods.boundary import load, load_both

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
    about: dict[str, Any],
    distances: np.ndarray,
    arrays: dict[str, np.ndarray],
) -> None:
    """Stores of the edited images, with the distance of each, of their controls, and of the plain ones.

    Controls and plain ones come with the arrays.
    """
    from bridgepipe.data.store import writer

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


def digests(folder: Path) -> dict[str, str]:
    """Digests of a folder's boundaries, by space."""
    return {s: artifacts.load_card(folder / f"{s}.safetensors")[artifacts.CONTENT] for s in SPACES}


def _sampled(h_space: HSpace, network: Model, items: Sequence[int], t: int, how: Edit) -> Latents:
    from bridgepipe.methods.boundary_latents import generate

    noise = network.noise(how.seed, "boundary sample", items)
    start = noise.normal(network.diffusion.shape)
    return generate(h_space, network.process, start, t, how.generate, how.variant)


@groups.boundary.verb()
def judge(config: Config, train: File, output: File, run: Alone = Alone()) -> None:
    """Train a small classifier of the attribute on images: it judges edits where nothing else can."""
    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import Subset
    from bridgepipe.datasets import attributes
    from bridgepipe.evaluation import classifier, judges
    from bridgepipe.runtime.finished import kept

    speed = run.start()
    settings, images = read_stage(config, BoundaryJudge), ImageStore(train)
    values, cut = attributes.values_and_cut(images, settings, at=settings.threshold)
    items = chosen(images, values, cut, settings.seed, None, settings.middle)
    recipe = settings.model_dump(include=set(Judge.model_fields))
    having = (values[items] > cut).astype("int64")
    with kept(output, {"config": settings.as_json(), "data": images.digest}, speed):
        trained = classifier.train_classifier(Subset(images, items), having, **recipe, classes=judges.SIDES)
    trained.save(output, {"config": settings.as_json(), "data": images.digest})


@groups.boundary.verb()
def evaluate(
    config: Config,
    edited: File,
    control: Control,
    plain: Plain,
    data: Annotated[Path, typer.Option(help="split that the edited images come from")],
    train: Annotated[Path, typer.Option(help="real images")],
    classifier: Annotated[Path, typer.Option(help="weights of what knows the classes, or the attribute")],
    extractor: ExtractorFiles,
    output: File,
    csv: File,
    run: Shared = Shared(),
) -> None:
    """What the edits flip against the distance, what they keep, and how evenly they change."""
    speed, settings = run.start(), read_stage(config, BoundaryMeasures)
    import numpy as np

    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import Subset
    from bridgepipe.datasets import attributes
    from bridgepipe.evaluation import edits, judges, protocol, strips, tables
    from bridgepipe.evaluation.extractors import check_fits, describe
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    features, real = load_extractor(extractor, speed), ImageStore(train)
    store, unmoved, undone, source = edits_and_data(edited, control, plain, data)
    check_fits(features, real)
    known = judges.load_judge(settings, classifier, real, speed)
    made = store.card["made_by"]
    _same_attribute(settings.attribute, made["settings"]["attribute"], edited)
    values, cut = attributes.values_and_cut(real, settings, at=made["cut"])
    shown, seed = judges.open_strips(store, unmoved, undone, source), settings.seed
    judge = judges.judge_of_the_edit(settings, real, known, values, cut)
    named = None if settings.classifier is None else known
    sides = {"with": Subset(real, np.flatnonzero(values > cut))}
    sides["without"] = Subset(real, np.flatnonzero(values <= cut))
    identity = {"settings": settings.as_json(), "extractor": describe(features), "judge": known.digest}
    identity |= {"images": [s.digest for s in (store, unmoved, undone, source, real)]}
    with kept(output, identity, speed):
        found, rows = edits.measure(shown, judge, judges.keepers(settings, real, known), named, seed)
        found |= edits.distances_to_real(shown, judge, found["best_distance"], sides, features, seed)
    if not running.is_main():
        return
    artifacts.write_text(csv, tables.table(rows).to_csv(index=False, float_format="%.6g"))
    shared = protocol.protocol(
        "edits that the judge calls flipped against the same noise without a move, of those that can flip",
        settings=settings.as_json(),
        inputs={"data": source, "train": real, "classifier": known, "extractor": features.digest},
        extractor=describe(features),
        quantisation=lineage.quantisation(store),
        judge=judge.name,
        cut=made["cut"],
        source=made["source"],
        items=artifacts.digest_of(undone.array("item").tolist()) if shown.originals is not None else None,
        **strips.halves(shown, seed),
    )
    made_with = {key: made[key] for key in ("settings", "model", "data", "boundaries")}
    artifacts.write_json(output, {**protocol.metric(found, shared, made_with), "curve": rows})


def edits_and_data(*paths: Path) -> tuple[ImageStore, ...]:
    """Edited images, their controls, the plain ones, and the images that they were made from.

    Raises:
        UserError: they do not belong together.
    """
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore

    *made, source = (ImageStore(path) for path in paths)
    lineage.made_together(*made)
    lineage.made_from(made[0], source, "source images")
    return *made, source
