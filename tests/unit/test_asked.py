"""What only data can tell about an experiment: one line from `prepare`, before any image is decoded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_datasets import fill
from test_nonsense import TEXT

from bridgepipe import artifacts, config, workflow
from bridgepipe.cli.data import prepare
from bridgepipe.config import asked
from bridgepipe.errors import UserError

INCEPTION = {"extractor": "inception", "classifier": None}
RESTORED = {"dataset": "mine", "corruption": "blur-uni", "evaluate": INCEPTION}
MODEL = {"dataset": "mine", "conditional": True}
TRANSLATED = {"source_model": "mine", "sample": {"guidance": "none"}, "evaluate": INCEPTION}
SEARCHED = {"model": "mine", "dataset": "mine", "attribute": "cat", "evaluate": {**INCEPTION, "kept": []}}
SMALL = {"mixing": {"images": 10, "folds": 2, "count": 5, "every": 2}, "edit": {"images": 2}}


def prepared(folder: Path, method: str, experiment: dict[str, Any], conditional: bool = True) -> list[str]:
    """Prepare the data of an experiment as the workflow does."""
    values = json.loads(TEXT)
    path = str(folder / "in")
    values["datasets"]["mine"] = {"source": "folder", "path": path, "size": 16}
    values["experiments"]["model"]["mine"] = {**MODEL, "conditional": conditional}
    values["experiments"][method]["mine"] = experiment
    resolved = config.Resolved(values)
    files = {**resolved.stage_files(), **resolved.asked_files()}
    for name in ("config.json", asked.FILE):
        artifacts.write_json(folder / name, files[f"data/prepared/mine/{name}"])
    prepare(folder / "config.json", folder / "out")
    return sorted(store.name for store in (folder / "out").glob("*.lmdb"))


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
        "class '?2'? in the data .*mine.source",
    ),
    "name": (
        "ddib/classes",
        {**TRANSLATED, "source": "cat", "target": "owl"},
        "owl.* in the data .*mine.target",
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
    "attribute": ("boundary", {**SEARCHED, **SMALL, "attribute": "bird"}, "bird.* in the data .*attribute"),
    "against": ("boundary", {**SEARCHED, **SMALL, "against": "bird"}, "bird.* in the data .*mine.against"),
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
def test_what_the_data_lack_stops_preparation(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, experiment, expected = CASES[case]
    monkeypatch.setattr("bridgepipe.datasets.folder.load_file", lambda *_, **__: pytest.fail("decoded"))
    monkeypatch.setattr("bridgepipe.config.data.folders_of", lambda dataset: None)  # not there in the dry run
    fill(tmp_path / "in/cat", 20)
    fill(tmp_path / "in/dog", 20)
    with pytest.raises(UserError, match=expected) as error:
        prepared(tmp_path, method, {**experiment, "scales": ["demo"]}, conditional=method != "boundary")
    assert re.search(rf"\(params\.yaml: (scales\.demo|experiments)\.{method}[. ]", str(error.value))
    assert not (tmp_path / "out").exists()


def test_data_without_classes_have_none_to_translate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridgepipe.config.data.folders_of", lambda dataset: None)
    fill(tmp_path / "in", 20)
    with pytest.raises(UserError, match=r"the images have no classes .*mine\.source"):
        prepared(tmp_path, "ddib/classes", {**TRANSLATED, "source": 0, "target": 1, "scales": ["demo"]})


def test_what_the_data_have_is_prepared(tmp_path: Path) -> None:
    fill(tmp_path / "in/cat", 20)
    fill(tmp_path / "in/dog", 20)
    searched = {**SEARCHED, **SMALL, "against": "dog"}
    assert prepared(tmp_path, "boundary", searched, conditional=False) == [
        "test.lmdb",
        "train.lmdb",
        "val.lmdb",
    ]


def test_only_data_that_can_lack_something_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of embedded data params.yaml tells it. What is asked is no input, which would prepare them again."""
    monkeypatch.chdir(tmp_path)
    resolved = config.Resolved({**json.loads(TEXT), "scale": "paper"})
    files = {Path(path).parent.name: content["asked"] for path, content in resolved.asked_files().items()}
    assert files["digits-16"] == files["sample-photos"] == []
    assert {one["where"].rpartition(".")[2] for one in files["imagenet256"]} == {"source", "target", "cycle"}
    assert not set(resolved.asked_files()) & set(resolved.stage_files())
    assert workflow.Pipeline(resolved).write_unless_at_work()
    assert artifacts.read_object(f"data/prepared/afhq/{asked.FILE}") == {"asked": files["afhq"]}
    snakefiles = (Path(__file__).parents[2] / "workflow/rules").glob("*.smk")
    assert not [file for file in snakefiles if asked.FILE in file.read_text()]


def test_an_experiment_that_is_written_later_is_compared_in_the_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "in", 20)
    values = json.loads(TEXT)
    values["datasets"]["mine"] = {"source": "folder", "path": "in", "size": 16}
    folder = Path("data/prepared/mine")

    def planned(count: int) -> list[str]:
        values["experiments"]["i2sb"]["mine"] = {**RESTORED, "sample": {"count": count}}
        pipeline = workflow.Pipeline(config.Resolved(values))
        assert pipeline.write_unless_at_work()
        return pipeline.listing_of("mine")

    (file,) = planned(4)
    prepare(folder / "config.json", folder, Path(file))
    assert artifacts.read_object(folder / asked.COUNTS)["items"] == {"train": 14, "val": 2, "test": 4}
    with pytest.raises(SystemExit):
        planned(5)
    assert "5 of the 4 items in the split test (params.yaml: experiments.i2sb.mine" in capsys.readouterr().err
    for i in range(20, 30):
        (tmp_path / f"in/{i}.png").write_bytes((tmp_path / "in/001.png").read_bytes())
    planned(5)  # the pictures are prepared again, which compares them
    prepare(folder / "config.json", folder, Path(file))
    planned(6)
    with pytest.raises(SystemExit):
        planned(7)
