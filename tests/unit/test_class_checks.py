"""Classes in params.yaml: classifiers that don't know the data, and experiments without a classifier."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridgepipe import config, workflow
from bridgepipe.config import read_yaml
from bridgepipe.errors import UserError

ROOT = Path(__file__).parents[2]
VALUES = read_yaml(ROOT / "params.yaml")


def values() -> dict[str, Any]:
    return copy.deepcopy(VALUES)


def test_without_a_classifier_there_is_no_accuracy() -> None:
    told = values()
    told["experiments"]["i2sb"]["jpeg-5"]["evaluate"] = {"classifier": None}
    told["experiments"]["ddib/classes"]["3-8"]["evaluate"] = {"classifier": None}
    told["experiments"]["boundary"]["loop"]["evaluate"] = {"classifier": None, "preserved": ["ink"]}
    pipeline = workflow.Pipeline(config.Resolved(told))
    for name in ("i2sb/jpeg-5", "ddib/classes/3-8"):
        assert f"results/{name}/accuracy.json" not in pipeline.outcomes.results(name)
        assert f"results/{name}/fid.json" in pipeline.outcomes.results(name)
        with pytest.raises(SystemExit):
            pipeline.classifier(name)
    assert "results/i2sb/jpeg-10/accuracy.json" in pipeline.outcomes.results()
    assert "results/i2sb/jpeg-5/accuracy.json" not in pipeline.outcomes.results()
    assert "results/boundary/loop/accuracy.json" in pipeline.outcomes.results("boundary/loop")
    del told["experiments"]["i2sb"]["jpeg-5"]  # for which a rule may be asked all the same
    assert workflow.Pipeline(config.Resolved(told)).outcomes.results("i2sb/jpeg-5")
    judge = pipeline.files["evaluate"]["boundary"]["loop"]["classifier"]
    assert judge == "results/boundary/loop/judge.safetensors"


def own(path: Path, **evaluate: Any) -> dict[str, Any]:
    """The parameters with a folder of one's own that is restored."""
    told = values()
    told["datasets"]["mine"] = {"source": "folder", "path": str(path), "size": 32}
    told["experiments"]["i2sb"]["mine"] = {"scales": ["demo"], "dataset": "mine", "corruption": "jpeg-5"}
    told["experiments"]["i2sb"]["mine"]["evaluate"] = evaluate
    return told


def test_own_pictures_by_the_features_of_digits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"evaluate\.extractor\): .*trained on these images, or inception"):
        config.Resolved(own(tmp_path, classifier=None))
    config.Resolved(own(tmp_path, extractor="inception", classifier=None))


def test_own_pictures_as_the_page_says() -> None:
    page = (ROOT / "docs/own-data.md").read_text("utf8")
    block = re.search(r"```yaml\n(datasets:\n  mine-noise:.*?)```", page, re.DOTALL)
    assert block is not None
    own, told = yaml.safe_load(block[1]), values()
    told["datasets"] |= own["datasets"]
    told["experiments"]["i2sb"] |= own["experiments"]["i2sb"]
    pipeline = workflow.Pipeline(config.Resolved(told))
    assert "results/i2sb/mine-noise/restoration.json" in pipeline.outcomes.results("i2sb/mine-noise")


@pytest.mark.parametrize("folders", [["with", "without"], ["train/cat", "train/dog"], []])
def test_own_classes_by_a_classifier_of_digits(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(UserError, match=r"0, 1, 2, 3, 4, … \(10 classes\).*evaluate\.classifier"):
        config.Resolved(own(tmp_path, extractor="inception", classifier="digits-classifier"))


@pytest.mark.parametrize("folders", [["3", "8"], ["train/3", "test/8"]])
def test_own_folders_that_are_named_as_the_classifier_names_them(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    told = own(tmp_path, extractor="inception", classifier="digits-classifier")
    assert "i2sb/mine" in config.Resolved(told).experiments
    told["datasets"]["mine"]["path"] = str(tmp_path / "not-there-yet")
    assert "i2sb/mine" in config.Resolved(told).experiments


def test_a_guide_of_all_digits_leads_to_a_model_of_some() -> None:
    told = values()
    told["experiments"]["ddib/classes"]["3-8"]["target_model"] = "digits-high"
    assert "ddib/classes/3-8" in config.Resolved(told).experiments


def test_translation_without_a_target_class_has_none_to_recognise() -> None:
    told = values()
    plain = {
        "source_model": "ddpm",
        "target_model": "ddpm.seed-1",
        "sample": {"guidance": "none"},
        "scales": ["demo"],
    }
    told["experiments"]["ddib/classes"]["plain"] = plain
    with pytest.raises(UserError, match=r"no target class.*set evaluate.classifier to null"):
        config.Resolved(told)
    plain["evaluate"] = {"classifier": None}
    assert "ddib/classes/plain" in config.Resolved(told).experiments
