"""The workflow with two processes per job: the same images and numbers, and nothing re-runs for it."""

from __future__ import annotations

from pathlib import Path

from project import METRICS, Project

STORES = ["results/i2sb/jpeg-5/restored.lmdb", "results/i2sb/jpeg-5/corrupted.lmdb"]
STATISTICS = "data/stats/digits/train-digits-classifier.safetensors"
MADE = [*STORES, METRICS[0]]


def remade(project: Project, processes: int) -> dict[str, bytes]:
    """Images and FID, made again in several batches."""
    project.edit(lambda v: v["runtime"].update(device="cpu", processes=processes, partitions=1, batch_size=8))
    assert project.planned() == set()
    for name in [*MADE, STATISTICS]:
        (project.folder / name).unlink()
    project.snakemake("--", *MADE)
    return project.read(*MADE)


def test_two_processes_make_the_same(project: Project, finished: Project, tmp_path: Path) -> None:
    assert remade(project, processes=2) == remade(finished.copy(tmp_path / "alone"), processes=1)
