"""From a folder of JPEG files to a store."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.data import jpeg_files
from benchmarks.measure import Result, compare
from bridgepipe.datasets import folder
from bridgepipe.datasets.images import Decode, fit

COUNT, SIDE = 200, 64


def folder_against_pillow() -> Iterator[Result]:
    """Processor time of one core.

    Both decode and resize by the same code, nine tenths of the time of small files; of large ones copies take
    much of it, which ours does not make.
    """
    for width, height, count in ((500, 375, COUNT), (1920, 1280, COUNT // 8)):
        with tempfile.TemporaryDirectory() as place, _cores(1):
            source = _folder(Path(place), count, (width, height))
            yield compare(
                f"prepare {count} JPEG files of {width}x{height} at {SIDE}x{SIDE}, one core",
                lambda source=source: _prepare(source),
                "Pillow and one file of pixels for each",
                lambda source=source: _by_pillow(source),
                clock=time.process_time,
            )


def draft_against_pillow() -> Iterator[Result]:
    """The same with `decode: draft`, for files as large as those of ImageNet and of cameras."""
    for width, height, count in ((500, 375, COUNT), (1920, 1280, COUNT // 8), (4000, 3000, COUNT // 25)):
        with tempfile.TemporaryDirectory() as place, _cores(1):
            source = _folder(Path(place), count, (width, height))
            yield compare(
                f"prepare {count} JPEG files of {width}x{height} at {SIDE}x{SIDE}, decode: draft, one core",
                lambda source=source: _prepare(source, decode="draft"),
                "Pillow and one file of pixels for each",
                lambda source=source: _by_pillow(source),
                clock=time.process_time,
            )


def all_cores_against_one() -> Result:
    with tempfile.TemporaryDirectory() as place:
        source, cores = _folder(Path(place)), len(os.sched_getaffinity(0))

        def with_one() -> None:
            with _cores(1):
                _prepare(source)

        what = f"prepare {COUNT} JPEG files of 500x375 on {cores} cores"
        return compare(what, lambda: _prepare(source), "on one core", with_one)


def _folder(place: Path, count: int = COUNT, size: tuple[int, int] = (500, 375)) -> Path:
    source = place / "files"
    source.mkdir()
    for number, file in enumerate(jpeg_files(count)):
        path = source / f"{number:04}.jpg"
        path.write_bytes(file)
        if size != (500, 375):
            Image.open(path).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return source


def _prepare(source: Path, decode: Decode = "exact") -> None:
    out = source.parent / "stores"
    folder.prepare(out, path=source, size=SIDE, decode=decode, fractions={"train": 1.0}, progress=False)


def _by_pillow(source: Path) -> None:
    out = source.parent / "pixels"
    out.mkdir(exist_ok=True)
    for file in sorted(source.iterdir()):
        with Image.open(file) as image:
            np.save(out / f"{file.stem}.npy", fit(image.convert("RGB"), SIDE))


@contextmanager
def _cores(count: int) -> Iterator[None]:
    """Some of the cores only."""
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_of_them)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)
