"""Restoration of whole test photographs: a trained network beside that of this package."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, features

from bridgepipe.config.i2sb import RestorationSampling, Sample
from bridgepipe.config.runtime import Runtime
from bridgepipe.evaluation import photographs, tables
from bridgepipe.evaluation.photographs import DECODED, ORIGINAL, Restore
from bridgepipe.evaluation.restoration import psnr
from bridgepipe.figures import images as figures
from bridgepipe.methods.i2sb import Restorer
from bridgepipe.methods.trained import Trained, load_restorer
from bridgepipe.photographs.restoring import choose, start
from bridgepipe.photographs.samples import Photograph
from bridgepipe.photographs.samples import photographs as sample_photographs
from bridgepipe.runtime.finished import resumable

SHIPPED = "shipped"
SHOWN = 10  # JPEG quality of the picture
SIDE = 240  # pixels of its squares


def compare_photographs(
    settings: RestorationSampling,
    trained: Trained,
    csv: Path,
    markdown: Path,
    figure: Path,
    title: str,
    speed: Runtime,
) -> None:
    """Restore JPEG files of the test photographs, by a trained network and by that of this package."""
    ours = load_restorer(trained, settings, (256, 256), speed), settings.sample
    shipped = start(choose(None, Path("results"), None), speed)
    test = [photo for photo in sample_photographs() if photo.split == "test"]
    clean = {photo.name: _pixels(photo) for photo in test}
    networks = {title: _restore(*ours), SHIPPED: _restore(*shipped)}
    identity = {
        name: [one.digest, how.as_json()] for name, (one, how) in {title: ours, SHIPPED: shipped}.items()
    }
    with resumable(csv, {"networks": identity, "photographs": [photo.digest for photo in test]}, speed):
        compared = photographs.compare(clean, networks)
    notes = [*_notes(test), *_about({title: ours, SHIPPED: shipped})]
    tables.write_table(csv, markdown, compared.table(), notes)
    squares = compared.middles(SIDE, SHOWN, [photo.name for photo in test if photo.may_be_shown])
    truth = squares[photographs.ORIGINAL]
    quality = {made: list(map(psnr, truth, of)) for made, of in squares.items() if of is not truth}
    heading = f"JPEG files of quality {SHOWN}: the middle of test photographs"
    figures.comparison_grid(figure, squares, quality, heading)


def _pixels(photo: Photograph) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(photo.read())).convert("RGB"))


def _restore(restorer: Restorer, how: Sample) -> Restore:
    return lambda pixels: restorer.restore_photo(pixels, how)


def _notes(test: list[Photograph]) -> Iterator[str]:
    """How the table is read."""
    named = ", ".join(f"{photo.name} ({photo.licence}, {photo.author})" for photo in test)
    yield (
        f"The test split of the sample photographs, which are never trained on: {named}. They are"
        f" {len(test)}, too few for an interval: compare numbers of one row."
    )
    library = f"libjpeg-turbo {features.version_feature('libjpeg_turbo')}"
    yield (
        f"{DECODED}: the file (4:2:0, {library}) as its decoder shows it, which is what networks are given."
        " PSNR (dB) and SSIM (Gaussian window, no borders) are of the whole photograph in 8-bit RGB, against"
        f" the {ORIGINAL}."
    )


def _about(networks: dict[str, tuple[Restorer, Sample]]) -> Iterator[str]:
    for name, (restorer, how) in networks.items():
        weights = sum(p.numel() for p in restorer.network.parameters())
        yield f"{name}: {weights:,} weights ({restorer.digest[:12]}), nfe {how.nfe}"
