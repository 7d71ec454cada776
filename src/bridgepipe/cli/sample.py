"""The verb of the sampling stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bridgepipe.cli import groups
from bridgepipe.cli.common import load_restorer, open_sources, problem_of, sampling_of
from bridgepipe.cli.options import Config, File, Part, Shared, Sources, Trained
from bridgepipe.cli.settings import read_settings
from bridgepipe.names import QUANTISATION

if TYPE_CHECKING:
    import numpy as np


@groups.stage.verb()
def sample(
    config: Config,
    trained: Trained,
    data: File,
    restored: File,
    corrupted: File,
    part: Part = Part(),
    sources: Sources = None,
    run: Shared = Shared(),
) -> None:
    """Corrupt and restore one part of a split."""
    speed = run.start()
    from bridgepipe import lineage, running, subset
    from bridgepipe.finished import kept
    from bridgepipe.store import ImageStore, writer

    settings, images = read_settings(config), ImageStore(data)
    how = sampling_of(settings["sample"])
    restorer = load_restorer(trained, problem_of(settings, images.image_size), speed)
    chosen = subset.choose_from(images, settings["sample"]["count"])
    rows = part.of(len(chosen))
    items = chosen[rows.start : rows.stop]
    made_by = {"settings": settings, "model": restorer.digest, "data": images.digest}
    made_by |= {"origin": lineage.origin(images), "subset": subset.describe(len(chosen), len(images))}
    made_by["quantisation"] = QUANTISATION[restorer.problem.variant]
    source = open_sources(sources, images)

    def restore(piece: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        found = restorer.restore(images, piece, how, source)
        return found.image, found.corrupted

    identity = {**made_by, "part": items.tolist(), "sources": source and source.digest}
    with kept(restored, identity, speed):
        results = running.shared(restore, items.tolist(), speed.batch_size, "restoring")
        if not running.is_main():
            running.exhaust(results)
            return
        of_part: dict[str, Any] = {"classes": images.classes, "first": rows.start}
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
