"""What only data can tell about an experiment stops its first stage and its dry runs, no other experiment."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_datasets import fill
from test_nonsense import TEXT

from bridgepipe import artifacts, cli, config, workflow
from bridgepipe.cli.train import prepare
from bridgepipe.config import asked
from bridgepipe.config.stage_files import check_asked
from bridgepipe.errors import UserError

INCEPTION = {"extractor": "inception", "classifier": None}
RESTORED = {"dataset": "mine", "corruption": "blur-uni", "evaluate": INCEPTION}
MODEL = {"dataset": "mine", "conditional": True}
TRANSLATED = {"source_model": "mine", "sample": {"guidance": "none"}, "evaluate": INCEPTION}
SEARCHED = {
    "model": "mine",
    "dataset": "mine",
    "attribute": "cat",
    "evaluate": {**INCEPTION, "preserved": []},
}
SMALL = {"mixing": {"images": 10, "folds": 2, "count": 5, "every": 2}, "edit": {"images": 2}}


FIRST = {  # the first stage of an experiment
    "i2sb": ("train", "train"),
    "ddib/classes": ("sample", "translate-classes"),
    "boundary": ("mixing", "boundary mixing"),
}


def values_of(method: str, experiment: dict[str, Any], conditional: bool = True) -> dict[str, Any]:
    """Parameters with an experiment on the pictures of a folder."""
    values = json.loads(TEXT)
    values["datasets"]["mine"] = {"source": "folder", "path": "in", "size": 16}
    values["experiments"]["model"]["mine"] = {**MODEL, "conditional": conditional}
    values["experiments"][method]["mine"] = experiment
    return values


def written(values: dict[str, Any]) -> workflow.Pipeline:
    """The pipeline of parameters, with all files of stages as they are."""
    pipeline = workflow.Pipeline(config.Resolved(values))
    assert pipeline.write_unless_at_work()
    return pipeline


def prepared(pipeline: workflow.Pipeline) -> dict[str, Any]:
    """Prepare the pictures as the rule does; what they are counted as."""
    folder = Path("data/prepared/mine")
    (file,) = pipeline.sources.listing_of("mine")
    prepare(folder / "config.json", folder, Path(file))
    return artifacts.read_object(folder / asked.COUNTS)


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "count": (
        "i2sb",
        {**RESTORED, "sample": {"count": 9}},
        "9 of the 8 items in the split test .*sample.count",
    ),
    "study": ("i2sb", {**RESTORED, "study": {"count": 50}}, "50 of the 8 items .*study.count"),
    "number": (
        "ddib/classes",
        {**TRANSLATED, "source": 2, "target": 0},
        "class '?2'? .*mine.source",
    ),
    "name": (
        "ddib/classes",
        {**TRANSLATED, "source": "cat", "target": "owl"},
        "lacks: no class .owl.*mine.target",
    ),
    "cycle": (
        "ddib/classes",
        {**TRANSLATED, "source": "cat", "target": "dog", "cycle": 5},
        "5 of the 4 items of class cat in the split test .*mine.cycle",
    ),
    "count of a class": (
        "ddib/classes",
        {**TRANSLATED, "source": 1, "target": 0, "sample": {"guidance": "none", "count": 6}},
        "6 of the 4 items of class dog .*sample.count",
    ),
    "attribute": (
        "boundary",
        {**SEARCHED, **SMALL, "attribute": "bird"},
        "lacks: .* .bird.*mine.attribute",
    ),
    "against": ("boundary", {**SEARCHED, **SMALL, "against": "bird"}, "lacks: no class .bird.*mine.against"),
    "images": (
        "boundary",
        {**SEARCHED, **SMALL, "search": {"images": 30}},
        "30 of the 28 items .*search.images",
    ),
    "folds": (
        "boundary",
        {**SEARCHED, **SMALL, "mixing": {**SMALL["mixing"], "folds": 15, "images": 30}},
        "30 of the 28 items .*mixing.images",
    ),
    "edits": ("boundary", {**SEARCHED, **SMALL, "edit": {"images": 9}}, "9 of the 8 items .*edit.images"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_data_lack_stops_the_first_stage_that_reads_them(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    method, experiment, expected = CASES[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "bridgepipe.config.contents.folders_of", lambda dataset: None
    )  # not there in the dry run
    fill(tmp_path / "in/cat", 20)
    fill(tmp_path / "in/dog", 20)
    values = values_of(method, {**experiment, "scales": ["demo"]}, conditional=method != "boundary")
    pipeline = written(values)
    stage, verb = FIRST[method]
    file = Path(f"results/{method}/mine/config/{stage}.json")
    assert check_asked(file) == file  # nothing is known yet
    assert prepared(pipeline)["items"] == {"train": 28, "val": 4, "test": 8}
    with pytest.raises(UserError, match=expected) as error:
        check_asked(file)
    assert error.value.what.startswith(f"{method}/mine asks for ")
    assert re.search(rf"\(params\.yaml: (scales\.demo|experiments)\.{method}[. ]", str(error.value))
    monkeypatch.setattr("sys.argv", ["bridgepipe", "stage", *verb.split(), "--config", str(file)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"bridgepipe: {error.value}\n"
    with pytest.raises(SystemExit):
        written(values).sources.check_asked(f"{method}/mine")
    assert capsys.readouterr().err == f"bridgepipe: {error.value}\n"


def test_data_without_classes_have_none_to_translate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bridgepipe.config.contents.folders_of", lambda dataset: None)
    fill(tmp_path / "in", 20)
    translated = {**TRANSLATED, "source": 0, "target": 1, "scales": ["demo"]}
    prepared(written(values_of("ddib/classes", translated)))
    with pytest.raises(UserError, match=r"a class, and the images of mine have none .*mine\.source"):
        check_asked(Path("results/ddib/classes/mine/config/sample.json"))


def test_what_the_data_have_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "in/cat", 20)
    fill(tmp_path / "in/dog", 20)
    pipeline = written(values_of("boundary", {**SEARCHED, **SMALL, "against": "dog"}, conditional=False))
    counts = prepared(pipeline)
    assert counts["members"] == {"train": [14, 14], "val": [2, 2], "test": [4, 4]}
    check_asked(Path("results/boundary/mine/config/mixing.json"))
    pipeline.sources.check_asked("boundary/mine")


def test_only_data_that_can_lack_something_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of embedded data params.yaml tells it. What is asked is no input, which would make stages again."""
    monkeypatch.chdir(tmp_path)
    resolved = config.Resolved({**json.loads(TEXT), "scale": "paper"})
    files = resolved.asked_files()
    every = [one for content in files.values() for one in content["asked"]]
    assert {one["dataset"] for one in every} & {"digits-16", "sample-photos"} == set()
    found = {(one["dataset"], one["where"].rpartition(".")[2]) for one in every}
    of_imagenet = {(dataset, key) for dataset, key in found if dataset.startswith("imagenet256")}
    pairs = "imagenet256-pairs"
    assert of_imagenet == {(pairs, "source"), ("imagenet256-adm", "target"), (pairs, "cycle")}
    for path, content in files.items():
        assert {f"results/{one['experiment']}/config/asked.json" for one in content["asked"]} <= {path}
    assert not set(files) & set(resolved.stage_files())
    assert workflow.Pipeline(resolved).write_unless_at_work()
    assert all(artifacts.read_object(path) == content for path, content in files.items())
    snakefiles = (Path(__file__).parents[2] / "workflow/rules").glob("*.smk")
    assert not [file for file in snakefiles if asked.FILE in file.read_text()]


def test_an_edit_is_compared_in_the_dry_run_until_the_data_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One experiment that asks too much stops neither the data nor another experiment on them."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "in", 20)
    values = values_of("i2sb", RESTORED, conditional=False)

    def planned(count: int) -> workflow.Pipeline:
        values["experiments"]["i2sb"]["mine"] = {**RESTORED, "sample": {"count": count}}
        values["experiments"]["i2sb"]["other"] = {**RESTORED, "sample": {"count": 2}}
        pipeline = written(values)
        pipeline.sources.check_asked("i2sb/other")
        pipeline.sources.check_asked("i2sb/mine")
        return pipeline

    planned(50)  # nothing is known
    assert prepared(planned(50))["items"] == {"train": 14, "val": 2, "test": 4}
    check_asked(Path("results/i2sb/other/config/train.json"))
    planned(4)
    with pytest.raises(SystemExit):
        planned(5)
    line = "i2sb/mine asks for 5 of the 4 items in the split test of mine (params.yaml: experiments.i2sb.mine"
    assert line in capsys.readouterr().err
    for i in range(20, 30):
        shutil.copy(tmp_path / "in/001.png", tmp_path / f"in/{i}.png")
    prepared(planned(5))  # the pictures are prepared again, and the counts are of other pictures until then
    planned(6)
    with pytest.raises(SystemExit):
        planned(7)


def test_pictures_that_are_skipped_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "in/cat", 10)
    fill(tmp_path / "in/dog", 10)
    for name in ("cat/000", "cat/001", "cat/002"):
        (tmp_path / f"in/{name}.png").write_bytes(b"no picture")
    values = values_of("i2sb", RESTORED, conditional=False)
    values["datasets"]["mine"] |= {"skip_bad": True}
    members = prepared(written(values))["members"]
    assert [sum(of) for of in zip(*members.values(), strict=True)] == [7, 10]
