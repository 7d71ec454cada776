"""Files that params.yaml includes: found, joined, and refused with file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bridgepipe import config, workflow
from bridgepipe.config import including
from bridgepipe.errors import UserError
from bridgepipe.runtime import cluster

ROOT = Path(__file__).parents[2]
OWN = "experiments:\n  i2sb:\n    mine: {corruption: jpeg-5}\n"
Wrong = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped files in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    for file in ("params.yaml", *(f"experiments/{f.name}" for f in ROOT.glob("experiments/*.yaml"))):
        (tmp_path / file).write_text((ROOT / file).read_text())
    return tmp_path


@pytest.fixture
def refused(project: Path) -> Wrong:
    """The line that answers a file."""

    def line(text: str, file: str = "experiments/mine.yaml") -> str:
        (project / file).write_text(text)
        with pytest.raises(UserError) as e:
            config.load("params.yaml")
        assert "\n" not in str(e.value)
        return str(e.value)

    return line


def test_where_an_experiment_stands_decides_nothing(project: Path) -> None:
    """Nothing that a stage reads, and no order, follows from the file."""
    apart = config.load("params.yaml")
    values = config.read_yaml("params.yaml")
    assert "include" not in values
    for file in (project / "experiments").iterdir():
        file.unlink()
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    whole = config.load("params.yaml")
    assert whole.stage_files() == apart.stage_files()
    assert whole.asked_files() == apart.asked_files()
    assert list(whole.experiments) == list(apart.experiments)


def test_an_experiment_of_an_own_file_changes_no_other(project: Path) -> None:
    before = config.load("params.yaml").stage_files()
    Path("experiments/mine.yaml").write_text(
        "datasets:\n  mine: {source: digits, size: 32}\n"
        "extractors:\n  mine: {kind: classifier, dataset: mine}\n"
        "experiments:\n  i2sb:\n    mine: {dataset: mine, corruption: jpeg-5, beta_max: 0.3}\n"
    )
    after = config.load("params.yaml").stage_files()
    assert {path: after[path] for path in before} == before
    added = {path.split("/")[-1] for path in after.keys() - before.keys()}
    assert added == {"config.json", "mine.json", "train.json", "sample.json", "evaluate.json"}


def test_files_and_the_params_file_may_both_have_some(project: Path) -> None:
    with open("params.yaml", "a") as file:
        file.write(OWN)
    Path("experiments/.#mine.yaml").write_text("of an editor")
    found = config.load("params.yaml")
    assert {"i2sb/mine", "i2sb/jpeg-5"} <= set(found.experiments)
    layers = workflow.open_params({"scale": "paper"}, ["params.yaml"]).resolved
    assert "i2sb/mine" in layers.experiments
    assert layers.params.scale == "paper"


def test_the_cluster_reads_what_is_included(project: Path) -> None:
    Path("experiments/mine.yaml").write_text(
        "experiments:\n  ddib/classes:\n    some: {scales: [demo], pairs: {3: 8}}\n"
    )
    assert "translate_pairs_of_some" in cluster.gpu_rules(ROOT / "workflow/rules", "params.yaml")


def test_a_file_elsewhere_includes_what_lies_beside_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = project.rename(project.with_name("a [copy]*"))
    monkeypatch.chdir("/")
    found = config.load(odd / "params.yaml")
    assert "i2sb/jpeg-5" in found.experiments
    assert found.at("i2sb/jpeg-5", "beta_max").startswith(f"{odd}/experiments/i2sb.yaml:")


def test_a_name_stands_in_one_file(refused: Wrong) -> None:
    line = refused("experiments:\n  i2sb:\n    jpeg-5: {corruption: jpeg-5}\n")
    # files are read in the order of their names: the second one is refused
    assert "jpeg-5 is already at experiments/i2sb.yaml:5:5 (experiments/mine.yaml:3:5:" in line
    assert "experiments.i2sb.jpeg-5): keep one of the two" in line
    line = refused("datasets:\n  digits: {source: digits}\n")
    assert "digits is already at params.yaml:" in line
    assert "experiments/mine.yaml:2:3" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "scale: paper\n",
            "scale in an included file (experiments/mine.yaml:1:1: scale): write it in params.yaml",
        ),
        ("include: b.yaml\n", "include in an included file (experiments/mine.yaml:1:1: include)"),
        ("runtime: {device: cpu}\n", "runtime in an included file (experiments/mine.yaml:1:1"),
        ("experiments: 3\n", "experiments is no section (experiments/mine.yaml:1:1: experiments)"),
        ("experimnts: {}\n", "experimnts in an included file"),
        ("", "empty file (experiments/mine.yaml)"),
        ("a: [\n", "experiments/mine.yaml:2:1"),
        (OWN.replace("corruption", "coruption"), "unknown key 'coruption' (experiments/mine.yaml:3:12"),
        (OWN.replace("jpeg-5", "jpg-5"), "(experiments/mine.yaml:3:12: experiments.i2sb.mine.corruption)"),
        (OWN.replace("i2sb", "i2b"), "unknown name 'i2b' (experiments/mine.yaml:2:3: experiments.i2b)"),
        (OWN + "    mine: {}\n", "key 'mine' is already on line 3"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_with_its_place(refused: Wrong, text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("experiment/*.yaml", "no file is called experiment/*.yaml (params.yaml:6:1: include): correct"),
        ("[a.yaml]", "include is ['a.yaml'] (params.yaml:6:1: include): give a pattern of files"),
        ("3", "include is 3"),
    ],
)
def test_a_pattern_that_is_none_is_told(project: Path, refused: Wrong, pattern: str, said: str) -> None:
    text = Path("params.yaml").read_text()
    assert text.splitlines()[5].startswith("include: experiments/*.yaml ")
    assert said in refused(text.replace("include: experiments/*.yaml", f"include: {pattern}"), "params.yaml")


def test_the_schema_is_for_every_file(project: Path) -> None:
    schema: dict[str, Any] = json.loads((ROOT / "workflow/schemas/params.schema.json").read_text())
    check = jsonschema.Draft202012Validator(schema)
    for file in ("params.yaml", *map(str, Path("experiments").glob("*.yaml"))):
        check.validate(yaml.safe_load(Path(file).read_text()))
    assert not check.is_valid({"experiments": {"i2sb": {"mine": {"coruption": "jpeg-5"}}}})
    assert including.KEY in schema["properties"]
