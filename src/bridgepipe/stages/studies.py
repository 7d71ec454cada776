"""Studies: quality of several samplers against the number of network calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bridgepipe import artifacts
from bridgepipe.config.i2sb import Evaluate, RestorationSampling, RestorationTraining, Sample, Study
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data import subset
from bridgepipe.data.store import ImageStore
from bridgepipe.evaluation import fid, tables
from bridgepipe.evaluation.extractors import check_fits
from bridgepipe.evaluation.fid import Statistics
from bridgepipe.evaluation.image_sets import reference_statistics
from bridgepipe.methods.trained import ExtractorFiles, Trained, load_extractor
from bridgepipe.names import QUANTISATION, Json
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable
from bridgepipe.stages.restoration import Split


def study(
    plan: Study,
    evaluate_config: Path,
    sample_config: Path,
    trained: Trained,
    data: Path,
    statistics: Path,
    extractor: ExtractorFiles,
    output: Path,
    sources: Path | None,
    real: Path | None,
    speed: Runtime,
) -> None:
    """PSNR, FID and accuracy of every sampler at every number of calls, measured as the experiment is."""
    settings = read_stage(sample_config, RestorationSampling)
    measuring = read_stage(evaluate_config, Evaluate)
    split = Split.open(trained, settings, data, sources, speed)
    images = split.clean
    network = load_extractor(extractor, speed)
    check_fits(network, images)
    reference = reference_statistics(statistics, network, kernel=False, batch_size=speed.batch_size)
    items = subset.choose_from(images, plan.count).tolist()
    held_out = images if real is None else ImageStore(real)

    def restored(label: str, how: Sample) -> np.ndarray:
        def run(piece: Sequence[int]) -> np.ndarray:
            return split.restore(piece, how).image

        return np.concatenate(running.shared_by_all(run, items, speed.batch_size, label))

    inputs = {"extractor": network.digest, "originals": images.digest, "real": held_out.digest}
    about: Json = {"settings": measuring.as_json(), "inputs": inputs, "restored": True}
    about |= {"subset": subset.describe(len(items), len(images))}
    about |= {"quantisation": QUANTISATION[settings.variant]}
    identity: Json = {"plan": plan.as_json(), "sampling": settings.as_json()}
    identity |= {**split.identity, "reference": reference.data, **about}
    with resumable(output, identity, speed):
        floor = _floor(network, images, items, held_out, speed.batch_size)
        compared = _Compared(images, items, network, reference, floor, about, speed.batch_size)
        training = read_stage(trained.train_config, RestorationTraining).train
        rows, seeds = [], seeds_of(settings.sample.seed, training)
        for sampler, how in _runs(plan, settings.sample):
            found = restored(f"{sampler}, {how.nfe} calls", how)
            rows.append({"sampler": sampler, "nfe": how.nfe, **seeds, **compared.measured(found)})
        if running.is_main():
            artifacts.write_text(output, tables.table(rows).to_csv(index=False, float_format="%.6g"))


def _floor(
    network: Any, images: ImageStore, items: Sequence[int], held_out: ImageStore, batch_size: int
) -> Statistics:
    """Of as many real images as are restored: the originals themselves, unless others are held out."""
    others = items if held_out.digest == images.digest else subset.choose_from(held_out, len(items))
    return fid.statistics(network, subset.Subset(held_out, others), batch_size)


@dataclass(frozen=True)
class _Compared:
    """What the restored images of every point of a study are compared with.

    Attributes:
        images, items: the store of the originals, and which of them were restored.
        network: the extractor, which also predicts classes where it is a classifier of them.
        reference, floor: statistics of the real images, and of as many held-out ones.
        about: entries of the protocol, see `evaluation.real.described`.
        batch_size: images per call of the extractor.
    """

    images: ImageStore
    items: Sequence[int]
    network: Any
    reference: Statistics
    floor: Statistics
    about: Mapping[str, Any]
    batch_size: int

    @cached_property
    def originals(self) -> np.ndarray:
        """uint8 ``[N, H, W, C]``."""
        import numpy as np

        return np.stack([self.images[i] for i in self.items])

    @property
    def pictures(self) -> list[str] | None:
        """What each image was cut from; None where they are no patches."""
        from bridgepipe.datasets.patches import pictures_of

        return pictures_of(self.images, self.items)

    def measured(self, found: np.ndarray) -> Json:
        """Columns of restored images, uint8 ``[N, H, W, C]`` in the order of the items."""
        from bridgepipe.evaluation import fid, protocol, real, restoration
        from bridgepipe.evaluation.features import contents

        quality = restoration.quality(found, self.originals)
        measured = fid.statistics(self.network, found, self.batch_size)
        shown = replace(measured, pictures=contents(self.originals), sources=self.pictures)
        sets = {"": shown, "_real": self.floor}
        return {
            **protocol.as_columns(quality.values("", self.pictures), "psnr", "PSNR"),
            **real.columns(sets, self.reference),
            **protocol.protocol_columns(real.described(sets, self.reference, **self.about)),
            **self._recognised(found),
        }

    def _recognised(self, found: np.ndarray) -> dict[str, float]:
        """The accuracy with its interval, where the extractor is a classifier of the images' classes."""
        from bridgepipe.evaluation import protocol
        from bridgepipe.evaluation.accuracy import classifier_accuracy

        known = set(getattr(self.network, "classes", ()))
        if self.images.labels is None or not set(self.images.classes or ()) <= known:
            return {}
        labels = self.images.labels[self.items]
        about = self.batch_size, self.images.classes, self.pictures
        right = classifier_accuracy(self.network, found, labels, *about)
        columns = protocol.as_columns(right.values("accuracy"), "accuracy", "accuracy %")
        return {column: 100 * share for column, share in columns.items()}


def _runs(plan: Study, sample: Sample) -> Iterator[tuple[str, Sample]]:
    for name, sampler in plan.samplers.items():
        for nfe in plan.nfe:
            yield name, Sample.of(sample, sampler, nfe=nfe)


def seeds_of(seed: int, recipe: Recipe) -> dict[str, int | None]:
    """Columns of a study: the seed of its noise, and of the training; None of a published network."""
    return {"noise seed": seed, "network seed": None if recipe.published else recipe.seed}
