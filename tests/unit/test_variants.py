"""Variants of ``sample``: several results of one trained network, side by side."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridgepipe.config import Resolved, read_yaml, schema
from bridgepipe.config.outcomes import Outcomes
from bridgepipe.errors import UserError
from bridgepipe.methods.trained import Trained
from bridgepipe.workflow import Pipeline

ROOT = Path(__file__).parents[2]
PARAMS = read_yaml(ROOT / "params.yaml")
FULL, BASE = "i2sb/jpeg-5.more", "results/i2sb/jpeg-5"


def resolved(method: str, name: str, variants: Any) -> Resolved:
    values = copy.deepcopy(PARAMS)
    values["experiments"][method][name].setdefault("sample", {})["variants"] = variants
    return Resolved(values)


def i2sb(**more: Any) -> Resolved:
    return resolved("i2sb", "jpeg-5", {"more": {"nfe": 20, **more}})


def test_a_variant_is_an_experiment_of_its_own_with_the_network_of_the_other() -> None:
    made = i2sb(sampler="implicit", eta=0.0)
    assert FULL in made.experiments
    assert FULL not in made.defined.trained()
    plain, more = made.stages("i2sb/jpeg-5"), made.stages(FULL)
    assert "train" in plain
    assert "train" not in more
    expected = plain["sample"]["sample"] | {"nfe": 20, "sampler": "implicit", "eta": 0.0}
    assert more["sample"] == plain["sample"] | {"sample": expected}
    files = made.files()["sample"]["i2sb"]["jpeg-5.more"]
    assert files["model"] == f"{BASE}/model.safetensors"
    assert files["train_config"] == f"{BASE}/config/train.json"
    assert files["config"] == f"results/{FULL}/config/sample.json"
    assert made.experiments[FULL].study is None  # the study is of the network, once


def test_what_is_there_already_stays_as_it_is() -> None:
    before, after = Resolved(PARAMS), i2sb()
    assert all(after.stage_files()[path] == content for path, content in before.stage_files().items())
    assert [name for name in after.experiments if name != FULL] == list(before.experiments)
    assert list(after.experiments).index(FULL) == list(after.experiments).index("i2sb/jpeg-5") + 1


def test_it_has_metrics_rows_and_pictures_but_no_loss_and_no_checkpoints() -> None:
    values = copy.deepcopy(PARAMS)
    values["experiments"]["i2sb"]["jpeg-5"] |= {
        "train": {"keep_every": 100},
        "sample": {"variants": {"early": {"checkpoint": 100}}},
    }
    made = Resolved(values)
    ends = Outcomes(made).results("i2sb/jpeg-5.early")
    assert f"{BASE}.early/fid.json" in ends
    assert f"{BASE}.early/figures/grid.png" in ends
    assert not [file for file in ends if "loss" in file or "checkpoints" in file]
    assert f"{BASE}/checkpoints/100.safetensors" in Outcomes(made).results("i2sb/jpeg-5")
    assert made.files()["sample"]["i2sb"]["jpeg-5.early"]["model"] == f"{BASE}/checkpoints/100.safetensors"
    flow = Pipeline(made, plans=False)
    rows = flow.outcomes.metrics(*made.of("i2sb"))
    assert rows.index(f"{BASE}/fid.json") < rows.index(f"{BASE}.early/fid.json")


@pytest.mark.parametrize(
    ("method", "name", "how", "stage"),
    [
        ("spd", "ddim", {"nfe": 20}, "sample"),
        ("ddib/classes", "3-8", {"respacing": "log_snr 20"}, "sample"),
        ("ddib/sample", "moons", {"nfe": 30}, "sample"),
    ],
)
def test_every_method_with_a_section_sample_has_them(method: str, name: str, how: Any, stage: str) -> None:
    made = resolved(method, name, {"v": how})
    one, other = (made.stages(f"{method}/{name}{end}")[stage] for end in ("", ".v"))
    assert one != other
    reads = made.files()[stage]
    for part in method.split("/"):
        reads = reads[part]
    a, b = json.dumps(reads[name]), json.dumps(reads[f"{name}.v"])
    assert a == b.replace(f"/{name}.v/", f"/{name}/")
    assert "train" not in made.stages(f"{method}/{name}.v")


def refusals() -> Iterator[tuple[Any, str]]:
    yield {"more": {"nfes": 20}}, r"unknown key 'nfes'.*jpeg-5\.more\.sample\.nfes.*nfe"
    yield {"more": {"nfe": 0}}, r"impossible value, is 0.*jpeg-5\.more\.sample\.nfe"
    yield {"more": {"nfe": 5000}}, r"sample\.nfe must be below interval"
    yield {"more": 5}, r"jpeg-5\.sample\.variants\.more"
    yield {"a b": {"nfe": 5}}, r"jpeg-5\.sample\.variants.*a name has"
    yield {"more": {"checkpoint": 7}}, r"no checkpoint of step 7.*jpeg-5\.more\.sample\.checkpoint"
    yield {"more": {"variants": {"x": {}}}}, r"variants of a variant"


@pytest.mark.parametrize(("variants", "message"), list(refusals()))
def test_a_wrong_variant_is_told_with_its_key(variants: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolved("i2sb", "jpeg-5", variants)


def test_names_that_are_taken_and_variants_of_a_whole_scale_are_refused() -> None:
    values = copy.deepcopy(PARAMS)
    values["experiments"]["i2sb"]["jpeg-5.more"] = {"corruption": "jpeg-5"}
    values["experiments"]["i2sb"]["jpeg-5"]["sample"] = {"variants": {"more": {"nfe": 5}}}
    with pytest.raises(UserError, match=r"there is an experiment jpeg-5\.more already"):
        Resolved(values)
    values = copy.deepcopy(PARAMS)
    values["scales"]["demo"]["i2sb"]["sample"] |= {"variants": {"more": {"nfe": 5}}}
    with pytest.raises(UserError, match="variants are of an experiment"):
        Resolved(values)


def test_a_variant_is_no_model_that_others_can_name() -> None:
    values = copy.deepcopy(PARAMS)
    values["experiments"]["ddib/sample"]["moons"] = {"sample": {"variants": {"v": {"nfe": 20}}}}
    values["experiments"]["ddib/points"]["moons-checkerboard"] = {"source": "moons.v"}
    with pytest.raises(UserError, match=r"unknown name 'moons\.v'"):
        Resolved(values)


def test_editors_know_the_key_and_verbs_find_the_network(tmp_path: Path) -> None:
    assert "variants" in schema()["$defs"]["Sample"]["properties"]
    for name, content in (("jpeg-5", {}), ("jpeg-5.more", None)):
        (tmp_path / name / "config").mkdir(parents=True)
        if content is not None:
            (tmp_path / name / "config/train.json").write_text("{}")
    assert Trained.within(tmp_path / "jpeg-5.more").model == tmp_path / "jpeg-5/model.safetensors"
