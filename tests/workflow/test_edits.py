"""An edit re-runs exactly the stages that read the edited value (the edit table)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from project import METRICS, Project, demo

EVALUATE = {"fid", "accuracy", "restoration", "figure", "table", "table_of_experiment"}
SAMPLE = {"sample", "gather", "figure_path", *EVALUATE}
TRAIN = {"train", "figure_loss", *SAMPLE}
EXTRACTOR = {"train_classifier", "statistics"}

EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], set[str]]] = {
    "nothing": (lambda v: None, set()),
    "order of keys": (lambda v: v.update({k: v.pop(k) for k in list(v)[::-1]}), set()),
    "nfe": (lambda v: demo(v)["sample"].update(nfe=3), SAMPLE),
    "batch size of training": (lambda v: demo(v)["train"].update(batch_size=9), TRAIN),
    "network": (lambda v: demo(v)["network"].update(num_res_blocks=2), TRAIN),
    "device": (lambda v: v["runtime"].update(device="cpu"), set()),
    "precision": (lambda v: v["runtime"].update(precision="bf16"), set()),
    "partitions": (lambda v: v["runtime"].update(partitions=4), set()),
    "batch size of sampling": (lambda v: v["runtime"].update(batch_size=3), set()),
    "dataset seed": (lambda v: v["datasets"]["digits"].update(seed=5), {"prepare", *EXTRACTOR, *TRAIN}),
    "another dataset": (lambda v: v["datasets"]["sample-photos"]["patches"].update(size=32), set()),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_reruns_exactly_its_stages(project: Project, name: str) -> None:
    edit, expected = EDITS[name]
    project.edit(edit)
    assert project.planned() == expected


def test_extractor_touches_evaluation_only(project: Project) -> None:
    def other_extractor(values: dict[str, Any]) -> None:
        values["extractors"]["other"] = {**values["extractors"]["digits-classifier"], "seed": 1}
        demo(values)["evaluate"] |= {"extractor": "other", "classifier": "other"}

    project.edit(other_extractor)
    assert project.planned() == EXTRACTOR | {"fid", "accuracy", "table", "table_of_experiment"}


def test_comment_changes_nothing(project: Project) -> None:
    params = project.folder / "params.yaml"
    params.write_text("# a comment\n" + params.read_text() + "\n# another\n")
    assert project.planned() == set()


def test_there_and_back_changes_nothing(project: Project) -> None:
    project.edit(lambda v: demo(v)["sample"].update(nfe=3))
    assert "sample" in project.planned()
    project.edit(lambda v: demo(v)["sample"].update(nfe=2))
    assert project.planned() == set()


def test_one_metric_alone(project: Project) -> None:
    project.edit(lambda v: demo(v)["sample"].update(nfe=3))
    assert project.planned(METRICS[0]) == {"sample", "gather", "fid"}


def test_another_corruption_shares_data_extractor_and_statistics(project: Project) -> None:
    project.edit(lambda v: v["experiments"]["i2sb"].update(other={"corruption": "sr4x-pool"}))
    assert project.planned("results/i2sb/other/fid.json") == {"train", "sample", "gather", "fid"}


def test_changing_one_corruption_touches_that_experiment_only(project: Project) -> None:
    project.edit(lambda v: v["experiments"]["i2sb"].update(other={"corruption": "sr4x-pool"}))
    before = project.planned()
    assert {"train", "sample"} <= before
    project.edit(lambda v: v["experiments"]["i2sb"]["other"].update(corruption="blur-uni"))
    assert project.planned(*METRICS) == set()


def test_an_edit_inside_a_folder_of_images_prepares_it_again(tmp_path: Path) -> None:
    """Whatever the time of the top folder, which is all that Snakemake itself looks at."""
    project = Project.create(tmp_path / "project")
    for number in range(20):
        file = project.folder / f"in/class{number % 2}/{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
    project.edit(lambda v: v["datasets"].update(mine={"source": "folder", "path": "in", "size": 8}))
    store = "data/prepared/mine/train.lmdb"

    def pending() -> bool:
        done = project.snakemake("-n", "--", store)
        return "Nothing to be done" not in done.stdout + done.stderr

    project.snakemake("--", store)
    for file in (project.folder / "in").rglob("*.png"):
        os.utime(file)
    assert not pending()
    Image.new("RGB", (8, 8), (0, 99, 0)).save(project.folder / "in/class0/00.png")
    assert pending()
    project.snakemake("--", store)
    assert not pending()
    (project.folder / "in/class1/01.png").unlink()
    assert pending()
