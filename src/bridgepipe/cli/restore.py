"""Restoration: a part of a split, and a person's photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups, outputs
from bridgepipe.cli.common import load_restorer, open_sources
from bridgepipe.cli.options import Alone, Config, File, Part, Shared, Sources, Trained
from bridgepipe.config.i2sb import RestorationSampling
from bridgepipe.config.stage_files import read_stage
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

    settings, images = read_stage(config, RestorationSampling), ImageStore(data)
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


@groups.people.verb()
def restore(
    photos: Annotated[list[Path], typer.Argument(help="corrupted photographs, of any size")],
    output: Annotated[Path, typer.Option(help="folder of the restored images")],
    experiment: Annotated[str, typer.Option(help="trained experiment, method/name")] = "i2sb/jpeg-5",
    results: File = Path("results"),
    run: Alone = Alone(),
) -> None:
    """Restore photographs with a trained experiment; they are taken as they are, nothing is corrupted."""

    from bridgepipe import running
    from bridgepipe.datasets import images
    from bridgepipe.finished import kept
    from bridgepipe.finite import naming

    photos = list(dict.fromkeys(photos))
    places = {photo: output / f"{photo.stem}.png" for photo in photos}
    outputs.check(places)
    speed, folder = run.start(), results / experiment
    settings = read_stage(folder / "config/sample.json", RestorationSampling)
    trained = Trained.within(folder)
    digests = []
    for photo in photos:  # all are tried before the first is restored
        images.read_photo(photo)
        digests.append(artifacts.digest_file(photo))

    def restored(piece: Sequence[Path]) -> np.ndarray:
        pixels = images.read_photo(piece[0])
        restorer = load_restorer(trained, settings, (pixels.shape[0], pixels.shape[1]), speed)
        with naming(str(piece[0])):
            return restorer.restore_photo(pixels, settings.sample)[None]

    model = artifacts.load_card(trained.model)[artifacts.CONTENT]
    identity = {"settings": settings.as_json(), "model": model}
    with kept(output / experiment.replace("/", "-"), {**identity, "photos": digests}, speed):
        batches = running.shared(restored, photos, 1, "restoring")
        for place, batch in zip(places.values(), batches, strict=True):
            images.write_png(place, batch[0], f"restored {experiment}")
            print(place)
        outputs.finish(places.values())
