"""What DVC says about an edit: the edited value, the numbers that it moved, the curves of both."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from repository import EXPERIMENT, METRICS, NUMBERS, OWN, ROOT, Repository

pytestmark = pytest.mark.dvc


def values(repository: Repository, file: str) -> dict[str, float]:
    return json.loads((repository.folder / file).read_text())["values"]


def test_status_is_clean_after_repro(edited: Repository) -> None:
    assert "up to date" in edited.run("dvc", "status")


def test_params_diff_names_the_edit_alone(edited: Repository) -> None:
    nfe = {"old": 2, "new": 3, "diff": 1}
    assert edited.diff("params") == {"params.yaml": {"scales.demo.i2sb.sample.nfe": nfe}}


def test_metrics_are_numbers_of_results_alone(edited: Repository) -> None:
    (shown,) = json.loads(edited.run("dvc", "metrics", "show", "--json"))[""]["data"].values()
    names = {"fid", "accuracy", "restoration"}
    assert set(shown["data"]) == names
    table = edited.run("dvc", "metrics", "show")
    assert "made_of" not in table
    assert len(max(table.splitlines(), key=len)) < 500
    assert shown["data"]["fid"]["fid"] == values(edited, METRICS[0])["fid"]


def test_metrics_diff_shows_both_numbers(recorded: Repository, edited: Repository) -> None:
    changes = edited.diff("metrics")
    assert set(changes) == {NUMBERS}
    for file, name in zip(METRICS, ("fid", "accuracy", "psnr"), strict=True):
        old, new = (values(repository, file)[name] for repository in (recorded, edited))
        metric = f"{Path(file).stem}.{name}"
        shown = changes[NUMBERS].get(metric, {"old": old, "new": old})  # equal ones are left out
        assert (shown["old"], shown["new"]) == (old, new)
    assert changes[NUMBERS]["fid.fid"]["diff"] != 0
    assert not [name for name in changes[NUMBERS] if "settings" in name or "hash" in name]


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


def test_an_edit_of_an_included_file_is_named_with_its_file(clone: Repository) -> None:
    clone.run("dvc", "exp", "run", "plan", "-S", f"{OWN}:experiments.i2sb.jpeg-5.beta_max=0.2")
    change = {"old": 0.3, "new": 0.2}
    found = clone.diff("params")[OWN]["experiments.i2sb.jpeg-5.beta_max"]
    assert {key: found[key] for key in change} == change
    train = json.loads((clone.folder / f"{EXPERIMENT}/config/train.json").read_text())
    assert train["beta_max"] == 0.2


MINE = "experiments: {i2sb: {mine: {corruption: jpeg-10, beta_max: 0.3, sample: {nfe: 5}}}}\n"


def test_the_page_ends_with_the_edit_and_its_numbers_alone(clone: Repository) -> None:
    """Of an experiment of a person's own, by the commands of the page as they stand there."""
    section = (ROOT / "docs/engines-dvc.md").read_text().partition("## Comparing two\n")[2]
    commands = re.findall("^    (.+)", section.partition("\n## ")[0], flags=re.MULTILINE)
    assert commands[0] == "bridgepipe record i2sb/mine"
    (clone.folder / "experiments/mine.yaml").write_text(MINE)
    said = [clone.run("bash", "-c", command) for command in commands]
    assert said[0].splitlines()[1:] == [
        "record: stages/names.yaml has the stages of i2sb/mine now",
        f"next: {commands[1]}",
        'next: dvc repro && git add dvc.lock results && git commit -m "Results"',
    ]
    (params,) = re.findall("^experiments/.*|^params.*|^stages.*", said[-2], flags=re.MULTILINE)
    assert params.split() == ["experiments/mine.yaml", "experiments.i2sb.mine.sample.nfe", "5", "20"]
    changes = clone.diff("metrics")
    assert changes.keys() == {"results/metrics/i2sb/mine.json"}
    assert {"fid.fid", "restoration.psnr"} <= changes["results/metrics/i2sb/mine.json"].keys()
    assert "failed to load" not in said[-1]
    assert clone.run("bridgepipe", "record").splitlines()[1:] == [
        "record: stages/names.yaml is as it was, the stages of i2sb/mine"
    ]
