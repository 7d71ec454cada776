"""Translation between classes of images, and the way back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bridgepipe.config.ddib import BetweenClasses, ClassCycle, ClassSampling
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import lineage
from bridgepipe.data.parts import Part
from bridgepipe.data.pixels import to_uint8
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.data.subset import choose, items_of_class
from bridgepipe.errors import UserError
from bridgepipe.methods import ddib
from bridgepipe.methods.ddib import Start, Translator, states_of
from bridgepipe.methods.translators import Models, class_of, load_models, load_translator, translator_of
from bridgepipe.names import QUANTISATION, Json
from bridgepipe.names.classes import name_of
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable


@dataclass(frozen=True)
class Stores:
    """What a translation leaves: its images, its latents, and what the way back starts from."""

    translated: Path
    latents: Path
    states: Path


def translate_classes(
    every: Sequence[tuple[ClassSampling, Stores]],
    source_model: Path,
    data: Path,
    target_model: Path | None,
    guide: Path | None,
    part: Part,
    speed: Runtime,
) -> None:
    """Translate one part of the images of a class, for each of several pairs of classes in turn.

    The models are loaded once. What is finished of any pair is kept until all of them are.

    Args:
        every: the settings of each pair, and its stores.
    """
    images = ImageStore(data).of_images()
    models = load_models(every[0][0].sample, source_model, target_model, guide, speed)
    pairs = [_Pair.of(settings, stores, models, images, part) for settings, stores in every]
    with resumable(pairs[0].stores.translated, {"pairs": [pair.identity for pair in pairs]}, speed):
        for pair in pairs:
            pair.translate(images)


@dataclass(frozen=True)
class _Pair:
    """Two classes, and the part of the images of the first that is translated to the second.

    Attributes:
        items: numbers of the images.
        first: place of the first of them among all that are translated.
    """

    settings: ClassSampling
    stores: Stores
    translator: Translator
    made_by: Json
    items: Sequence[int]
    first: int

    @classmethod
    def of(
        cls, settings: ClassSampling, stores: Stores, models: Models, images: ImageStore, part: Part
    ) -> _Pair:
        translator = translator_of((settings.source, settings.target), settings.sample, models)
        source = class_of(settings.source, translator.source, images)
        chosen = items_of_class(images, source, settings.sample.count)
        rows = part.of(len(chosen))
        items, made_by = chosen[rows.start : rows.stop], _made_by(settings, translator, images)
        return cls(settings, stores, translator, made_by, items, rows.start)

    @property
    def identity(self) -> Json:
        return {**self.made_by, "items": self.items}

    def translate(self, images: ImageStore) -> None:
        """Write the stores."""
        work = partial(_translated, self.translator, images)
        batches = running.shared(work, self.items, self.translator.batch_size, "translation")
        if not running.is_main():
            running.exhaust(batches)
            return
        made_by, first = self.made_by, self.first
        with (
            writer(self.stores.translated, {"images": "translations", **made_by}, first=first) as out,
            writer(self.stores.latents, {"images": "latents", **made_by}, first=first) as up,
            writer(self.stores.states, {"images": "states", **made_by}, first=first) as down,
        ):
            names = iter(_names(self.settings, images, self.items))
            for calls, pictures, *ends in batches:
                made_by["settings"]["sample"]["nfe"] = calls
                for image in pictures:
                    out.put(image, next(names))
                for store, end in zip((up, down), ends, strict=True):
                    for state in end:
                        store.put(state)
            out.set_array("item", self.items)


def _translated(
    translator: Translator, images: ImageStore, items: Sequence[int]
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Calls, translations as uint8, and the states of latents and of translations, of a batch."""
    done = translator.translate(images.batch(items), items)
    image = to_uint8(done.target.x, translator.how.variant)
    return done.calls, image, states_of(done.latent), states_of(done.target)


def translate_back(
    settings: ClassCycle,
    source_model: Path,
    data: Path,
    translated: Path,
    states: Path,
    output: Path,
    target_model: Path | None,
    guide: Path | None,
    part: Part,
    speed: Runtime,
) -> None:
    """Take translations back: from obelm's pair of states, from the image alone, from its 8 bits alone.

    The store holds the images of the first of these that there is, and the distance of each to its source.
    """
    images = ImageStore(data).of_images()
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
    with resumable(output, identity, speed):
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


def _starts(seen: ImageStore, stored: ImageStore) -> dict[str, Start]:
    """What the way back starts from: the pair if there is one, the float image, the 8-bit image."""

    def states(piece: Sequence[int]) -> np.ndarray:
        return np.stack([stored[k] for k in piece])

    alone: dict[str, Start] = {
        "image": lambda piece: torch.from_numpy(states(piece)[:, 0]).float(),
        "uint8": seen.batch,
    }
    pairs = len(stored) > 0 and len(stored[0]) == 2
    return {"pair": lambda piece: ddib.restart(states(piece)), **alone} if pairs else alone


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


def _made_by(settings: BetweenClasses, translator: Translator, images: ImageStore) -> Json:
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
