"""Pictures of what stages made: one each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bridgepipe.config.i2sb import RestorationSampling
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import lineage
from bridgepipe.data.pixels import to_uint8
from bridgepipe.data.store import ImageStore
from bridgepipe.data.subset import choose, choose_from, items_of
from bridgepipe.evaluation import restoration
from bridgepipe.evaluation.judges import open_strips
from bridgepipe.figures import boundary as figures_boundary
from bridgepipe.figures import images as figures
from bridgepipe.methods.trained import Trained
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable
from bridgepipe.stages.edits import edits_and_data
from bridgepipe.stages.restoration import Split

ROWS = 8
EDITED_ROWS = 10  # of strips
PICTURES = 4  # along the sampling path


def grid(
    restored: Path,
    corrupted: Path,
    originals: Path,
    output: Path,
    title: str,
) -> None:
    """Original, corrupted and restored images with the PSNR of each."""
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
    psnr = {
        name: list(map(restoration.psnr, columns[name], columns["original"]))
        for name in ("corrupted", "restored")
    }
    figures.comparison_grid(output, columns, psnr, title)


def samples(
    images: Path,
    output: Path,
    title: str,
    count: int,
) -> None:
    """Samples side by side."""
    store = ImageStore(images).of_images()
    shown = np.stack([store[int(i)] for i in choose_from(store, count)])
    figures.sample_grid(output, shown, title=title)


def path(
    settings: RestorationSampling,
    trained: Trained,
    data: Path,
    output: Path,
    title: str,
    sources: Path | None,
    speed: Runtime,
) -> None:
    """States of the bridge and predictions of the clean image along the sampling path."""
    split = Split.open(trained, settings, data, sources, speed)
    items = choose_from(split.clean, PICTURES).tolist()

    def work(share: Sequence[int]) -> tuple[np.ndarray, ...]:
        r = split.restore(share, settings.sample)
        return r.corrupted, r.states, r.predictions, np.tile(r.steps, (len(share), 1))

    identity = {"settings": settings.as_json(), "items": items, **split.identity}
    with resumable(output, identity, speed):
        rows = running.shared(work, items, split.restorer.batch_size, "drawing the path")
        corrupted, states, predictions, steps = (np.concatenate(column) for column in zip(*rows, strict=True))
        figures.path_grid(output, corrupted, states, predictions, tuple(steps[0].tolist()), title)


def figure_strip(
    edited: Path,
    control: Path,
    plain: Path,
    data: Path,
    output: Path,
    title: str,
) -> None:
    """Some images, as they are decoded with the same noise and no move, and edited at every distance."""
    strips = open_strips(*edits_and_data(edited, control, plain, data))
    shown = choose(EDITED_ROWS, len(strips.control), strips.kinds)
    beside = {} if strips.originals is None else {"image": strips.originals[shown]}
    beside |= {"no move": strips.control[shown]}
    figures_boundary.strip_grid(output, strips.images[shown], strips.distances.tolist(), beside, title)


def translations(
    source: Path,
    latents: Path,
    translated: Path,
    back: Path,
    output: Path,
    title: str,
) -> None:
    """Source, latent, translation and the way back of some images."""
    images, noise, returned, store = (ImageStore(p) for p in (translated, latents, back, source))
    lineage.made_together(images, noise, returned)
    lineage.made_from(images, store, "source images")
    shown = choose(ROWS, len(returned))
    rows = items_of(returned)[shown]
    columns = {
        "source": np.stack([store[int(i)] for i in items_of(images)[rows]]),
        "latent": to_uint8(_first_states(noise, rows) / 3),
        "translation": np.stack([images[int(i)] for i in rows]),
        "back": np.stack([returned[int(i)] for i in shown]),
    }
    figures.comparison_grid(output, columns, None, title)


def _first_states(states: ImageStore, items: Iterable[int]) -> Any:
    """First state of every item, float32 ``[B, C, H, W]``."""
    return torch.from_numpy(np.stack([states[int(i)][0] for i in items])).float()
