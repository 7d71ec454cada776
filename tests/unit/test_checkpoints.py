"""Checkpoints that a training keeps, several averages, and what names them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from test_train_verb import Training, extractor_of, store
from test_training import RECIPE, RUNNING, Tiny, network, objective, same, stopped_at
from typer.testing import CliRunner

from bridgepipe import artifacts, cli
from bridgepipe.config import Resolved, read_yaml
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.validation import Validation
from bridgepipe.errors import UserError
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.training import loop

ROOT = Path(__file__).parents[2]
KEPT = RECIPE.model_copy(update={"keep_every": 5})
CARD = {"kind": "tiny"}


def run(folder: Path, recipe: Recipe = KEPT, loss=objective, **identity: Any) -> dict[str, torch.Tensor]:
    about = {"config": {"lr": 1e-2}, "data": "abc", **identity}
    return loop.train(network(), loss, Tiny(), recipe, RUNNING, folder, about, card=CARD)


def kept(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("kept-*/*.safetensors")}


def test_a_checkpoint_is_what_a_training_of_so_many_steps_makes(tmp_path: Path) -> None:
    last = run(tmp_path / "long")
    assert sorted(kept(tmp_path / "long")) == ["10.safetensors", "5.safetensors"]
    (file,) = (tmp_path / "long").glob("kept-*/5.safetensors")
    weights, card = artifacts.load_tensors(file, CARD)
    assert card["step"] == 5
    assert same(weights, run(tmp_path / "short", KEPT.model_copy(update={"steps": 5})))
    assert same(last, run(tmp_path / "plain", RECIPE))  # what is kept changes no number


@pytest.mark.parametrize("stop_at", [4, 5, 7, 11])
def test_checkpoints_of_an_interrupted_run_have_the_bytes_of_an_undisturbed_one(
    tmp_path: Path, stop_at: int
) -> None:
    recipe = KEPT.model_copy(update={"ema": (0.9, 0.5), "lr_anneal_steps": 20})
    with pytest.raises(Interrupted):
        run(tmp_path / "a", recipe, stopped_at(stop_at))
    assert same(run(tmp_path / "a", recipe), run(tmp_path / "b", recipe))
    assert kept(tmp_path / "a") == kept(tmp_path / "b")
    assert len(kept(tmp_path / "a")) == 5  # both averages of 5 and 10, and the second of 12


def test_a_crash_between_two_states_loses_no_checkpoint(tmp_path: Path) -> None:
    def crashing(network: torch.nn.Module, batch: Any) -> torch.Tensor:
        if len(kept(tmp_path / "a")) == 1:
            raise RuntimeError("power cut")
        return objective(network, batch)

    with pytest.raises(RuntimeError):
        run(tmp_path / "a", loss=crashing)
    run(tmp_path / "a")
    run(tmp_path / "b")
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


def test_each_average_is_that_of_a_training_with_its_decay_alone(tmp_path: Path) -> None:
    both = RECIPE.model_copy(update={"ema": (0.9, 0.5)})
    first = run(tmp_path / "both", both)
    (file,) = (tmp_path / "both").glob("kept-*/12-ema-0.5.safetensors")
    for decay, found in ((0.9, first), (0.5, artifacts.load_tensors(file)[0])):
        assert same(found, run(tmp_path / str(decay), RECIPE.model_copy(update={"ema": decay})))


def test_another_training_in_the_folder_overwrites_no_checkpoint(tmp_path: Path) -> None:
    run(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.glob("kept-*/*.safetensors")}
    run(tmp_path, data="other")
    assert all(file.read_bytes() == content for file, content in before.items())
    assert len(list(tmp_path.glob("kept-*"))) == 2
    run(tmp_path, code="edited")  # asks or goes on: it is no other training
    assert len(list(tmp_path.glob("kept-*"))) == 2


def test_learning_rate_is_annealed_to_zero_in_a_line(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"lr_gamma": 1.0, "lr_anneal_steps": 16})
    run(tmp_path, recipe)
    rows = [row.split(",") for row in (tmp_path / "train.csv").read_text().splitlines()[1:]]
    assert [float(r[3]) for r in rows] == pytest.approx([1e-2 * (1 - step / 16) for step in range(12)])


def test_settings_without_the_keys_are_told_as_before() -> None:
    told = Recipe(steps=5).as_json()
    assert not {"keep_every", "lr_anneal_steps", "validation"} & told.keys()
    assert told["ema"] == 0.99
    document = read_yaml(ROOT / "params.yaml")
    stages = Resolved(document).stages("spd/ddpm")
    assert not {"checkpoint", "ema"} & stages["sample"]["sample"].keys()


def changed(method: str = "i2sb", name: str = "jpeg-5", **at: Any) -> Resolved:
    """params.yaml with other sections of an experiment, such as ``sample={...}``."""
    values = read_yaml(ROOT / "params.yaml")
    values["experiments"][method][name] |= at
    return Resolved(values)


@pytest.mark.parametrize(
    ("train", "sample", "message"),
    [
        (
            {"keep_every": 100},
            {"checkpoint": 150},
            r"no checkpoint of step 150 .*sample\.checkpoint.*100, 200",
        ),
        ({}, {"checkpoint": 150}, r"no checkpoint of step 150 .*change train\.keep_every"),
        ({"ema": [0.99, 0.9]}, {"ema": 0.5}, r"no average of decay 0\.5 .*sample\.ema.*0\.99, 0\.9"),
        ({"published": "i2sb/jpeg-5"}, {"checkpoint": 150}, "weights are imported"),
        ({"lr_anneal_steps": 5}, {}, "learning rate is 0 after 5 steps"),
        ({"ema": [0.9, 0.9]}, {}, "0.9 comes twice"),
        ({"keep_every": 0}, {}, "train.keep_every"),
        ({"keep_every": 10_000}, {}, "keep_every is 10000, the training ends after [0-9]+ steps"),
        ({"validation": {"every": 10_000}}, {}, "validation.every is 10000, the training ends after"),
        ({}, {"checkpoint": "latest"}, "sample.checkpoint"),
    ],
)
def test_weights_that_no_training_keeps_are_refused(train: Any, sample: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        changed(train=train, sample=sample)


KEPT_BY = ("model", "guide", "ddib/sample", "ddib/cloud")
LOOKED_AT = {
    "boundary": "loop",
    "ddib/classes": "3-8-separate",
    "ddib/points": "moons-checkerboard",
    "ddib/color": "rgb",
}


def of_others(method: str, name: str = "", kept: bool = True, **at: Any) -> Resolved:
    """params.yaml with other keys of an experiment whose networks others train, which keep checkpoints."""
    values = read_yaml(ROOT / "params.yaml")
    for kind in KEPT_BY if kept else ():
        validation = {"every": 100, "images": 8, "split": "test" if "ddib" in kind else "val"}
        keeping = {"keep_every": 100, "ema": [0.99, 0.9], "validation": validation}
        values["scales"]["demo"][kind]["train"] |= keeping
    own = values["experiments"][method][name or LOOKED_AT[method]]
    own |= {key: {**own.get(key, {}), **v} if isinstance(v, dict) else v for key, v in at.items()}
    return Resolved(values)


@pytest.mark.parametrize(
    ("said", "file"),
    [
        ({"checkpoint": 100}, "100.safetensors"),
        ({"checkpoint": "best"}, "best.safetensors"),
        ({"checkpoint": 200, "ema": 0.9}, "200-ema-0.9.safetensors"),
    ],
)
def test_methods_that_use_models_of_others_name_their_checkpoints(said: dict[str, Any], file: str) -> None:
    last, boundary = of_others("boundary"), of_others("boundary", **said)
    assert last.stages("model/ddpm") == boundary.stages("model/ddpm")
    assert not said.keys() & last.stages("boundary/loop")["latents"].keys()
    for stage in ("mixing", "latents", "edit"):
        model = boundary.files()[stage]["boundary"]["loop"]["model"]
        assert model == f"results/model/ddpm/checkpoints/{file}"
    for method in ("points", "color"):
        found = of_others(f"ddib/{method}", **said).files()["translate"]["ddib"][method]
        ends = found[LOOKED_AT[f"ddib/{method}"]]
        assert all(ends[end].endswith(f"/checkpoints/{file}") for end in ("source", "target"))
        own = of_others(f"ddib/{method}", checkpoint=300, target_weights=said).files()["translate"]["ddib"][
            method
        ]
        ends = own[LOOKED_AT[f"ddib/{method}"]]
        assert ends["source"].endswith("/checkpoints/300.safetensors")
        assert ends["target"].endswith(f"/checkpoints/{file}")
    classes = of_others("ddib/classes", sample={"target_weights": said}).files()
    for stage in ("sample", "cycle"):
        models = classes[stage]["ddib"]["classes"]["3-8-separate"]["models"]
        assert models == [
            "results/model/digits-low/model.safetensors",
            "results/model/digits-low/config/train.json",
            f"results/model/digits-high/checkpoints/{file}",
            "results/model/digits-high/config/train.json",
        ]
    guided = of_others("ddib/classes", "3-8", sample={"guide_weights": said}).files()["sample"]
    models = guided["ddib"]["classes"]["3-8"]["models"]
    assert models[0] == "results/model/conditional/model.safetensors"
    assert models[2] == f"results/guide/digits/checkpoints/{file}"


@pytest.mark.parametrize(
    ("method", "name", "said", "message"),
    [
        (
            "boundary",
            "",
            {"checkpoint": 150},
            r"model/ddpm: no checkpoint of step 150 is kept .*loop\.checkpoint",
        ),
        ("ddib/classes", "", {"sample": {"checkpoint": 150}}, r"model/digits-low: no .*sample\.checkpoint"),
        (
            "ddib/classes",
            "",
            {"sample": {"target_weights": {"ema": 0.5}}},
            r"model/digits-high: no average of decay 0\.5 is trained .*sample\.target_weights\.ema",
        ),
        (
            "ddib/classes",
            "3-8",
            {"sample": {"guide_weights": {"checkpoint": 150}}},
            r"guide/digits: no .*sample\.guide_weights\.checkpoint",
        ),
        ("ddib/classes", "3-8", {"sample": {"target_weights": {"checkpoint": 100}}}, "of a second model"),
        (
            "ddib/classes",
            "3-8-unguided",
            {"sample": {"guide_weights": {"checkpoint": 100}}},
            r"nothing reads it: sample\.guidance is not classifier",
        ),
        ("ddib/points", "", {"checkpoint": 150}, r"ddib/sample/moons: no "),
        (
            "ddib/color",
            "",
            {"target_weights": {"checkpoint": 150}},
            r"ddib/cloud/flower-rgb: no .*target_weights\.checkpoint",
        ),
    ],
)
def test_checkpoints_that_no_training_of_others_keeps_are_refused(
    method: str, name: str, said: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        of_others(method, name, **said)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("boundary", {"checkpoint": "best"}),
        ("ddib/points", {"checkpoint": "best"}),
        ("ddib/classes", {"sample": {"checkpoint": "best"}}),
    ],
)
def test_no_best_checkpoint_without_validation(method: str, said: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"finds no best checkpoint .*set train\.validation"):
        of_others(method, kept=False, **said)


def test_what_reads_a_checkpoint_reads_its_file_and_training_reads_the_same_settings_as_before() -> None:
    keeping = {"train": {"keep_every": 100, "ema": [0.99, 0.9]}}
    last, early = changed(**keeping), changed(**keeping, sample={"checkpoint": 100, "ema": 0.9})
    assert last.stages("i2sb/jpeg-5")["train"] == early.stages("i2sb/jpeg-5")["train"]
    folder = "results/i2sb/jpeg-5"
    assert last.files()["sample"]["i2sb"]["jpeg-5"]["model"] == f"{folder}/model.safetensors"
    for stage in ("sample", "study", "photographs"):
        model = early.files()[stage]["i2sb"]["jpeg-5"]["model"]
        assert model == f"{folder}/checkpoints/100-ema-0.9.safetensors"


@pytest.fixture
def training(tmp_path: Path) -> Training:
    store(tmp_path / "data.lmdb", 0)
    training = Training(tmp_path)
    training.values["train"] |= {"keep_every": 1, "steps": 3}
    return training


def take(folder: Path, name: str, ending: str = ".safetensors") -> Any:
    files = {"config": "train.json", "model": "model.safetensors", "folder": "train"}
    files |= {"output": f"checkpoints/{name}{ending}"}
    words = [word for key, file in files.items() for word in (f"--{key}", str(folder / file))]
    return CliRunner().invoke(cli.app, ["stage", "checkpoint", *words])


def test_a_checkpoint_becomes_a_result_and_outlives_edits_that_no_step_depends_on(training: Training) -> None:
    training.trained()
    assert take(training.folder, "2").exit_code == 0
    file = training.folder / "checkpoints/2.safetensors"
    (origin,) = training.folder.glob("train/kept-*/2.safetensors")
    assert file.samefile(origin)  # one copy on the disk
    content = artifacts.load_card(file)[artifacts.CONTENT]
    file.unlink()  # as Snakemake does
    training.values["train"] |= {"steps": 4, "keep_every": 2, "log_every": 3}
    training.trained()
    assert take(training.folder, "2").exit_code == 0
    card = artifacts.load_card(file)
    assert (card[artifacts.CONTENT], card["step"]) == (content, 2)
    assert json.loads(json.dumps(card["config"])) == training.values
    missing = take(training.folder, "7")
    assert isinstance(missing.exception, UserError)
    assert "which kept: 1, 2, 3, 4" not in str(missing.exception)  # the last is the model itself
    assert "which kept: 1, 2" in str(missing.exception)


def test_checkpoints_of_other_settings_are_never_taken(training: Training) -> None:
    training.trained()
    training.values["train"] |= {"lr": 1e-3, "keep_every": 3}
    training.trained()
    missing = take(training.folder, "2")
    assert "no checkpoint 2 of this training, which kept: none" in str(missing.exception)


PAGE = (ROOT / "docs/coming-from.md").read_text().partition("## Training\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `.*\| `((?:train|runtime|sample): \{.*\})` \|$", PAGE, flags=re.MULTILINE)
SHORT = 5000  # so many of their steps are one here


def shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shortened(v) for key, v in value.items()}
    return value // SHORT if isinstance(value, int) and value >= SHORT else value


def test_every_row_about_training_is_run_below() -> None:
    rows = re.findall(r"^\| `", PAGE, flags=re.MULTILINE)
    assert len(rows) == len(ROWS) >= 15


@pytest.mark.parametrize("row", [row for row in dict.fromkeys(ROWS) if not row.startswith("sample")])
def test_a_training_is_run_as_the_page_says(training: Training, row: str) -> None:
    said = shortened(yaml.safe_load(row))
    training.values["train"] |= {"keep_every": 3, "steps": 3, **said.get("train", {})}
    if validated := training.values["train"].get("validation"):
        held_out = store(training.folder / "val.lmdb", 1, 8)
        training.held_out = {"validation": held_out, **(extractor_of(held_out) if "fid" in row else {})}
        training.values["train"]["validation"] = Validation.model_validate_json(
            json.dumps(validated)
        ).as_json()
    training.running = said.get("runtime", {})
    heard = training.trained()
    assert training.card()["config"]["train"] == training.values["train"]
    names = {file.stem for file in training.folder.glob("train/kept-*/*.safetensors")}
    assert names == {"keep_every": {"2"}, "ema": {"3-ema-0.999"}, "validation": {"best"}}.get(
        next(iter(said.get("train", {})), ""), set()
    ) or (row == "train: {ema: 0.99}" and not names)
    assert ("wandb is left out" in heard) == ("wandb" in row)
    assert any(training.folder.glob("train/trackers/tensorboard/events*")) == ("tensorboard" in row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.startswith("sample")])
def test_samples_are_drawn_as_the_page_says(row: str) -> None:
    said = shortened(yaml.safe_load(row))
    made = changed(train={"keep_every": 2, "ema": [0.9999, 0.999], "validation": {"every": 50}}, **said)
    if "variants" in row:
        calls = [made.experiments[name].sample.nfe for name in ("i2sb/jpeg-5", "i2sb/jpeg-5.nfe-15")]
        assert calls == [5, 15]
    else:
        model = made.files()["sample"]["i2sb"]["jpeg-5"]["model"]
        assert model.endswith(f"/checkpoints/{'best' if 'best' in row else '2-ema-0.999'}.safetensors")


def test_imported_weights_are_sampled_as_they_are() -> None:
    train = {"published": "model/ddpm"}
    values = read_yaml(ROOT / "params.yaml")
    values["experiments"]["model"]["copy"] = {"train": train}
    values["experiments"]["spd"]["copy"] = {"model": "copy"}
    model = Resolved(values).files()["sample"]["spd"]["copy"]["model"]
    assert model == "results/model/copy/model.safetensors"
    values["experiments"]["spd"]["copy"]["sample"] = {"ema": 0.9}
    with pytest.raises(UserError, match=r"weights are imported.*sample\.ema"):
        Resolved(values)
