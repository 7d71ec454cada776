"""Checkpoints in the workflow: naming another one samples anew and never trains."""

from __future__ import annotations

from typing import Any

from project import MODEL, Project, demo

RESTORATION = "results/i2sb/jpeg-5/restoration.json"
VALIDATION = {"every": 10, "images": 12, "metrics": ["psnr"], "nfe": 2, "best": "psnr"}


def named(project: Project, **checkpoint: Any) -> None:
    project.edit(lambda values: demo(values)["sample"].update(checkpoint))


def test_another_checkpoint_samples_anew_and_never_trains(project: Project) -> None:
    project.edit(lambda values: demo(values)["train"].update(keep_every=10, validation=VALIDATION))
    for name in (MODEL, "results/i2sb/jpeg-5/train/state.safetensors"):
        (project.folder / name).unlink()
    loss = "results/i2sb/jpeg-5/figures/loss.png"
    project.snakemake(RESTORATION, loss)
    last = project.read(MODEL, RESTORATION)
    assert (project.folder / "results/i2sb/jpeg-5/checkpoints/validation.csv").read_text().count("\n") == 3
    assert project.planned(RESTORATION, loss) == set()
    found = {}
    for checkpoint in (10, "best"):
        named(project, checkpoint=checkpoint)
        planned = project.planned(RESTORATION)
        assert (
            {"sample", "gather", "restoration"}
            <= planned
            <= {"checkpoint", "sample", "gather", "restoration"}
        )
        project.snakemake(RESTORATION)
        assert project.planned(RESTORATION, MODEL, loss) == set()
        found[checkpoint] = project.read(RESTORATION)
    named(project, checkpoint=None)
    project.snakemake(RESTORATION)
    assert project.read(MODEL, RESTORATION) == last
    assert found[10][RESTORATION] != last[RESTORATION]
