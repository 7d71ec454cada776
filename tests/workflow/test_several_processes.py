"""The workflow with two processes per job: the same images and numbers, and nothing re-runs for it."""

from __future__ import annotations

from project import METRICS, Project

STORES = ["results/i2sb/jpeg-5/restored.lmdb", "results/i2sb/jpeg-5/corrupted.lmdb"]
STATISTICS = "data/stats/digits/test-digits-classifier.safetensors"


def test_two_processes_make_the_same(project: Project, finished: Project) -> None:
    project.edit(lambda v: v["runtime"].update(processes=2, batch_size=8))
    assert project.planned() == set()
    for name in [*STORES, STATISTICS, *METRICS]:
        (project.folder / name).unlink()
    project.snakemake("--", *STORES, *METRICS)
    log = (project.folder / "results/i2sb/jpeg-5/logs/sample-0-of-2.log").read_text()
    assert log == "", log
    alone = finished.copy(project.folder.parent / "alone")
    alone.edit(lambda v: v["runtime"].update(batch_size=8))
    for name in [*STORES, STATISTICS, *METRICS]:
        (alone.folder / name).unlink()
    alone.snakemake("--", *STORES, *METRICS)
    assert project.read(*STORES, *METRICS) == alone.read(*STORES, *METRICS)
