"""Restoration of a part of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridgepipe.config.i2sb import RestorationSampling, Sample
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import lineage, subset
from bridgepipe.data.lineage import open_sources
from bridgepipe.data.parts import Part
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.methods.i2sb import Restored, Restorer
from bridgepipe.methods.trained import Trained, load_restorer
from bridgepipe.names import QUANTISATION, Json
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable


@dataclass(frozen=True)
class Split:
    """A split, and the trained bridge that restores it.

    Attributes:
        clean: clean images.
        degraded: degraded halves of pairs; None where the images are degraded here.
    """

    clean: ImageStore
    degraded: ImageStore | None
    restorer: Restorer

    @classmethod
    def open(
        cls, trained: Trained, settings: RestorationSampling, data: Path, sources: Path | None, speed: Runtime
    ) -> Split:
        images = ImageStore(data)
        restorer = load_restorer(trained, settings, images.image_size, speed)
        return cls(images, open_sources(sources, images), restorer)

    def restore(self, items: Sequence[int], how: Sample) -> Restored:
        """Degrade a batch of the images, by their indices, and restore it."""
        return self.restorer.restore(self.clean, items, how, self.degraded)

    @property
    def identity(self) -> Json:
        """Digests of what a restoration depends on besides its settings."""
        sources = self.degraded and self.degraded.digest
        return {"model": self.restorer.digest, "data": self.clean.digest, "sources": sources}


def sample(
    settings: RestorationSampling,
    trained: Trained,
    data: Path,
    restored: Path,
    corrupted: Path,
    part: Part,
    sources: Path | None,
    speed: Runtime,
) -> None:
    """Corrupt and restore one part of a split."""
    split, how = Split.open(trained, settings, data, sources, speed), settings.sample
    images = split.clean
    chosen = subset.choose_from(images, how.count)
    rows = part.of(len(chosen))
    items = chosen[rows.start : rows.stop]
    made_by = {"settings": settings.as_json(), "model": split.restorer.digest, "data": images.digest}
    made_by |= {"origin": lineage.origin(images), "subset": subset.describe(len(chosen), len(images))}
    made_by["quantisation"] = QUANTISATION[settings.variant]

    def restore(piece: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        found = split.restore(piece, how)
        return found.image, found.corrupted

    identity = {**made_by, **split.identity, "part": items.tolist()}
    with resumable(restored, identity, speed):
        results = running.shared(restore, items.tolist(), speed.batch_size, "restoring")
        if not running.is_main():
            running.exhaust(results)
            return
        of_part: Json = {"classes": images.classes, "first": rows.start}
        with (
            writer(restored, {"images": "restored", **made_by}, **of_part) as out,
            writer(corrupted, {"images": "corrupted", **made_by}, **of_part) as seen,
        ):
            for batch in results:
                for image, degraded in zip(*batch, strict=True):
                    out.put(image)
                    seen.put(degraded)
            for store in (out, seen):
                store.set_array(subset.ITEM, items)
                if images.labels is not None:
                    store.set_labels(images.labels[items])
