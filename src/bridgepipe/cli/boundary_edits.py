"""Verbs of edits across boundaries: strips of edited images, and what they are measured by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe.classes import brief, numbers_in
from bridgepipe.cli import groups
from bridgepipe.cli.boundary import SPACES, chosen, open_model, space_of, values_and_cut
from bridgepipe.cli.common import fields_of, load_extractor
from bridgepipe.cli.options import Alone, Config, ExtractorFiles, File, Shared, Trained
from bridgepipe.cli.settings import read_settings
from bridgepipe.errors import UserError
from bridgepipe.names import QUANTISATION

if TYPE_CHECKING:
    import numpy as np

    from bridgepipe.evaluation.edits import Judge, Strips
    from bridgepipe.methods.boundary_edit import Editing, Source
    from bridgepipe.methods.boundary_latents import Latents
    from bridgepipe.methods.gaussian import Model
    from bridgepipe.networks.hspace import HSpace
    from bridgepipe.store import ImageStore

Control = Annotated[Path, typer.Option(help="the same images, decoded with the same noise, not moved")]
Plain = Annotated[Path, typer.Option(help="the same images, decoded without an edit and with eta 0")]
# of strips, besides the way back
STRIP = ("start", "end", "n", "source", "images", "generate", "seed")
SIDES = ("without", "with")  # classes of a judge
DRAW = "boundary edit"  # purpose of the noise of edits


def editing_of(settings: dict[str, Any]) -> Editing:
    from bridgepipe.methods.boundary_edit import Editing

    return Editing(**fields_of(Editing, settings, STRIP))


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
    speed, settings = run.start(), read_settings(config)["edit"]
    import numpy as np

    from bridgepipe import lineage, running
    from bridgepipe.finished import kept
    from bridgepipe.methods import boundary_edit
    from bridgepipe.methods.boundary import load, load_both
    from bridgepipe.methods.boundary_latents import Latents
    from bridgepipe.pixels import to_uint8
    from bridgepipe.store import ImageStore
    from bridgepipe.subset import choose

    network = open_model(trained, speed)
    stores = [ImageStore(latents / f"test-{space}.lmdb") for space in SPACES]
    lineage.made_together(*stores)
    made = stores[0].card["made_by"]
    if made["model"] != network.digest:
        raise UserError("latents of another model", stores[0].path, "give the model that made them")
    pair = load_both(boundary, network.digest, made["t"])
    _same_attribute(made["settings"], load(boundary / "z.safetensors")[1].attribute, boundary)
    how, h_space = editing_of(settings), space_of(network, settings["variant"])
    distances = np.linspace(settings["start"], settings["end"], settings["n"]).round(9)
    real = settings["source"] == "images"
    kinds = stores[0].array("value") > made["cut"]
    items = choose(settings["images"], len(kinds), kinds) if real else np.arange(settings["images"])

    def decoded(piece: Sequence[int]) -> tuple[np.ndarray, ...]:
        if real:
            z, h = (store.batch(piece).to(network.device) for store in stores)
            at = Latents(z, h, made["t"])
        else:
            at = _sampled(h_space, network, piece, made["t"], settings)

        def noise(k: int = 0) -> Source:  # the same at every distance, and without a move
            return network.noise(settings["seed"], DRAW, piece)

        images = boundary_edit.strip(h_space, network.process, at, pair, distances.tolist(), how, noise)
        unmoved = boundary_edit.control(h_space, network.process, at, how, noise())
        back = boundary_edit.reconstruct(h_space, network.process, at, how, noise())
        return to_uint8(images), to_uint8(unmoved), to_uint8(back)

    about = {"settings": {**made["settings"], **settings}, "model": network.digest, "data": made["data"]}
    about |= {"boundaries": digests(boundary), "source": settings["source"], "cut": made["cut"]}
    about |= {"quantisation": QUANTISATION["exact"]}
    arrays = {"item": stores[0].array("item")[items]} if real else {}
    with kept(edited, {**about, "latents": [store.digest for store in stores]}, speed):
        batches = running.shared(decoded, items.tolist(), network.batch_size, "editing")
        if not running.is_main():
            running.exhaust(batches)
            return
        _write_strips((edited, control, plain), batches, about, np.tile(distances, len(items)), arrays)


def _same_attribute(settings: dict[str, Any], attribute: str, where: Path) -> None:
    if attribute != settings["attribute"]:
        what = f"it is of the attribute {attribute}, not of {settings['attribute']}"
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
    from bridgepipe.store import writer

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


def _sampled(
    h_space: HSpace, network: Model, items: Sequence[int], t: int, settings: dict[str, Any]
) -> Latents:
    from bridgepipe.methods.boundary_latents import generate

    noise = network.noise(settings["seed"], "boundary sample", items)
    start = noise.normal(network.diffusion.shape)
    return generate(h_space, network.process, start, t, settings["generate"], settings["variant"])


@groups.boundary.verb()
def judge(config: Config, train: File, output: File, run: Alone = Alone()) -> None:
    """Train a small classifier of the attribute on images: it judges edits where nothing else can."""
    from bridgepipe.evaluation import classifier
    from bridgepipe.finished import kept
    from bridgepipe.store import ImageStore
    from bridgepipe.subset import Subset

    speed = run.start()
    settings, images = read_settings(config), ImageStore(train)
    values, cut = values_and_cut(images, settings)
    items = chosen(images, values, cut, settings, None)
    recipe = {key: settings[key] for key in ("steps", "batch_size", "lr", "seed")}
    having = (values[items] > cut).astype("int64")
    with kept(output, {"config": settings, "data": images.digest}, speed):
        trained = classifier.train_classifier(Subset(images, items), having, **recipe, classes=SIDES)
    trained.save(output, {"config": settings, "data": images.digest})


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
    speed, settings = run.start(), read_settings(config)
    import numpy as np

    from bridgepipe import lineage, running, tables
    from bridgepipe.evaluation import edits, protocol
    from bridgepipe.evaluation.features import check_fits, describe
    from bridgepipe.finished import kept
    from bridgepipe.store import ImageStore
    from bridgepipe.subset import Subset

    features = load_extractor(extractor, speed)
    paths = (edited, train, control, plain, data)
    store, real, unmoved, undone, source = (ImageStore(path) for path in paths)
    lineage.made_together(store, unmoved, undone)
    lineage.made_from(store, source, "source images")
    check_fits(features, real)
    known = load_judge(settings, classifier, real, speed)
    made = store.card["made_by"]
    _same_attribute(settings, made["settings"]["attribute"], edited)
    values, cut = values_and_cut(real, {**settings, "threshold": made["cut"]})
    strips, seed = open_strips(store, unmoved, undone, source), settings["seed"]
    judge = _judge_of_the_edit(settings, real, known, values, cut)
    named = None if settings["classifier"] is None else known
    sides = {"with": Subset(real, np.flatnonzero(values > cut))}
    sides["without"] = Subset(real, np.flatnonzero(values <= cut))
    identity = {"settings": settings, "extractor": describe(features), "judge": known.digest}
    identity |= {"images": [s.digest for s in (store, unmoved, undone, source, real)]}
    with kept(output, identity, speed):
        found, rows = edits.measure(strips, judge, _keepers(settings, real, known), named, seed)
        found |= edits.distances_to_real(strips, judge, found["best_distance"], sides, features, seed)
    if not running.is_main():
        return
    artifacts.write_text(csv, tables.table(rows).to_csv(index=False, float_format="%.6g"))
    shared = protocol.protocol(
        "edits that the judge calls flipped against the same noise without a move, of those that can flip",
        n=len(strips.images) // 2,
        settings=settings,
        inputs={"data": source, "train": real, "classifier": known, "extractor": features.digest},
        extractor=describe(features),
        quantisation=lineage.quantisation(store),
        judge=judge.name,
        cut=made["cut"],
        source=made["source"],
        items=artifacts.digest_of(undone.array("item").tolist()) if strips.originals is not None else None,
        distances=strips.distances.tolist(),
        best_distance={
            "chosen on": len(strips.images) - len(strips.images) // 2,
            "balanced over": "sides of the judge" if strips.kinds is None else "classes",
            "seed": seed,
        },
    )
    made_with = {key: made[key] for key in ("settings", "model", "data", "boundaries")}
    artifacts.write_json(output, {**protocol.metric(found, shared, made_with), "curve": rows})


def open_strips(edited: ImageStore, control: ImageStore, plain: ImageStore, data: ImageStore) -> Strips:
    import numpy as np

    from bridgepipe.evaluation.edits import Strips

    def read(store: ImageStore, items: Iterable[int] | None = None) -> np.ndarray:
        return np.stack([store[int(i)] for i in (range(len(store)) if items is None else items)])

    n, images = len(plain), read(edited)
    distances = edited.array("distance")[: len(edited) // n]
    originals = kinds = None
    if "item" in plain.card["arrays"]:
        items = plain.array("item")
        originals, kinds = read(data, items), None if data.labels is None else data.labels[items]
    strips = images.reshape(n, len(distances), *images.shape[1:])
    return Strips(strips, distances, read(control), read(plain), originals, kinds)


def load_judge(settings: dict[str, Any], weights: Path, real: ImageStore, speed: Any) -> Any:
    """What knows the classes of the images, or a classifier of the attribute that was trained on them.

    Raises:
        UserError: it knows other classes, or judges another attribute, or was trained on other images.
    """
    from bridgepipe import running
    from bridgepipe.evaluation.accuracy import classes_of
    from bridgepipe.evaluation.features import load_extractor

    kind = "classifier" if weights.suffix == ".safetensors" else "resnet50"
    known: Any = load_extractor(kind, weights, device=running.accelerator(speed.device).device)
    if settings["classifier"] is not None:
        numbers_in(classes_of(known), real.classes, known.name, real.path)
        return known
    if sorted(classes_of(known)) != sorted(SIDES):
        what = f"a classifier of {brief(known.classes)}, no judge of an attribute"
        raise UserError(what, weights, "train the judge of this experiment")
    told = known.card.get("config", settings)
    for key in ("attribute", "against"):
        if told[key] != settings[key]:
            what = f"a judge of the {key} {told[key]}, the configuration says {settings[key]}"
            raise UserError(what, weights, "train the judge of this experiment")
    if known.card.get("data", real.digest) != real.digest:
        raise UserError("the judge was trained on other images", weights, f"train it on {real.path}")
    return known


def _judge(
    settings: dict[str, Any], real: ImageStore, known: Any, values: np.ndarray, cut: float
) -> Judge | None:
    """What tells the attribute of an edited image: a measure, the classes, or a classifier of its own.

    None for an attribute that only classes tell, where no classifier of them is configured.

    Raises:
        UserError: the classifier knows the classes, and the attribute does not follow from them.
    """
    import numpy as np

    from bridgepipe.datasets import attributes
    from bridgepipe.evaluation.edits import ByClass, Measured

    name = settings["attribute"]
    if name in attributes.MEASURES and name in attributes.names(real):
        # stored values may be those of images of another size: cut where as many lie below
        measure = attributes.MEASURES[name]
        found = [measure(real[i]) for i in range(len(real))]
        return Measured(measure, float(np.quantile(found, (values <= cut).mean())), f"{name}, measured")
    if settings["classifier"] is None:
        return None
    has = attributes.with_it(known.classes, name)
    if has is None:
        mend = "set it to null, so that a judge is trained"
        raise UserError(f"the classes don't tell {name}", "evaluate.classifier", mend)
    against = attributes.with_it(known.classes, settings["against"] or "")
    here = np.isin(known.classes, real.classes or [])
    return ByClass(
        known, has & here, (~has if against is None else against) & here, "classifier of the classes"
    )


def _judge_of_the_edit(
    settings: dict[str, Any], real: ImageStore, known: Any, values: np.ndarray, cut: float
) -> Judge:
    """The judge of the edited attribute: `_judge`, or the classifier that was trained for it."""
    import numpy as np

    from bridgepipe.evaluation.edits import ByClass

    if (found := _judge(settings, real, known, values, cut)) is not None:
        return found
    lacks, has = (np.array(known.classes) == side for side in SIDES)
    return ByClass(known, has, lacks, "classifier of the attribute")


def _keepers(settings: dict[str, Any], real: ImageStore, known: Any) -> dict[str, Judge]:
    """Judges of the other attributes that edits should keep; those that nothing tells are left out."""
    found = {}
    for name in settings["kept"]:
        other = {**settings, "attribute": name, "against": None, "threshold": None}
        if (judge := _judge(other, real, known, *values_and_cut(real, other))) is not None:
            found[name] = judge
    return found
