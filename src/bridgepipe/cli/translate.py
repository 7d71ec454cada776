"""Verbs of image translation: classes of images, the way back, and folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe import config as configuration
from bridgepipe.cli import groups
from bridgepipe.cli.options import Config, File, Part, Shared, Trained
from bridgepipe.config.ddib import BetweenClasses, ClassCycle, ClassSampling, TranslateImages
from bridgepipe.config.stage_files import read_stage
from bridgepipe.errors import UserError
from bridgepipe.methods.trained import load_model
from bridgepipe.names import QUANTISATION
from bridgepipe.names.classes import Label, name_of, number_of, numbers_in

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from bridgepipe.data.store import ImageStore
    from bridgepipe.methods.ddib import Start, Translator
    from bridgepipe.methods.gaussian import Model

ModelFolder = Annotated[Path, typer.Option(help="results folder of a trained model", show_default=False)]
OtherModel = Annotated[Path | None, typer.Option(help="that of the target; default: the source's model")]
GuideFolder = Annotated[Path | None, typer.Option(help="results folder of a trained guide")]


@groups.stage.verb()
def translate_classes(
    config: Config,
    source_model: ModelFolder,
    data: File,
    translated: File,
    latents: File,
    states: File,
    target_model: OtherModel = None,
    guide: GuideFolder = None,
    part: Part = Part(),
    run: Shared = Shared(),
) -> None:
    """Translate one part of the images of a class; keep the latents, and what the way back starts from."""
    speed = run.start()
    from bridgepipe.data.store import ImageStore, writer
    from bridgepipe.data.subset import items_of_class
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    settings, images = read_stage(config, ClassSampling), ImageStore(data).of_images()
    classes, folders = (settings.source, settings.target), (source_model, target_model, guide)
    translator = load_translator(classes, settings.sample, *folders, speed)
    source = class_of(settings.source, translator.source, images)
    chosen = items_of_class(images, source, settings.sample.count)
    rows = part.of(len(chosen))
    items = chosen[rows.start : rows.stop]
    made_by = _made_by(settings, translator, images)
    work = partial(_translated, translator, images)
    with kept(translated, {**made_by, "items": items}, speed):
        batches = running.shared(work, items, translator.batch_size, "translation")
        if not running.is_main():
            running.exhaust(batches)
            return
        with (
            writer(translated, {"images": "translations", **made_by}, first=rows.start) as out,
            writer(latents, {"images": "latents", **made_by}, first=rows.start) as up,
            writer(states, {"images": "states", **made_by}, first=rows.start) as down,
        ):
            names = iter(_names(settings, images, items))
            for calls, pictures, *ends in batches:
                made_by["settings"]["sample"]["nfe"] = calls
                for image in pictures:
                    out.put(image, next(names))
                for store, end in zip((up, down), ends, strict=True):
                    for state in end:
                        store.put(state)
            out.set_array("item", items)


def _translated(
    translator: Translator, images: ImageStore, items: Sequence[int]
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Calls, translations as uint8, and the states of latents and of translations, of a batch."""
    from bridgepipe.data.pixels import to_uint8
    from bridgepipe.methods.ddib import states_of

    done = translator.translate(images.batch(items))
    image = to_uint8(done.target.x, translator.how.variant)
    return done.calls, image, states_of(done.latent), states_of(done.target)


@groups.stage.verb()
def translate_back(
    config: Config,
    source_model: ModelFolder,
    data: File,
    translated: File,
    states: File,
    output: File,
    target_model: OtherModel = None,
    guide: GuideFolder = None,
    part: Part = Part(),
    run: Shared = Shared(),
) -> None:
    """Take translations back: from obelm's pair of states, from the image alone, from its 8 bits alone.

    The store holds the images of the first of these that there is, and the distance of each to its source.
    """
    speed = run.start()
    import numpy as np

    from bridgepipe.data import lineage
    from bridgepipe.data.pixels import to_uint8
    from bridgepipe.data.store import ImageStore, writer
    from bridgepipe.data.subset import choose
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    settings, images = read_stage(config, ClassCycle), ImageStore(data).of_images()
    seen, begun = ImageStore(translated), ImageStore(states)
    lineage.made_together(seen, begun)
    lineage.made_from(seen, images, "source images")
    classes, folders = (settings.source, settings.target), (source_model, target_model, guide)
    translator = load_translator(classes, settings.sample, *folders, speed)
    _same_models(seen, translator)
    sources = seen.array("item")
    chosen = choose(settings.count, len(seen), None if images.labels is None else images.labels[sources])
    rows = part.of(len(chosen))
    items = chosen[rows.start : rows.stop].tolist()
    starts, made_by = _starts(seen, begun), {**seen.card["made_by"], "images": "the way back"}

    def returned(name: str, start: Start) -> Iterator[Tensor]:
        def work(piece: Sequence[int]) -> Tensor:
            return translator.inverse(start(piece)).target.x.cpu()

        return running.shared(work, items, translator.batch_size, f"the way back from the {name}")

    identity = {**made_by, "cycle": settings.as_json(), "part": items, "states": [seen.digest, begun.digest]}
    with kept(output, identity, speed):
        ways = {name: returned(name, start) for name, start in starts.items()}
        if not running.is_main():
            running.exhaust(chain.from_iterable(ways.values()))
            return
        with writer(output, made_by, first=rows.start) as out:
            for name, batches in ways.items():
                distances = []
                for x, source in _beside(batches, images, sources[items]):
                    distances += (x - source).flatten(1).norm(dim=1).tolist()
                    for image in to_uint8(x, translator.how.variant) if name == next(iter(starts)) else ():
                        out.put(image)
                out.set_array(f"l2_{name}", np.asarray(distances))
            out.set_array("item", np.asarray(items))


def _beside(
    batches: Iterator[Tensor], images: ImageStore, items: np.ndarray
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every batch with the images of the store that stand in its place, float32 in [-1, 1]."""
    done = 0
    for x in batches:
        yield x, images.batch(items[done : done + len(x)])
        done += len(x)


def _starts(seen: ImageStore, kept: ImageStore) -> dict[str, Start]:
    """What the way back starts from: the pair if there is one, the float image, the 8-bit image."""
    import numpy as np
    import torch

    from bridgepipe.methods import ddib

    def states(piece: Sequence[int]) -> np.ndarray:
        return np.stack([kept[k] for k in piece])

    alone: dict[str, Start] = {
        "image": lambda piece: torch.from_numpy(states(piece)[:, 0]).float(),
        "uint8": seen.batch,
    }
    pairs = len(kept) > 0 and len(kept[0]) == 2
    return {"pair": lambda piece: ddib.restart(states(piece)), **alone} if pairs else alone


def load_translator(
    ends: tuple[Label, Label],
    how: TranslateImages,
    source: Path,
    target: Path | None,
    guide: Path | None,
    speed: configuration.Runtime,
) -> Translator:
    """The models at work, and the classes as they number them."""
    from bridgepipe.methods.ddib import Translator

    target = target or source
    a = _load(source, speed)
    b = a if target == source else _load(target, speed)
    labels = tuple(
        None if model.classes is None else number_of(label, model.class_names)
        for label, model in zip(ends, (a, b), strict=True)
    )
    for side, model, label in (("source", a, labels[0]), ("target", b, labels[1])):
        _told(side, model, label)
    classifier = None if guide is None else _load(guide, speed, guide=True)
    up = guided_class(ends[0] if how.scale_encode else None, a, classifier)
    down = guided_class(ends[1] if how.scale_decode else None, b, classifier)
    return Translator(a, b, (labels[0], labels[1]), how, classifier, (up, down))


def _told(side: str, model: Model, label: int | None) -> None:
    """Refuse to leave out the class that a model was always told in training."""
    if model.classes is not None and model.null is None and label is None:
        names = ", ".join(model.class_names or map(str, range(model.classes)))
        what = f"the {side} model is conditional: it needs a class"
        raise UserError(what, "translation", f"give one of: {names[:200]}")


def guided_class(label: Label, model: Model, guide: Model | None) -> int | None:
    """Number that the guide gives to the class of a model: the same name, not the same number.

    Raises:
        UserError: the guide has no such class.
    """
    if guide is None or label is None:
        return None
    name = name_of(label, model.class_names)
    if model.class_names is None:
        return number_of(name, guide.class_names, "guide")
    if guide.class_names is None:
        mend = "train or import it again, which records them"
        raise UserError("the guide does not name its classes, the model does", "guide", mend)
    return numbers_in(guide.class_names, [str(name)], "guide", "translation")[0]


def class_of(label: Label, model: Model, images: ImageStore) -> str | None:
    """Name of a class: in the list of the model, or of the images where the model is told none."""
    return name_of(label, model.class_names or images.classes)


def _load(folder: Path, speed: configuration.Runtime, guide: bool = False) -> Model:
    return load_model(Trained.within(folder), speed, guide)


def _same_models(made: ImageStore, translator: Translator) -> None:
    """Refuse to take translations back by other models than those that made them."""
    made_by, now = made.card["made_by"], _models(translator)
    for key, digest in now.items():
        if made_by[key] != digest:
            mend = "give the models that made the translations, or translate again"
            raise UserError(f"the translations are of another {key.replace('_', ' ')}", made.path, mend)


def _names(settings: BetweenClasses, images: ImageStore, items: Sequence[int]) -> list[str]:
    """``source-to-target/image`` of every item."""
    ends, names = f"{settings.source}-to-{settings.target}", images.names
    return [f"{ends}/{names[i] if names else f'{i:08d}'}" for i in items]


def _made_by(settings: BetweenClasses, translator: Translator, images: ImageStore) -> dict[str, Any]:
    from bridgepipe.data import lineage

    return {
        "settings": {**settings.as_json(), "dataset": images.path.parent.name},
        **_models(translator),
        "target_class": name_of(settings.target, translator.target.class_names),
        "target_label": translator.labels[1],
        "data": images.digest,
        "origin": lineage.origin(images),
        "quantisation": QUANTISATION[translator.how.variant],
    }


def _models(translator: Translator) -> dict[str, str | None]:
    guide = None if translator.guide is None else translator.guide.digest
    return {"model": translator.source.digest, "target_model": translator.target.digest, "guide": guide}
