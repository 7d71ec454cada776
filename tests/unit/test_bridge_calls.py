"""The benchmark of bridge samplers: what an FID is compared with, and the checkpoints of a student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_train_verb import Training, extractor_of, settings, store

from benchmarks import bridge_calls
from benchmarks.bridge_calls import Bench, Point
from bridgepipe import artifacts
from bridgepipe.data.store import writer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    with writer(tmp_path / "data.lmdb", {}) as out:
        for image in images:
            out.put(image)
        out.set_labels(np.arange(12) % 2)
    return tmp_path / "data.lmdb"


@pytest.fixture
def classifier(data: Path) -> Path:
    return extractor_of(data)["weights"]


def test_an_image_is_resampled_together_with_its_original(
    tmp_path: Path, data: Path, classifier: Path
) -> None:
    other = store(tmp_path / "other.lmdb", 1, count=12)
    paired, apart = (Bench(tmp_path, data, reference, classifier) for reference in (data, other))
    features = paired.reference.sample.numpy()
    perfect = Point("any", 1, ms=1.0, psnr=30.0, psnr_error=0.1, accuracy=0.5, features=features)
    assert paired.fids(features) == pytest.approx(0, abs=1e-9)
    assert (apart.fids(features) > 1e-6).all()
    assert paired.cell(perfect, np.zeros(1 + bridge_calls.RESAMPLES)) == ["+0.00 ± 0.00", "30.0"]
    assert apart.cell(perfect, apart.fids(features)) == ["+0.00 ± 0.00", "30.0", "50.0"]


def test_a_student_is_measured_at_every_checkpoint(tmp_path: Path, data: Path, classifier: Path) -> None:
    made = Training(tmp_path, settings(keep_every=1, ema=0.0, lr=0.01))
    made.trained()
    (tmp_path / "checkpoints").mkdir()
    next(tmp_path.rglob("kept-*/1.safetensors")).rename(tmp_path / "checkpoints/1.safetensors")
    of_problem = {key: value for key, value in made.values.items() if key not in ("network", "train")}
    artifacts.write_json(tmp_path / "config/train.json", made.values)
    artifacts.write_json(tmp_path / "config/sample.json", {**of_problem, "sample": {"nfe": 1}})
    bench = Bench(tmp_path / "points", data, data, classifier)
    first, last = bridge_calls.students(bench, tmp_path)
    assert (first.sampler, last.sampler) == ("after 1 steps", "after 2 steps")
    assert not np.array_equal(first.features, last.features)
    rows = list(bridge_calls.rows_of_student(bench, [last], bench.fids(last.features)))
    assert rows == [f"| after 2 steps | 1 | +0.00 ± 0.00 | {last.psnr:.1f} |"]
