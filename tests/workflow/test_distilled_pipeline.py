"""A distilled experiment in the workflow: it waits for its teacher, and is one like others."""

from __future__ import annotations

from typing import Any

import numpy as np
from project import MODEL, Project

from bridgepipe import artifacts
from bridgepipe.datasets.images import write_png

OURS = "results/i2sb/jpeg-5-distilled"
STUDENT = {
    "corruption": "jpeg-5",
    "beta_max": 0.3,
    "train": {"init": "results/i2sb/jpeg-5", "distil": 1, "steps": 10},
    "sample": {"nfe": 1},
}


def test_a_student_is_made_from_its_teacher_and_again_with_a_new_one(project: Project) -> None:
    def added(values: dict[str, Any]) -> None:
        values["experiments"]["i2sb"]["jpeg-5-distilled"] = STUDENT

    table = f"{OURS}/table.md"
    project.edit(added)
    project.snakemake(table)
    assert project.planned(table) == set()
    card = artifacts.load_card(project.folder / OURS / "model.safetensors")
    assert card["init"] == artifacts.digest_file(project.folder / MODEL)
    assert "| 1 |" in (project.folder / table).read_text()

    project.bridgepipe("share", "i2sb/jpeg-5-distilled", "--folder", "shared")
    picture = project.folder / "picture.png"
    write_png(picture, np.full((32, 32, 3), 100, np.uint8), "grey")
    project.bridgepipe("restore", str(picture), "--model", "shared", "-o", "restored")
    assert (project.folder / "restored" / picture.name).is_file()
    refused = project.bridgepipe("restore", str(picture), "--model", "shared", "--nfe", "3", check=False)
    assert "a network that was distilled for nfe 1, not for nfe 3" in refused.stderr

    project.edit(lambda values: values["experiments"]["i2sb"]["jpeg-5"].update(train={"seed": 5}))
    assert {"train", "sample", "fid"} <= project.planned(table)
