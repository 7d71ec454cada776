"""`python -m benchmarks.bridge_calls POINTS RESULTS ...`: quality of bridge samplers against network calls.

Restores the test digits, or other ``--images``, by every sampler in 1 to 100 calls, in bf16, with the network
of each folder RESULTS, and prints the tables of docs/bridge-samplers.md. `snakemake
results/i2sb/jpeg-5/model.safetensors data/checkpoints/digits-classifier.safetensors` makes such a folder, and
what the FID is measured with. A student is compared with the teacher named before it, at every checkpoint.
The folder POINTS keeps what is measured: an interrupted run goes on. ``--figure FILE`` draws the last table.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bridgepipe import artifacts
from bridgepipe.config.i2sb import RestorationSampling, RestorationTraining, Sample, SamplerSettings
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data.store import ImageStore
from bridgepipe.evaluation import restoration
from bridgepipe.evaluation.accuracy import classifier_accuracy
from bridgepipe.evaluation.classifier import SmallClassifier
from bridgepipe.evaluation.fid import fid, frechet_distance, statistics
from bridgepipe.figures import images as figures
from bridgepipe.methods.trained import Trained
from bridgepipe.stages.restoration import Split

MANY = 20  # calls, beyond which only these are measured:
WITH_MANY = ("ancestral", "OT-ODE", "order 2")
CALLS = (1, 2, 3, 5, 10, 20, 50, 100)
RESAMPLES = 200  # of the images, to tell how far two FIDs of the same images differ by chance
BATCH = 64
CLASSIFIER = Path("data/checkpoints/digits-classifier.safetensors")
DIGITS = Path("data/prepared/digits")
Moments = tuple[torch.Tensor, torch.Tensor]  # mean and covariance


def implicit(eta: float, order: int, spacing: str, solver: str = "multistep") -> SamplerSettings:
    settings = {"eta": eta, "order": order, "spacing": spacing, "solver": solver}
    return SamplerSettings.model_validate({"sampler": "implicit", **settings})


FLOW = {
    "order 1 (I3SB, DBIM)": implicit(0, 1, "angle"),
    "order 2": implicit(0, 2, "angle"),
    "order 3": implicit(0, 3, "angle"),
    "midpoint (DBMSolver)": implicit(0, 2, "angle", "midpoint"),
    "heun": implicit(0, 2, "angle", "heun"),
}
NOISY = {
    "eta 0.5, order 1": implicit(0.5, 1, "angle"),
    "eta 1, order 2": implicit(1, 2, "uniform"),
}


def samplers(ot_ode: bool) -> dict[str, SamplerSettings]:
    """By their names, the published one first."""
    published = {"OT-ODE" if ot_ode else "ancestral": SamplerSettings()}
    return published | FLOW | ({} if ot_ode else NOISY)


# With one call all are the prediction at x1 but for the published end; with two, these are orders 1 and 2.
AT_TWO = ("order 3", "midpoint (DBMSolver)", "heun", "eta 0.5, order 1")
SAME = {1: ("order 2", "eta 1, order 2", *AT_TWO), 2: AT_TWO}


@dataclass(frozen=True)
class Point:
    """What one sampler in so many calls came to.

    Attributes:
        calls, ms: network calls, and milliseconds of processor time, of an image.
        psnr, psnr_error: mean over the images in dB, and its standard error.
        accuracy: share of digits that the classifier reads right.
        features: of the restored images, float64 [N,D].
    """

    sampler: str
    calls: int
    ms: float
    psnr: float
    psnr_error: float
    accuracy: float
    features: np.ndarray


class Bench:
    """The images, the classifier in whose features the FID is, and where points are kept.

    Args:
        folder: where points are kept.
        images: store of the originals.
        reference: store that the FID compares with. Where it is the originals', as for photographs, of which
            no two splits are alike, resamples draw an image together with its original, and the accuracy,
            of subjects that the classifier has not seen, is left out.
        classifier: file of the classifier.
    """

    def __init__(self, folder: Path, images: Path, reference: Path, classifier: Path) -> None:
        self.folder, self.data, self.network = folder, images, SmallClassifier.load(str(classifier))
        self.images, self.paired = ImageStore(images), images == reference
        self.originals = np.stack([self.images[i] for i in range(len(self.images))])
        self.reference = statistics(self.network, ImageStore(reference), BATCH)
        self.floor = fid(statistics(self.network, self.originals, BATCH), self.reference)

    def split(self, trained: Trained, settings: RestorationSampling) -> Split:
        return Split.open(trained, settings, self.data, None, Runtime(device="cpu", precision="bf16"))

    def point(self, split: Split, experiment: str, sampler: str, how: Sample) -> Point:
        file = self.folder / experiment / f"{sampler}, {how.nfe}.npz"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            found = self._measured(split, how)
            with artifacts.atomic(file) as partial, partial.open("wb") as out:
                np.savez(out, **found)
        with np.load(file) as found:
            values = {key: found[key].item() for key in ("ms", "psnr", "psnr_error", "accuracy")}
            return Point(sampler, how.nfe, **values, features=found["features"])

    def _measured(self, split: Split, how: Sample) -> dict[str, Any]:
        items = range(len(self.images))
        began = time.process_time()
        images = [split.restore(items[i : i + BATCH], how).image for i in items[::BATCH]]
        took = time.process_time() - began
        found = np.concatenate(images)
        psnr = np.array(list(map(restoration.psnr, self.originals, found)))
        right = classifier_accuracy(self.network, found, self.images.labels, BATCH, self.images.classes)
        return {
            "ms": 1e3 * took / len(found),
            "psnr": psnr.mean(),
            "psnr_error": psnr.std(ddof=1) / math.sqrt(len(psnr)),
            "accuracy": right.accuracy,
            "features": statistics(self.network, found, BATCH).sample.numpy(),
        }

    def fids(self, features: np.ndarray) -> np.ndarray:
        """The FID of images by their features [N,D], then those of `RESAMPLES` resamples of the images.

        The resamples are the same ones for all images, so that differences of two are paired.
        """
        rows = np.arange(len(features))
        draws = [rows, *np.random.default_rng(0).integers(len(rows), size=(RESAMPLES, len(rows)))]
        return np.array([frechet_distance(*_moments(features[i]), *self._expected(i)) for i in draws])

    def _expected(self, rows: np.ndarray) -> Moments:
        if self.paired:
            return _moments(self.reference.sample.numpy()[rows])
        return self.reference.mu, self.reference.sigma

    def cell(self, p: Point, base: np.ndarray) -> list[str]:
        """FID over that of ``base``, one of `fids`, with its 95 % interval; PSNR in dB; accuracy in %."""
        more = self.fids(p.features) - base
        fid = f"{round(more[0], 2) + 0.0:+.2f} ± {1.96 * more[1:].std(ddof=1):.2f}"
        return [fid, f"{p.psnr:.1f}", *([] if self.paired else [f"{100 * p.accuracy:.1f}"])]


def _moments(features: np.ndarray) -> Moments:
    """Mean and covariance of features [N,D]."""
    x = torch.from_numpy(features.astype(np.float64))
    return x.mean(0), torch.cov(x.T)


def points(bench: Bench, results: Path, calls: Sequence[int]) -> Iterator[Point]:
    """Every sampler at every number of calls; few calls first, and no sampler twice under two names."""
    settings = read_stage(results / "config/sample.json", RestorationSampling)
    split = bench.split(Trained.within(results), settings)
    for nfe in calls:
        for sampler, how in samplers(settings.ot_ode).items():
            if sampler not in SAME.get(nfe, ()) and (nfe <= MANY or sampler in WITH_MANY):
                yield bench.point(split, results.name, sampler, Sample.of(settings.sample, how, nfe=nfe))


def students(bench: Bench, results: Path) -> Iterator[Point]:
    """A student after every number of steps of which its weights are kept."""
    settings = read_stage(results / "config/sample.json", RestorationSampling)
    recipe = read_stage(results / "config/train.json", RestorationTraining).train
    for step in recipe.kept_steps or [recipe.steps]:
        how = settings.sample.model_copy(update={"checkpoint": step})
        split = bench.split(Trained.within(results, how), settings)
        yield bench.point(split, results.name, f"after {step} steps", how)


def base_of(bench: Bench, found: Sequence[Point]) -> np.ndarray:
    """`Bench.fids` of the published sampler's most calls."""
    return bench.fids([p for p in found if p.sampler == found[0].sampler][-1].features)


def table(bench: Bench, found: Sequence[Point]) -> Iterator[str]:
    """Rows as Markdown: `Bench.cell` of every sampler and number of calls."""
    cells: dict[str, dict[int, str]] = {}
    base = base_of(bench, found)
    for p in found:
        cells.setdefault(p.sampler, {})[p.calls] = " / ".join(bench.cell(p, base))
    calls = list(dict.fromkeys(p.calls for p in found))
    yield f"| FID {base[0]:.2f} and | {' | '.join(map(str, calls))} |"
    yield "|---" * (1 + len(calls)) + "|"
    for sampler, row in cells.items():
        yield f"| {sampler} | {' | '.join(row.get(nfe, '') for nfe in calls)} |"
    times = {p.calls: p.ms for p in reversed(found)}
    yield f"| ms of processor time | {' | '.join(f'{times[nfe]:.0f}' for nfe in calls)} |"


def rows_of_student(bench: Bench, found: Iterable[Point], base: np.ndarray) -> Iterator[str]:
    """Rows as Markdown: steps, calls and `Bench.cell`, the FID over the teacher's."""
    for p in found:
        yield f"| {p.sampler} | {p.calls} | {' | '.join(bench.cell(p, base))} |"


def draw(path: Path, bench: Bench, found: Sequence[Point]) -> None:
    """FID, with the interval of its difference from the published sampler's last, and PSNR."""
    base, rows = base_of(bench, found), []
    for p in found:
        one = bench.fids(p.features)
        spread, psnr = 1.96 * (one - base)[1:].std(ddof=1), 1.96 * p.psnr_error
        rows.append(
            {"sampler": p.sampler, "nfe": p.calls, "n": len(p.features), "FID": one[0]}
            | {"low of FID": one[0] - spread, "high of FID": one[0] + spread, "FID real": bench.floor}
            | {"PSNR": p.psnr, "low of PSNR": p.psnr - psnr, "high of PSNR": p.psnr + psnr}
        )
    figures.quality_against_calls(path, pd.DataFrame(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--images", type=Path, default=DIGITS / "test.lmdb")
    parser.add_argument("--reference", type=Path, default=DIGITS / "train.lmdb")
    parser.add_argument("--classifier", type=Path, default=CLASSIFIER)
    parser.add_argument("--calls", type=int, nargs="+", default=CALLS)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    bench = Bench(given.points, given.images, given.reference, given.classifier)
    found: list[Point] = []
    for results in given.results:
        if read_stage(results / "config/train.json", RestorationTraining).train.distil is None:
            found = list(points(bench, results, given.calls))
            print(f"\n{results.name}: {len(bench.images)} real images have a FID of {bench.floor:.2f}\n")
            print(*table(bench, found), sep="\n", flush=True)
        elif found:
            rows = rows_of_student(bench, students(bench, results), base_of(bench, found))
            print(f"\n{results.name}\n", *rows, sep="\n", flush=True)
        else:
            parser.error(f"name the teacher before {results}")
    if given.figure is not None:
        draw(given.figure, bench, found)


if __name__ == "__main__":
    main()
