"""What the benchmarks compare gives equal results; times are measured by `make bench` alone."""

from __future__ import annotations

import importlib
import json
import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import boundary, data, preparing, profiling, record
from benchmarks.measure import Result
from bridgepipe.data import store
from bridgepipe.data.store import ImageStore

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("side", [16, 33])
def test_a_batch_is_that_of_the_published_loader(tmp_path: Path, side: int) -> None:
    files = data.jpeg_files(9)
    with store.writer(tmp_path / "a.lmdb", {}, progress=False) as w:
        for file in files:
            w.put(data._decoded(file, side))
    assert torch.equal(data._load(ImageStore(tmp_path / "a.lmdb"), range(9)), data._load_files(files, side))


def test_a_prepared_folder_holds_what_pillow_makes(tmp_path: Path) -> None:
    source = preparing._folder(tmp_path, 5, (700, 400))
    preparing._prepare(source)
    preparing._by_pillow(source)
    made = ImageStore(tmp_path / "stores/train.lmdb")
    assert made.names == [f"{i:04}.jpg" for i in range(5)]
    assert all(np.array_equal(made[i], np.load(tmp_path / f"pixels/{i:04}.npy")) for i in range(5))


def test_the_boundary_of_the_benchmark_is_that_of_svc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "COUNT", 40)
    assert boundary.gram_against_svc().ratio > 0  # it compares the two itself


def test_bytes_around_convolutions_are_those_of_images_and_of_their_gradients() -> None:
    conv, x = torch.nn.Conv2d(3, 5, 1), torch.zeros(2, 3, 4, 4, requires_grad=True)
    taken, put_out = 4 * 2 * 3 * 16, 4 * 2 * 5 * 16
    with profiling._Passed() as passed:
        output = conv(x).tanh()
    assert passed.bytes == taken + put_out
    with profiling._Passed() as passed:
        output.sum().backward()
    assert passed.bytes == taken + put_out
    with profiling._Passed() as passed:
        conv(x.detach()).sum().backward()  # whose image needs no gradient
    assert passed.bytes == taken + 2 * put_out


def test_results_are_written_and_what_moved_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [Result("a", "other", 1.0, 2.0, 2.0), Result("b", "other", 1.0, 3.0, 3.0, share=0.5)]
    now = [
        Result("a", "other", 1.0, 2.1, 2.1),
        Result("b", "other", 1.0, 2.0, 2.0),
        Result("b", "against another", 1.0, 9.0, 9.0),
        Result("c", "x", 1, 1, 1),
    ]
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(record, "ROOT", tmp_path)
    text = record.write(before, {"processor": "some", "gpus": [], "torch": "1"})
    written = json.loads((tmp_path / "benchmarks/results.json").read_text(encoding="utf8"))
    assert (tmp_path / "benchmarks/results.md").read_text(encoding="utf8") == text
    assert "processor: some" in text
    assert "gpus" not in text
    assert record.moved(written, now) == ["b: 3, now 2"]
    assert record.committed() is None  # no repository there


def test_a_machine_is_told_without_its_name() -> None:
    assert platform.node() not in record.machine().values()


@pytest.mark.parametrize("module", sorted(p.stem for p in (ROOT / "benchmarks").glob("[!_]*.py")))
def test_every_benchmark_finds_its_imports(module: str) -> None:
    importlib.import_module(f"benchmarks.{module}")
