"""Seeds: experiments that differ in nothing else, and the one row that they are in the table of results."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_one_table import blocks, fid

from bridgepipe import artifacts
from bridgepipe.config import Resolved, read_yaml
from bridgepipe.config.outcomes import Outcomes
from bridgepipe.errors import UserError
from bridgepipe.evaluation import one_table
from bridgepipe.methods.trained import home_of
from bridgepipe.report import page
from bridgepipe.workflow.opening import check_targets

PARAMS = read_yaml(Path(__file__).parents[2] / "params.yaml")


def resolved(method: str, name: str, **written: Any) -> Resolved:
    values = copy.deepcopy(PARAMS)
    values["experiments"][method].setdefault(name, {}).update(written)
    return Resolved(values)


def test_seeds_of_a_training_are_trainings_of_their_own() -> None:
    made = resolved("i2sb", "jpeg-5", train={"seeds": [0, 1, 7]})
    names = ["i2sb/jpeg-5", "i2sb/jpeg-5.seed-1", "i2sb/jpeg-5.seed-7"]
    assert made.matching("i2sb/jpeg-5") == names
    assert {*names} <= {*made.defined.trained()}
    plain, *repeats = (made.stages(name) for name in names)
    assert plain == Resolved(PARAMS).stages(names[0])
    assert [stages["train"]["train"].pop("seed") for stages in (plain, *repeats)] == [0, 1, 7]
    plain.pop("study")
    assert repeats == [plain, plain]
    files = made.files()["sample"]["i2sb"]["jpeg-5.seed-7"]
    assert files["model"] == "results/i2sb/jpeg-5.seed-7/model.safetensors"
    ends = Outcomes(made).results(names[2])
    assert {f"results/{names[2]}/{file}" for file in ("fid.json", "figures/loss.png")} <= {*ends}


@pytest.mark.parametrize(
    ("method", "name", "stage"),
    [("i2sb", "jpeg-5", "sample"), ("spd", "ddim", "sample"), ("ddib/sample", "moons", "sample")],
)
def test_seeds_of_a_sampling_share_the_network(method: str, name: str, stage: str) -> None:
    made = resolved(method, name, sample={"seeds": [3, 4]})
    first, second = f"{method}/{name}", f"{method}/{name}.seed-4"
    assert (made.experiments[first].sample.seed, made.experiments[second].sample.seed) == (3, 4)
    assert "train" not in made.stages(second)
    of = made.files()[stage]
    for part in method.split("/"):
        of = of[part]
    assert of[name]["model"] == of[f"{name}.seed-4"]["model"]


def test_a_repeat_has_the_dataset_that_the_name_of_the_first_gives() -> None:
    values = copy.deepcopy(PARAMS)
    values["experiments"]["ddib/sample"]["moons"] = {"train": {"seeds": [0, 1]}}
    values["experiments"]["ddib/points"]["moons-olympic_rings.seed-1"] = {"source": "moons.seed-1"}
    made = Resolved(values).experiments
    assert made["ddib/sample/moons.seed-1"].dataset == "moons"
    translation = made["ddib/points/moons-olympic_rings.seed-1"]
    assert (translation.source, translation.target) == ("moons.seed-1", "olympic_rings")


def test_variants_are_repeated_with_each_network_and_pairs_with_each_seed(tmp_path: Path) -> None:
    sample = {"variants": {"more": {"nfe": 20}}}
    made = resolved("i2sb", "jpeg-5", train={"seeds": [0, 1]}, sample=sample)
    assert made.experiments["i2sb/jpeg-5.seed-1.more"].base == "i2sb/jpeg-5.seed-1"
    made = resolved("i2sb", "jpeg-5", sample={"seeds": [0, 1], **sample})
    assert made.experiments["i2sb/jpeg-5.more.seed-1"].base == "i2sb/jpeg-5"
    for trained in ("a", "a.seed-1"):
        (tmp_path / trained / "config").mkdir(parents=True)
        (tmp_path / trained / "config/train.json").write_text("{}")
    homes = [home_of(tmp_path / name).name for name in ("a.more", "a.seed-1.more", "a.more.seed-2")]
    assert homes == ["a", "a.seed-1", "a"]
    made = resolved("ddib/classes", "3-8", sample={"seeds": [0, 1]})
    assert made.experiments["ddib/classes/3-8.seed-1"].sample.seed == 1
    pairs = {"scales": ["demo"], "pairs": {"3": 8, "8": 3}, "sample": {"eta": 1.0, "solver": "ddim"}}
    pairs["sample"] |= {"seeds": [0, 1]}
    made = resolved("ddib/classes", "both", **pairs)
    assert [*made.groups] == ["ddib/classes/both", "ddib/classes/both.seed-1"]
    check_targets(made, ["results/ddib/classes/both.seed-1/table.md"])


def refusals() -> Iterator[tuple[Any, str]]:
    yield {"train": {"seeds": [1, 1]}}, r"jpeg-5\.train\.seeds.*1 comes twice"
    yield {"train": {"seeds": []}}, r"jpeg-5\.train\.seeds"
    yield {"train": {"seeds": 3}}, r"jpeg-5\.train\.seeds"
    yield {"sample": {"seeds": [0, -1]}}, r"jpeg-5\.sample\.seeds"
    yield {"sample": {"seeds": [0, 1], "seed": 2}}, r"seeds and a seed.*sample\.seeds.*keep one"
    both = {"train": {"seeds": [0, 1]}, "sample": {"seeds": [0, 1]}}
    yield both, r"seeds of the training and of the sampling.*jpeg-5\.sample\.seeds"
    yield {"train": {"seeds": [0, 1], "published": "i2sb/jpeg-10"}}, r"train\.seed"


@pytest.mark.parametrize(("written", "message"), list(refusals()))
def test_wrong_seeds_are_told_with_their_key(written: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolved("i2sb", "jpeg-5", **written)


def test_seeds_of_a_whole_scale_and_repeats_that_are_none_are_refused() -> None:
    values = copy.deepcopy(PARAMS)
    values["scales"]["demo"]["i2sb"]["train"]["seeds"] = [0, 1]
    with pytest.raises(UserError, match="seeds are of an experiment"):
        Resolved(values)
    written = {"corruption": "jpeg-5", "beta_max": 0.5, "train": {"seed": 1}}
    with pytest.raises(UserError, match=r"jpeg-5\.seed-1 is called a repeat of i2sb/jpeg-5, but is trained"):
        resolved("i2sb", "jpeg-5.seed-1", **written)
    resolved("i2sb", "jpeg-5.seed-1", **written | {"beta_max": 0.3})


def measured(tmp_path: Path, **values: tuple[float, Any]) -> list[Path]:
    """Metric files by name of the experiment: value, and settings of what was measured."""
    found = [tmp_path / f"results/i2sb/{name}/fid.json" for name in values]
    for file, (value, settings) in zip(found, values.values(), strict=True):
        metric = fid(value, fid_corrupted=9.0)
        metric["made_with"]["settings"] |= settings
        artifacts.write_json(file, metric)
    return found


REPEATS = {
    "a": (3.0, {"seed": 0}),
    "a.seed-1": (3.5, {"seed": 1}),
    "a.seed-12": (4.0, {"seed": 12}),
    "b": (3.6, {"seed": 0}),
}


def test_repeats_are_one_row_with_the_interval_of_student(tmp_path: Path) -> None:
    (block,) = blocks(measured(tmp_path, **REPEATS))
    pooled, alone = block.readings
    values = np.array([3.0, 3.5, 4.0])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (pooled.experiment, pooled.value) == ("i2sb/a", 3.5)
    assert (pooled.low, pooled.high) == pytest.approx((expected.low, expected.high))
    assert (pooled.floor, pooled.before) == (1.0, 9.0)
    assert block.best == {"i2sb/a"}
    assert block.rows()[0]["95 %"] == "2.3 to 4.7 (3 seeds)"
    assert alone.members == ()
    assert one_table.NOTES["seeds"] in one_table.notes_of([block])
    assert "(3 seeds)" in one_table.terminal([block], styled=False)


def test_csv_names_the_members_and_keeps_their_values(tmp_path: Path) -> None:
    one_table.write_csv(tmp_path / "summary.csv", blocks(measured(tmp_path, **REPEATS)))
    rows = pd.read_csv(tmp_path / "summary.csv").set_index("experiment")
    assert rows["seeds"].tolist() == [3, 1]
    assert rows.loc["i2sb/a", "members"] == "i2sb/a; i2sb/a.seed-1; i2sb/a.seed-12"
    assert rows.loc["i2sb/a", "values"] == "3.0; 3.5; 4.0"
    assert rows.loc["i2sb/b", "members"] == "i2sb/b"


def test_only_what_differs_in_nothing_else_is_one_row(tmp_path: Path) -> None:
    older = {**REPEATS, "a.seed-1": (3.5, {"seed": 1, "sample": {"nfe": 99}})}
    (block,) = blocks(measured(tmp_path / "older", **older))
    assert [len(r.members) for r in block.readings] == [2, 0, 0]
    without = {name: value for name, value in REPEATS.items() if name != "a"}
    (block,) = blocks(measured(tmp_path / "without", **without))
    assert [r.experiment for r in block.readings] == ["i2sb/a.seed-1", "i2sb/a.seed-12", "i2sb/b"]
    models = {"a": (1.0, {"model": "m"}), "a.seed-1": (2.0, {"model": "m.seed-1"})}
    (block,) = blocks(measured(tmp_path / "models", **models))
    assert [len(r.members) for r in block.readings] == [2]


def test_the_report_leads_with_the_mean_over_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = resolved("i2sb", "jpeg-5", sample={"seeds": [0, 1]})
    monkeypatch.chdir(tmp_path)
    measured(tmp_path, **{"jpeg-5": (3.0, {"seed": 0}), "jpeg-5.seed-1": (3.2, {"seed": 1})})
    page.write(tmp_path / "report.html", made, made.matching("i2sb"))
    text = (tmp_path / "report.html").read_text()
    assert 'href="#i2sb-jpeg-5">i2sb/jpeg-5</a> has an FID of 3.1' in text
    assert "(2 seeds)" in text
    assert 'id="i2sb-jpeg-5-seed-1"' in text
