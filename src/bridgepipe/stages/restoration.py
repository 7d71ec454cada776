"""Restoration of a part of a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bridgepipe.config.i2sb import RestorationSampling
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import lineage, subset
from bridgepipe.data.lineage import open_sources
from bridgepipe.data.parts import Part
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.methods.trained import Trained, load_restorer
from bridgepipe.names import QUANTISATION, Json
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable


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
    images = ImageStore(data)
    how = settings.sample
    restorer = load_restorer(trained, settings, images.image_size, speed)
    chosen = subset.choose_from(images, how.count)
    rows = part.of(len(chosen))
    items = chosen[rows.start : rows.stop]
    made_by = {"settings": settings.as_json(), "model": restorer.digest, "data": images.digest}
    made_by |= {"origin": lineage.origin(images), "subset": subset.describe(len(chosen), len(images))}
    made_by["quantisation"] = QUANTISATION[settings.variant]
    source = open_sources(sources, images)

    def restore(piece: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        found = restorer.restore(images, piece, how, source)
        return found.image, found.corrupted

    identity = {**made_by, "part": items.tolist(), "sources": source and source.digest}
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
