"""params.yaml: one truth, clear refusals, exact stages."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from bridgepipe import artifacts, config
from bridgepipe.config.i2sb import RestorationSampling, Study
from bridgepipe.config.stage_files import read_stage
from bridgepipe.config.values import Strict
from bridgepipe.errors import UserError

ROOT = Path(__file__).parents[2]
PARAMS = config.read_yaml(ROOT / "params.yaml")
Edit = Callable[[dict[str, Any]], Any]


def edited(edit: Edit) -> dict[str, Any]:
    values = copy.deepcopy(PARAMS)
    edit(values)
    return values


def refusal(edit: Edit) -> str:
    with pytest.raises(UserError) as e:
        config.Resolved(edited(edit))
    return str(e.value)


def changed_files(edit: Edit) -> set[str]:
    before, after = config.Resolved(PARAMS).stage_files(), config.Resolved(edited(edit)).stage_files()
    return {path for path in before if before[path] != after.get(path)}


def demo(values: dict[str, Any]) -> dict[str, Any]:
    return values["scales"]["demo"]["i2sb"]


REFUSALS: dict[str, tuple[Edit, str]] = {
    "unknown key at the top": (lambda v: v.update(scal="x"), "unknown key 'scal'.*did you mean 'scale'"),
    "unknown key in a default": (
        lambda v: demo(v)["train"].update(stepz=3),
        r"params.yaml: scales.demo.i2sb.train.stepz\): did you mean 'steps'",
    ),
    "unknown key at the other scale": (
        lambda v: v["scales"]["paper"]["i2sb"].update(datset="digits"),
        r"scales.paper.i2sb.datset\): did you mean 'dataset'",
    ),
    "unknown key in an experiment": (
        lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(beta=0.3),
        r"experiments.i2sb.jpeg-5.beta\): did you mean 'beta_max'",
    ),
    "wrong type": (lambda v: demo(v)["train"].update(steps="3"), "is '3'.*train.steps.*integer"),
    "number for a switch": (lambda v: demo(v).update(ot_ode=1), "is 1.*ot_ode.*boolean"),
    "impossible value": (lambda v: demo(v)["train"].update(lr=0), "is 0.*train.lr.*greater than 0"),
    "odd interval": (lambda v: demo(v).update(interval=7), "is 7.*interval.*multiple of 2"),
    "more calls than steps": (lambda v: demo(v)["sample"].update(nfe=1000), "nfe must be below interval"),
    "unknown dataset": (
        lambda v: demo(v).update(dataset="digit"),
        "unknown name 'digit'.*did you mean 'digits'",
    ),
    "unknown extractor": (
        lambda v: demo(v)["evaluate"].update(extractor="x"),
        "unknown name 'x'.*nearest of 9: .*resnet50",
    ),
    "split that is not there": (
        lambda v: v.update(scale="paper") or v["scales"]["paper"]["i2sb"]["sample"].update(split="test"),
        "unknown name 'test'.*valid: val",
    ),
    "unknown scale": (lambda v: v.update(scale="demos"), "unknown name 'demos'.*did you mean 'demo'"),
    "unknown method": (lambda v: v["experiments"].update(i2s={}), "experiments.i2s"),
    "missing key": (lambda v: demo(v)["train"].pop("steps"), "missing key 'steps'"),
    "path of an embedded source": (
        lambda v: v["datasets"]["digits"].update(path="x"),
        "unknown key 'path'.*datasets.digits.path.*valid: source, size, seed",
    ),
    "folder without a path": (
        lambda v: v["datasets"]["digits"].update(source="folder"),
        "missing key 'path'.*datasets.digits.path",
    ),
    "unknown source": (lambda v: v["datasets"]["digits"].update(source="digitz"), "did you mean 'digits'"),
    "size of zero": (lambda v: v["datasets"]["digits"].update(size=0), "is 0.*datasets.digits.size"),
    "unknown device": (lambda v: v["runtime"].update(device="gpu"), "is 'gpu'.*runtime.device.*'cuda'"),
    "name with a slash": (lambda v: v["datasets"].update({"a/b": {"source": "digits"}}), "a/b"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_is_one_line_with_key_and_mend(case: str) -> None:
    import re

    edit, expected = REFUSALS[case]
    message = refusal(edit)
    assert re.search(expected, message), message
    assert "\n" not in message


def test_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'i2sb/jpeg-5'"):
        config.Resolved(PARAMS).experiment("i2sb/jpg-5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a: [1", "not YAML"), ("- 1", "not a mapping"), ("", "empty file")],
)
def test_unreadable_files(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=expected):
        config.load(tmp_path / "params.yaml")
    with pytest.raises(UserError, match="no such file"):
        config.load(tmp_path / "other.yaml")


def test_sections_merge_and_values_replace() -> None:
    defaults = {"a": 1, "train": {"lr": 1, "steps": 2}, "list": [1, 2]}
    own = {"train": {"lr": 3}, "list": [4], "b": 5}
    assert config.merge(defaults, own) == {"a": 1, "b": 5, "train": {"lr": 3, "steps": 2}, "list": [4]}


def test_an_experiment_exists_at_the_scales_that_it_names() -> None:
    own = {"corruption": "jpeg-5", "beta_max": 0.3, "scales": ["paper"]}
    values = edited(lambda v: v["experiments"]["i2sb"].update(only=own))
    assert "i2sb/only" not in config.Resolved(values).experiments
    at_paper = config.Resolved({**values, "scale": "paper"})
    assert at_paper.experiment("i2sb/only").corruption == "jpeg-5"
    unknown = refusal(lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(scales=["papers"]))
    assert "experiments.i2sb.jpeg-5.scales" in unknown
    assert "did you mean 'paper'" in unknown
    assert "jpeg-5.scales" in refusal(lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(scales=[]))


E = "results/i2sb/jpeg-5/config"
EDITS: dict[str, tuple[Edit, set[str]]] = {
    "nfe": (lambda v: demo(v)["sample"].update(nfe=7), {f"{E}/sample.json"}),
    "batch size of training": (lambda v: demo(v)["train"].update(batch_size=7), {f"{E}/train.json"}),
    "learning rate": (lambda v: demo(v)["train"].update(lr=1e-3), {f"{E}/train.json"}),
    "network": (lambda v: demo(v)["network"].update(num_res_blocks=2), {f"{E}/train.json"}),
    "corruption's bridge": (
        lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(beta_max=0.5),
        {f"{E}/train.json", f"{E}/sample.json"},
    ),
    "reference split": (lambda v: demo(v)["evaluate"].update(reference="val"), {f"{E}/evaluate.json"}),
    "runtime": (
        lambda v: v["runtime"].update(device="cpu", precision="bf16", partitions=5, batch_size=3),
        {"results/config/runtime.json"},
    ),
    "dataset seed": (lambda v: v["datasets"]["digits"].update(seed=9), {"data/prepared/digits/config.json"}),
    "the other scale": (lambda v: v["scales"]["paper"]["i2sb"]["train"].update(lr=1e-3), set()),
}


@pytest.mark.parametrize("case", EDITS)
def test_edit_changes_the_files_of_its_stages_only(case: str) -> None:
    edit, expected = EDITS[case]
    files = {f for f in changed_files(edit) if f.startswith(E) or not f.startswith("results/i2sb")}
    assert files == expected


def test_twins_on_photographs_differ_by_their_schedule_alone() -> None:
    """What `spd/photos` is compared with has its data, network, training and calls."""
    experiments = config.load(ROOT / "params.yaml").experiments
    twins = [experiments[f"model/photos-{name}"].model_dump() for name in ("spd", "ddpm")]
    schedules = [twin["process"].pop("schedule") for twin in twins]
    assert schedules == ["shortest_path", "linear"]
    assert twins[0] == twins[1]
    for calls in ("", "-50"):
        pair = [experiments[f"spd/photos{name}{calls}"].model_dump() for name in ("", "-ddpm")]
        assert [one.pop("model") for one in pair] == ["photos-spd", "photos-ddpm"]
        assert pair[0] == pair[1]


def test_order_of_keys_and_comments_change_nothing() -> None:
    reordered = {k: PARAMS[k] for k in reversed(PARAMS)}
    assert config.Resolved(reordered).stage_files() == config.Resolved(PARAMS).stage_files()


def test_schema_file_is_current() -> None:
    written = json.loads((ROOT / "workflow/schemas/params.schema.json").read_text())
    assert written == config.schema(), "run `make schema`"


def test_schema_accepts_params_and_refuses_a_typo() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(PARAMS, config.schema())
    typo = edited(lambda v: demo(v)["train"].update(stepz=3))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(typo, config.schema())


def of(source: str, **values: Any) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Classes and attributes of a dataset, as far as params.yaml tells them."""
    dataset = TypeAdapter(config.Dataset).validate_python({"source": source, **values})
    return config.classes_of(dataset), config.attributes_of(dataset)


def test_classes_that_the_source_tells() -> None:
    assert of("digits") == (tuple("0123456789"), ("loop", "even", "has_loop", "ink", "slant", *"0123456789"))
    assert of("digit-classes", classes=(7, 2)) == (("7", "2"), ("even", "has_loop", "ink", "slant", "7", "2"))
    assert of("sample-photos")[0] == ("people", "nature", "buildings", "objects", "science")
    measured = ("brightness", "warmth")
    assert of("afhq") == (("cat", "dog", "wild"), ("cat", "dog", "wild", *measured))
    assert of("afhq", domain="dog") == of("lsun", path="x", category="tower") == ((), measured)
    classes = {"warmth": ("rocket", "coffee"), "cool": ("china", "brick")}
    assert of("sample-photos", classes=classes) == (("warmth", "cool"), ("warmth", "cool", "brightness"))
    classes, attributes = of("celebahq")
    assert classes == ()
    assert attributes is not None
    assert len(attributes) == 40 + 2
    assert {"Smiling", "Young", "5_o_Clock_Shadow"} <= set(attributes)
    classes, _ = of("imagenet", path="x")
    assert classes is not None
    assert len(classes) == 1000
    assert of("folder", path="x") == of("pairs", path="x") == (None, None)


def test_a_key_that_no_verb_reads_is_refused(tmp_path: Path) -> None:
    experiment = config.load(ROOT / "params.yaml").experiment("i2sb/jpeg-5")
    written = experiment.stages()["sample"].as_json()
    written["sample"]["neff"] = 4
    artifacts.write_json(tmp_path / "a.json", written)
    with pytest.raises(UserError, match=r"unknown key 'sample.neff' \(.*a.json\): did you mean 'nfe'"):
        read_stage(tmp_path / "a.json", RestorationSampling)


def test_a_former_key_in_a_file_of_a_stage_is_answered_with_its_present_name(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a.json", {"walks": {"ancestral": {}}})
    with pytest.raises(UserError, match=r"the key 'walks' was renamed \(.*a.json\): write samplers"):
        read_stage(tmp_path / "a.json", Study)


def test_former_keys_are_no_keys_and_their_present_names_are() -> None:
    def below(kind: type[Strict]) -> set[type[Strict]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    renaming = [kind for kind in below(Strict) if kind.renamed]
    assert {"Study", "GaussianStudy", "CycleSettings", "EditMeasures"} <= {kind.__name__ for kind in renaming}
    for kind in renaming:
        assert set(kind.renamed.values()) <= kind.model_fields.keys()
        assert not kind.renamed.keys() & kind.model_fields.keys()
