"""Verbs that draw: one picture each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone, Config, File, Sources, Trained
from bridgepipe.config.i2sb import RestorationSampling
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data.lineage import open_sources
from bridgepipe.methods.trained import load_restorer

if TYPE_CHECKING:
    import numpy as np

ROWS = 8
EDITED_ROWS = 10  # of strips
PICTURES = 4  # along the sampling path


@groups.figure.verb()
def grid(restored: File, corrupted: File, originals: File, output: File, title: str = "") -> None:
    """Original, corrupted and restored images with the PSNR of each."""
    import numpy as np

    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import choose_from, items_of
    from bridgepipe.evaluation.restoration import quality
    from bridgepipe.figures import images as figures

    stores = {
        "original": ImageStore(originals),
        "corrupted": ImageStore(corrupted),
        "restored": ImageStore(restored),
    }
    lineage.made_together(stores["restored"], stores["corrupted"])
    lineage.made_from(stores["restored"], stores["original"], "originals")
    shown = choose_from(stores["restored"], ROWS)
    rows = dict.fromkeys(stores, shown) | {"original": items_of(stores["restored"])[shown]}
    columns = {name: np.stack([s[int(i)] for i in rows[name]]) for name, s in stores.items()}
    psnr = {name: quality(columns[name], columns["original"]).psnr for name in ("corrupted", "restored")}
    figures.comparison_grid(output, columns, psnr, title)


@groups.figure.verb()
def samples(images: File, output: File, title: str = "", count: int = 64) -> None:
    """Samples side by side."""
    import numpy as np

    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import choose_from
    from bridgepipe.figures import images as figures

    store = ImageStore(images).of_images()
    shown = np.stack([store[int(i)] for i in choose_from(store, count)])
    figures.sample_grid(output, shown, title=title)


@groups.figure.verb()
def path(
    config: Config,
    trained: Trained,
    data: File,
    output: File,
    title: str = "",
    sources: Sources = None,
    run: Alone = Alone(),
) -> None:
    """States of the bridge and predictions of the clean image along the sampling path."""
    import numpy as np

    from bridgepipe.data.store import ImageStore
    from bridgepipe.data.subset import choose_from
    from bridgepipe.figures import images as figures
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import kept

    speed = run.start()
    settings, images = read_stage(config, RestorationSampling), ImageStore(data)
    how = settings.sample
    restorer = load_restorer(trained, settings, images.image_size, speed)
    items = choose_from(images, PICTURES).tolist()
    source = open_sources(sources, images)

    def work(share: Sequence[int]) -> tuple[np.ndarray, ...]:
        r = restorer.restore(images, share, how, source)
        return r.corrupted, r.states, r.predictions, np.tile(r.steps, (len(share), 1))

    identity = {"settings": settings.as_json(), "model": restorer.digest, "data": images.digest}
    with kept(output, {**identity, "items": items, "sources": source and source.digest}, speed):
        rows = running.shared(work, items, restorer.batch_size, "drawing the path")
        corrupted, states, predictions, steps = (np.concatenate(column) for column in zip(*rows, strict=True))
        figures.path_grid(output, corrupted, states, predictions, tuple(steps[0].tolist()), title)


@groups.figure.verb()
def loss(csv: Path = typer.Option(...), output: Path = typer.Option(...), title: str = "") -> None:
    """Training loss against the step."""
    from bridgepipe.evaluation import tables
    from bridgepipe.figures import images as figures

    rows = tables.read_csv(csv, "step", "loss")
    figures.loss_curve(output, rows["step"].to_numpy(), rows["loss"].to_numpy(), title)


@groups.boundary.verb()
def figure_strip(edited: File, control: File, plain: File, data: File, output: File, title: str = "") -> None:
    """Some images, as they are decoded with the same noise and no move, and edited at every distance."""
    from bridgepipe.cli.boundary_edits import edits_and_data
    from bridgepipe.data.subset import choose
    from bridgepipe.evaluation.judges import open_strips
    from bridgepipe.figures import boundary as figures_boundary

    strips = open_strips(*edits_and_data(edited, control, plain, data))
    shown = choose(EDITED_ROWS, len(strips.control), strips.kinds)
    beside = {} if strips.originals is None else {"image": strips.originals[shown]}
    beside |= {"no move": strips.control[shown]}
    figures_boundary.strip_grid(output, strips.images[shown], strips.distances.tolist(), beside, title)


@groups.boundary.verb()
def figure_flips(
    csv: Path = typer.Option(...),
    metric: Path = typer.Option(...),
    output: Path = typer.Option(...),
    title: str = "",
) -> None:
    """What edits flip and keep against the distance."""
    from bridgepipe.evaluation import tables
    from bridgepipe.figures import boundary as figures_boundary

    best = artifacts.read_object(metric)["values"]["best_distance"]
    figures_boundary.flips_against_distance(output, tables.read_csv(csv, "distance"), best, title)
