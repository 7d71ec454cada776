"""What DVC says about an edit: the edited value, the numbers that it moved, the curves of both."""

from __future__ import annotations

import csv
import json

import pytest
from repository import EXPERIMENT, METRICS, Repository

pytestmark = pytest.mark.dvc


def values(repository: Repository, file: str) -> dict[str, float]:
    return json.loads((repository.folder / file).read_text())["values"]


def test_status_is_clean_after_repro(edited: Repository) -> None:
    assert "up to date" in edited.run("dvc", "status")


def test_params_diff_names_the_edit_alone(edited: Repository) -> None:
    nfe = {"old": 2, "new": 3, "diff": 1}
    assert edited.diff("params") == {"params.yaml": {"scales.demo.i2sb.sample.nfe": nfe}}


def test_metrics_diff_shows_both_numbers(recorded: Repository, edited: Repository) -> None:
    changes = edited.diff("metrics")
    assert set(changes) == set(METRICS)
    for file, name in zip(METRICS, ("fid", "accuracy", "psnr"), strict=True):
        assert changes[file]["made_with.settings.sample.nfe"] == {"old": 2, "new": 3, "diff": 1}
        old, new = (values(repository, file)[name] for repository in (recorded, edited))
        shown = changes[file].get(f"values.{name}", {"old": old, "new": old})  # equal ones are left out
        assert (shown["old"], shown["new"]) == (old, new)
    assert changes[METRICS[0]]["values.fid"]["diff"] != 0


def test_plots_diff_holds_the_curves_of_both(edited: Repository) -> None:
    curve = f"{EXPERIMENT}/train.csv"
    (plot,) = edited.diff("plots")["data"][curve]
    assert plot["revisions"] == ["workspace", "HEAD"]
    assert plot["content"]["encoding"]["x"]["field"] == "step"
    points = plot["content"]["data"]["values"]
    with (edited.folder / curve).open() as file:
        steps = [(row["step"], row["loss"]) for row in csv.DictReader(file)]
    for revision in plot["revisions"]:
        assert [(p["step"], p["loss"]) for p in points if p["rev"] == revision] == steps
