"""`python -m benchmarks.growth [--figure FILE] [--most N]`: time and memory of stages against images.

Every point is a process of its own on one core: its processor time, and the most memory that it held beyond
what it held before the work, without pages of files that the system lends. A stage is measured up to `--most`
images, or until a point takes a minute; the law ``seconds = a + b * images`` is fitted to its points and says
what a million images take. Prints the table of docs/speed.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pandas as pd
import torch

from bridgepipe.evaluation.tables import markdown, table

SAMPLED = 10_000  # images whose features are kept
COUNTS = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
MINUTE = 60.0
MILLION = 1_000_000
SIDE, FEATURES = 64, 2048
FILES = 50  # different ones; every other is a copy of one of them


def prepare(folder: Path, count: int) -> Callable[[], Any]:
    """JPEG files of 160x120 to a store of 64x64."""
    from benchmarks.data import jpeg_files
    from bridgepipe.datasets import folder as images

    source = folder / "files"
    source.mkdir()
    files = jpeg_files(FILES, 120, 160)
    for number in range(count):
        (source / f"{number:07}.jpg").write_bytes(files[number % FILES])
    return lambda: images.prepare(folder, path=source, size=SIDE, fractions={"train": 1.0}, progress=False)


def epoch(folder: Path, count: int) -> Callable[[], Any]:
    """An epoch of a training, without its network: batches of 64, flipped."""
    from benchmarks.data import _load

    images = _store(folder, count)

    def read() -> None:
        for start in range(0, count, 64):
            _load(images, range(start, min(start + 64, count)))

    return read


def gather(folder: Path, count: int) -> Callable[[], Any]:
    """The store of one part, copied into that of the whole with its checksums."""
    from bridgepipe.data import joining

    part = _store(folder, count).path
    return lambda: joining.gather([part], folder / "whole.lmdb", count, progress=False)


def moments(folder: Path, count: int) -> Callable[[], Any]:
    """Moments, sample and digest of features of 2048 numbers; the network that takes them is not counted."""
    from bridgepipe.evaluation.fid import statistics

    images = _store(folder, count)
    return lambda: statistics(Features(), images)


def distances(folder: Path, count: int) -> Callable[[], Any]:
    """FID and KID with their errors, precision and recall, of two sets of features of 2048 numbers.

    All but the moments are of at most 10,000 images, so more of them take no longer.
    """
    from bridgepipe.evaluation import fid, neighbours

    sets = [fid.statistics(Features(), Noise(count, seed)) for seed in (0, 1)]

    def compare() -> None:
        fid.distances(*sets, kernel=True)
        neighbours.precision_and_recall(sets[0].sample, sets[1].sample)

    return compare


STAGES = (prepare, epoch, gather, moments, distances)


class Features:
    """Features that cost nothing: numbers that belong to the pixels of an image."""

    name, digest, resize = "none", "none", "none"

    def features(self, images: Any) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack([*images])).flatten(1)[:, :FEATURES]
        return pixels.float() / 255


class Noise:
    """Noise, drawn when it is asked for."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, item: int) -> np.ndarray:
        return np.random.default_rng((self._seed, item)).integers(0, 256, (27, 27, 3), np.uint8)


def _store(folder: Path, count: int) -> Any:
    from bridgepipe.data import store

    path, image = folder / "images.lmdb", np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    with store.writer(path, {}, progress=False) as out:
        for number in range(count):
            image[0, 0] = number % 256, number // 256 % 256, number // 65536
            out.put(image)
    return store.ImageStore(path)


@dataclass(frozen=True)
class Point:
    """Processor seconds, and bytes of memory beyond those before the work."""

    count: int
    seconds: float
    memory: float


def _measure_here(stage: str, count: int) -> None:
    """In a process of its own: prints a point."""
    torch.set_num_threads(1)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    with tempfile.TemporaryDirectory() as folder:
        work = next(one for one in STAGES if one.__name__ == stage)(Path(folder), count)
        with Watch() as watch:
            work()
        print(json.dumps([count, watch.seconds, watch.memory]))


class Watch:
    """Processor time of this process and its children, and the most memory of its own that it held."""

    def __enter__(self) -> Watch:
        self._ended, self._before, self._most, self._began = Event(), _memory(), 0, _spent()
        self._thread = Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.seconds, self.memory = _spent() - self._began, max(self._most - self._before, 0)

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, _memory())


def _spent() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def _memory() -> int:
    """Bytes that belong to this process alone."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def _points(stage: str, most: int) -> Iterator[Point]:
    most = min(most, SAMPLED) if stage == "distances" else most
    for count in (count for count in COUNTS if count <= most):
        command = [sys.executable, "-m", "benchmarks.growth", "--one", stage, str(count)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        point = Point(*json.loads(told))
        print(
            f"{stage}: {count:,} images, {point.seconds:.1f} s, {point.memory / 1e6:.0f} MB", file=sys.stderr
        )
        yield point
        if point.seconds > MINUTE:
            return


def _law(points: list[Point]) -> tuple[float, float]:
    """Seconds that every run takes, and those of an image; every point weighs the same."""
    counts = np.array([point.count for point in points], np.float64)
    seconds = np.array([point.seconds for point in points])
    columns = np.stack([np.ones_like(counts), counts], 1) / seconds[:, None]
    start, each = np.linalg.lstsq(columns, np.ones_like(seconds), rcond=None)[0]
    return max(float(start), 0.0), float(each)


def _row(stage: Callable[..., Any], points: list[Point]) -> dict[str, Any]:
    last, (start, each) = points[-1], _law(points)
    counted = SAMPLED if stage is distances else MILLION
    power = math.log(last.seconds / points[-2].seconds) / math.log(last.count / points[-2].count)
    return {
        "stage": stage.__name__,
        "images": last.count,
        "s": round(last.seconds, 1),
        "power of the last step": round(power, 2),
        "ms an image": round(1e3 * each, 3),
        "a million, min": round((start + counted * each) / 60, 1),
        "MB at 1,000": round(points[0].memory / 1e6),
        "MB at the most": round(last.memory / 1e6),
    }


def _draw(path: Path, found: dict[str, list[Point]]) -> None:
    from bridgepipe.figures.canvas import canvas
    from bridgepipe.figures.images import COLOURS, MARKERS

    with canvas(path, 8.0, 3.4) as figure:
        time_axes, memory_axes = figure.subplots(1, 2)
        for number, (stage, points) in enumerate(found.items()):
            frame = pd.DataFrame(points)
            how = {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 4, "label": stage}
            time_axes.loglog(frame["count"], frame["seconds"], **how)
            memory = frame["memory"].where(frame["memory"] > 0)  # a logarithm knows no 0
            memory_axes.loglog(frame["count"], memory / 1e6, **how)
        time_axes.set(xlabel="Images", ylabel="Processor time (s)")
        memory_axes.set(xlabel="Images", ylabel="Memory (MB)")
        time_axes.legend()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--one", nargs=2, metavar=("STAGE", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--most", type=int, default=MILLION)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    if given.one:
        _measure_here(given.one[0], int(given.one[1]))
    else:
        _measure(given.most, given.figure)


def _measure(most: int, figure: Path | None) -> None:
    found = {stage.__name__: list(_points(stage.__name__, most)) for stage in STAGES}
    print(markdown(table([_row(stage, found[stage.__name__]) for stage in STAGES])))
    if figure:
        _draw(figure, found)


if __name__ == "__main__":
    main()
