"""Validation during training: what it measures and keeps, and that it changes nothing of the training."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_checkpoints import changed, take
from test_train_verb import Training, extractor_of, settings, store
from test_training import RECIPE, RUNNING, Tiny, network, objective, same, stopped_at
from torch import Tensor
from two_processes import IMAGES, Projection

from bridgepipe import artifacts
from bridgepipe.config.gaussian import Generate, Guide, Model
from bridgepipe.config.points import PointModel
from bridgepipe.config.validation import Validation
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.datasets import points
from bridgepipe.datasets.points import Points
from bridgepipe.errors import UserError
from bridgepipe.evaluation import fid, restoration
from bridgepipe.evaluation.accuracy import classifier_accuracy
from bridgepipe.methods import spd
from bridgepipe.methods.task import diffusion_of, task_of
from bridgepipe.methods.trained import ExtractorFiles, HeldOut, Trained, load_extractor, load_model
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.runtime.rng import BlockNoise, ItemNoise
from bridgepipe.stages import validation
from bridgepipe.training import loop
from bridgepipe.training.checkpoints import Checkpoints
from bridgepipe.training.validation import FILE, Measured, Validations, Validator
from bridgepipe.workflow import cleaning

HOW = Validation(every=3)


# what is kept, with weights whose worth is simple


def worth(weights: Mapping[str, Tensor]) -> Measured:
    size = float(weights["weight"].double().square().sum())
    return Measured({"loss": size}, np.full((2, 3, 3), int(size * 1000) % 256, np.uint8))


def run(folder: Path, how: Validation | None = HOW, loss=objective, measure=worth, **more: Any):
    validator = None if how is None else Validator(how, {"settings": how.numbers}, measure)
    recipe, running = more.pop("recipe", RECIPE), more.pop("running", RUNNING)
    identity = {"data": "abc"}
    return loop.train(network(), loss, Tiny(), recipe, running, folder, identity, validator=validator)


def kept(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("kept-*/*")}


def rows(folder: Path) -> list[dict[str, float]]:
    (file,) = folder.glob(f"kept-*/{FILE}")
    return artifacts.read_json(file)["rows"]


def test_validation_changes_nothing_of_the_training(tmp_path: Path) -> None:
    assert same(run(tmp_path / "a"), run(tmp_path / "b", None))
    logs = [(tmp_path / name / "train.csv").read_bytes() for name in "ab"]
    assert logs[0] == logs[1]
    state, plain = (tmp_path / name / "state.safetensors" for name in "ab")
    assert same(artifacts.load_tensors(state)[0], artifacts.load_tensors(plain)[0])
    assert [row["step"] for row in rows(tmp_path / "a")] == [3, 6, 9, 12]


def test_the_averaged_weights_of_each_step_are_measured(tmp_path: Path) -> None:
    run(tmp_path / "a")
    for row in rows(tmp_path / "a"):
        short = run(
            tmp_path / str(row["step"]), None, recipe=RECIPE.model_copy(update={"steps": row["step"]})
        )
        assert row["loss"] == worth(short).values["loss"]


@pytest.mark.parametrize("stop_at", [1, 3, 5, 6, 11, 12])
def test_an_interrupted_training_is_validated_as_an_undisturbed_one(tmp_path: Path, stop_at: int) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path / "a", loss=stopped_at(stop_at))
    stopped = [row["step"] for row in rows(tmp_path / "a")] if stop_at > 3 else []
    assert stopped == [step for step in (3, 6, 9) if step < stop_at]  # a signal waits for no validation
    assert same(run(tmp_path / "a"), run(tmp_path / "b"))
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


def test_a_training_that_is_killed_while_it_is_validated_loses_no_step_and_doubles_no_row(
    tmp_path: Path,
) -> None:
    calls = 0

    def killed(weights: Mapping[str, Tensor]) -> Measured:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("power cut")
        return worth(weights)

    with pytest.raises(RuntimeError):
        run(tmp_path / "a", measure=killed)
    assert artifacts.load_card(tmp_path / "a/state.safetensors")["step"] == 9  # saved before
    run(tmp_path / "a")
    run(tmp_path / "b")
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


def test_a_crash_behind_a_validation_measures_nothing_again(tmp_path: Path) -> None:
    def crashing(network: torch.nn.Module, batch: Any) -> Tensor:
        if len(list(tmp_path.glob(f"a/kept-*/{FILE}"))) and len(rows(tmp_path / "a")) == 2:
            raise RuntimeError("power cut")
        return objective(network, batch)

    with pytest.raises(RuntimeError):
        run(tmp_path / "a", loss=crashing)
    measured = []
    run(tmp_path / "a", measure=lambda w: measured.append(1) or worth(w))
    assert len(measured) == 2
    run(tmp_path / "b")
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


def test_a_longer_training_is_validated_as_if_it_had_been_meant(tmp_path: Path) -> None:
    run(tmp_path / "a", recipe=RECIPE.model_copy(update={"steps": 7}))
    run(tmp_path / "a")
    run(tmp_path / "b")
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


def test_rows_of_other_settings_or_of_steps_that_are_not_made_are_dropped(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, HOW.model_copy(update={"images": 9}))
    assert [row["step"] for row in rows(tmp_path)] == [12]  # the only one whose weights are still there
    (tmp_path / "state.safetensors").unlink()
    run(tmp_path, HOW.model_copy(update={"images": 9}), recipe=RECIPE.model_copy(update={"steps": 6}))
    assert [row["step"] for row in rows(tmp_path)] == [3, 6]


@pytest.mark.parametrize(
    ("best", "values", "step"),
    [
        ("loss", [3.0, 1.0, 2.0, 1.0], 2),
        ("fid", [3.0, 1.0, 0.5, 0.7], 3),
        ("psnr", [20.0, 25.0, 25.0, 24.0], 2),
        ("accuracy", [0.5, 0.4, 0.3, 0.2], 1),
    ],
)
def test_the_best_checkpoint_is_the_first_of_the_best_value(
    tmp_path: Path, best: str, values: list[float], step: int
) -> None:
    metrics = () if best == "loss" else (best,)
    how = Validation(
        every=1, metrics=metrics, extractor="any" if best in ("fid", "accuracy") else None, best=best
    )
    found = iter(values)
    validator = Validator(how, {}, lambda weights: Measured({"loss": 1.0, best: next(found)}))
    validations = Validations(validator, Checkpoints(tmp_path, {"kind": "tiny"}))
    for at in range(1, 5):
        validations.make(at, {"weight": torch.full((2,), float(at))})
    weights, card = artifacts.load_tensors(tmp_path / "best.safetensors")
    assert card["step"] == step
    assert weights["weight"].tolist() == [step, step]


# what is measured, of every method

NETWORK = {
    "kind": "adm",
    "model_channels": 32,
    "num_res_blocks": 1,
    "channel_mult": [1],
    "attention_resolutions": [],
}
GUIDE = {key: value for key, value in NETWORK.items() if key != "kind"}
VALIDATED = {"steps": 4, "batch_size": 2, "validation": {"every": 2, "images": 5, "nfe": 2, "split": "test"}}


def labelled(path: Path, seed: int, count: int = 12) -> Path:
    images = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    with writer(path, {}, classes=["a", "b"]) as out:
        for image in images:
            out.put(image)
        out.set_labels(np.arange(count) % 2)
    return path


def training_of(kind: type, **given: Any) -> Any:
    whole = {"dataset": "own", "train": VALIDATED, **given}
    return kind.model_validate_json(json.dumps(whole)).stages()["train"]


METHODS = {
    "model": (Model, {"network": NETWORK, "process": {"variance": "learned_range", "loss": "rescaled_mse"}}),
    "conditional": (Model, {"network": NETWORK, "conditional": True, "drop_labels": 0.5}),
    "learning": (Model, {"network": NETWORK, "process": {"T": 50, "times": "loss_aware"}}),
    "spd": (
        Model,
        {"network": NETWORK, "process": {"schedule": "shortest_path", "c1": 1.59, "c2": 0.0086, "m": 2.0}},
    ),
    "guide": (Guide, {"network": GUIDE}),
    "points": (PointModel, {"network": {"model_channels": 64, "num_res_blocks": 1}}),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    labelled(folder / "train.lmdb", 0)
    labelled(folder / "test.lmdb", 1)
    for name in ("train", "test"):
        points.save(folder / f"{name}.safetensors", points.points("moons", 40, 0, name), {"domain": "moons"})
    return folder


def measured(name: str, data: Path, batch_size: int, grid: int = 0) -> Measured:
    kind, given = METHODS[name]
    own = {**given, "train": {**VALIDATED, "validation": {**VALIDATED["validation"], "grid": grid}}}
    how = training_of(kind, **own)
    ending = "safetensors" if name == "points" else "lmdb"
    noise = BlockNoise if name == "points" else ItemNoise
    opened = Points(data / "train.safetensors") if name == "points" else ImageStore(data / "train.lmdb")
    task = task_of(how, opened, None, None)
    speed = RUNTIME_OF.model_copy(update={"batch_size": batch_size})
    made = validation.validator(how, task, HeldOut(data / f"test.{ending}"), noise, speed)
    assert made is not None
    torch.manual_seed(1)
    weights = {k: v + 0.02 * torch.randn_like(v) for k, v in task.network.state_dict().items()}
    found = made.measure(weights)
    torch.rand(3)
    again = made.measure(weights)  # the same noise and times
    assert found.values == again.values
    return found


RUNTIME_OF = RUNNING.model_copy(update={"precision": "fp32"})


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_of_every_method_depends_on_the_weights_alone(data: Path, name: str) -> None:
    one, whole = measured(name, data, 1), measured(name, data, 64)
    assert list(one.values) == ["loss"]
    assert np.isfinite(one.values["loss"])
    assert one.values["loss"] == pytest.approx(whole.values["loss"], rel=1e-5)


@pytest.mark.parametrize("name", ["model", "conditional", "spd"])
def test_samples_are_shown_in_a_square(data: Path, name: str) -> None:
    picture = measured(name, data, 64, grid=5).picture
    assert picture is not None
    assert picture.shape == (2 * 16, 3 * 16, 3)
    assert (picture[16:, 32:] == 255).all()


def test_the_validation_measures_what_the_objective_of_the_training_says(data: Path) -> None:
    """The noise of an item is that of its number and of the seed, whatever the subset."""
    how = training_of(Model, network=NETWORK)
    task = task_of(how, ImageStore(data / "train.lmdb"), None, None)
    made = validation.validator(how, task, HeldOut(data / "test.lmdb"), ItemNoise, RUNTIME_OF)
    assert made is not None
    found = made.measure(task.network.state_dict()).values["loss"]
    # an untrained network predicts 0: the loss is the mean square of the noise of the chosen items
    items = validation.choose(5, 12, ImageStore(data / "test.lmdb").labels)
    noise = ItemNoise(0, "validation", items)
    noise.integers(1000)
    assert found == pytest.approx(float(noise.normal((3, 16, 16)).square().mean()), rel=1e-5)


# the verb, with a bridge


@pytest.fixture
def training(tmp_path: Path) -> Training:
    store(tmp_path / "data.lmdb", 0)
    training = Training(
        tmp_path, settings(validation=VALIDATED["validation"] | {"every": 1, "metrics": ["psnr"]})
    )
    training.values["train"] |= {"steps": 3}
    training.held_out = {"validation": store(tmp_path / "test.lmdb", 1, 9)}
    return training


def told(training: Training) -> list[dict[str, float]]:
    assert take(training.folder, "validation", ".csv").exit_code == 0
    lines = (training.folder / "checkpoints/validation.csv").read_text().splitlines()
    names = lines[0].split(",")
    return [dict(zip(names, map(float, line.split(",")), strict=True)) for line in lines[1:]]


def test_a_bridge_is_validated_on_restored_images(training: Training) -> None:
    training.values["train"]["validation"] |= {"grid": 3, "best": "psnr"}
    assert training.trained().count("validation after step") == 3
    found = told(training)
    assert [list(row) for row in found] == [["step", "loss", "psnr"]] * 3
    best = max(found, key=lambda row: row["psnr"])
    assert take(training.folder, "best").exit_code == 0
    assert artifacts.load_card(training.folder / "checkpoints/best.safetensors")["step"] == best["step"]
    (picture,) = training.folder.glob("train/kept-*/validation-00000003.png")
    with Image.open(picture) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (3 * 16, 3 * 16, 3)
    images = ImageStore(training.folder / "test.lmdb")
    chosen = validation.choose(5, 9)
    assert np.array_equal(pixels[:16, :16], images[chosen[0]])  # above the originals, below what is restored
    restored = [pixels[32:, 16 * i : 16 * i + 16] for i in range(3)]
    quality = restoration.quality(restored, [images[i] for i in chosen[:3]])
    assert min(quality.psnr) <= found[2]["psnr"] <= 60


def test_fid_is_measured_while_a_model_is_trained(training: Training) -> None:
    images = labelled(training.folder / "own.lmdb", 1)
    training.held_out = {"validation": images, **extractor_of(images)}
    how = VALIDATED["validation"] | {
        "every": 1,
        "images": 8,
        "metrics": ["fid"],
        "extractor": "own",
        "best": "fid",
    }
    own = {"network": NETWORK, "train": {**VALIDATED, "steps": 2, "validation": how}}
    training.values = training_of(Model, **own).as_json()
    training.trained()
    found = told(training)
    assert [list(row) for row in found] == [["step", "loss", "fid"]] * 2
    (best,) = training.folder.glob("train/kept-*/best.safetensors")
    assert artifacts.load_card(best)["step"] == min(found, key=lambda row: row["fid"])["step"]


def test_a_guide_is_validated_on_what_it_names_rightly(data: Path) -> None:
    """Of the noisy images of the loss, at the same times: its own logits, and no other classifier."""
    how = {**VALIDATED["validation"], "images": 12, "metrics": ["accuracy"], "best": "accuracy"}
    settings = training_of(Guide, network=GUIDE, process={"T": 50}, train={**VALIDATED, "validation": how})
    images = ImageStore(data / "test.lmdb")
    task = task_of(settings, ImageStore(data / "train.lmdb"), None, None)
    torch.manual_seed(0)
    weights = {k: v + 0.1 * torch.randn_like(v) for k, v in task.network.state_dict().items()}
    made = validation.validator(settings, task, HeldOut(data / "test.lmdb"), ItemNoise, RUNTIME_OF)
    assert made is not None
    found = made.measure(weights).values
    items, process = range(12), diffusion_of(settings.process, (3, 16, 16), {}).process
    task.network.load_state_dict(weights)
    noise = ItemNoise(0, "validation", items)
    t = noise.integers(50)
    x_t = process.perturb(images.batch(items), t, noise.normal((3, 16, 16)))
    with torch.no_grad():
        logits = task.network(x_t, t)
    right = logits.argmax(1).numpy() == images.labels
    assert found["accuracy"] == right.mean()
    assert 0 < right.sum() < 12
    truth = torch.from_numpy(images.labels.astype(np.int64))
    assert found["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, truth)), rel=1e-5)


def test_samples_of_a_class_conditional_model_are_recognised_as_their_class(training: Training) -> None:
    """Those that the verb draws under the same settings; the checkpoint that is recognised best is kept."""
    images = labelled(training.folder / "own.lmdb", 1)
    labelled(training.folder / "data.lmdb", 0)
    classifier = {key: file for key, file in extractor_of(images).items() if key != "statistics"}
    training.held_out = {"validation": images, **classifier}
    how = {**VALIDATED["validation"], "every": 1, "images": 9, "metrics": ["accuracy"], "best": "accuracy"}
    train = {**VALIDATED, "steps": 3, "validation": {**how, "extractor": "own"}}
    settings = training_of(Model, network=NETWORK, conditional=True, train=train)
    training.values = settings.as_json()
    training.trained()
    found = told(training)
    assert [list(row) for row in found] == [["step", "loss", "accuracy"]] * 3
    (best,) = training.folder.glob("train/kept-*/best.safetensors")
    highest = max(found, key=lambda row: (row["accuracy"], -row["step"]))
    assert artifacts.load_card(best)["step"] == highest["step"]
    model = load_model(
        Trained(training.folder / "model.safetensors", training.folder / "train.json"), RUNTIME_OF
    )
    items = validation.choose(9, 12, ImageStore(images).labels).tolist()
    samples = spd.images(model, items, Generate(sampler="ddim", nfe=2))
    network = load_extractor(ExtractorFiles(**classifier), RUNTIME_OF)
    labels = spd.labels_of(model, items)
    assert labels is not None
    share = classifier_accuracy(network, samples, labels.numpy()).accuracy
    assert found[2]["accuracy"] == pytest.approx(share, rel=1e-8)


def test_the_same_weights_come_with_and_without_validation(training: Training) -> None:
    training.trained()
    validated = artifacts.load_tensors(training.folder / "model.safetensors")[0]
    csv = (training.folder / "train.csv").read_bytes()
    del training.values["train"]["validation"]
    (training.folder / "train/state.safetensors").unlink()
    training.trained()
    assert same(validated, artifacts.load_tensors(training.folder / "model.safetensors")[0])
    assert csv == (training.folder / "train.csv").read_bytes()


def test_validation_that_is_asked_for_later_trains_no_step_again(training: Training) -> None:
    how = training.values["train"].pop("validation")
    training.trained()
    before = artifacts.load_tensors(training.folder / "model.safetensors")[0]
    training.values["train"]["validation"] = how
    heard = training.trained()
    assert "step 1/3" not in heard
    assert "set aside" not in heard
    assert [row["step"] for row in told(training)] == [3]
    assert same(before, artifacts.load_tensors(training.folder / "model.safetensors")[0])


def test_the_table_can_be_made_again_as_long_as_the_training_is_there(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(training.folder)
    table = Path("results/i2sb/mine/checkpoints/validation.csv")
    assert not cleaning._is_kept("i2sb/mine", table)
    training.trained()
    Path("results/i2sb").mkdir(parents=True)
    Path("results/i2sb/mine").symlink_to(training.folder)
    assert cleaning._is_kept("i2sb/mine", table)
    assert cleaning._is_kept("i2sb/mine", table.with_name("best.safetensors"))
    assert not cleaning._is_kept("i2sb/mine", table.with_name("2.safetensors"))


def test_the_best_of_another_validation_is_refused(training: Training) -> None:
    training.trained()
    training.values["train"]["validation"] |= {"images": 4}
    artifacts.write_json(training.folder / "train.json", training.values)
    for name, ending in (("best", ".safetensors"), ("validation", ".csv")):
        missing = take(training.folder, name, ending)
        assert isinstance(missing.exception, UserError)
        assert "no checkpoint best of this training" in str(missing.exception)
    training.values["train"]["validation"] |= {"images": 5, "grid": 2}  # pictures change no number
    artifacts.write_json(training.folder / "train.json", training.values)
    assert take(training.folder, "best").exit_code == 0


def test_a_training_that_is_told_of_no_images_to_validate_on_stops(training: Training) -> None:
    training.held_out = {}
    assert "nothing to validate on" in str(training.train().exception)


class Classifier(Projection):
    classes = ("a", "b", "c", "d", "e")


def test_fid_and_accuracy_are_those_of_evaluation() -> None:
    pixels, labels = IMAGES[:9], np.arange(9) % 3
    how = Validation(every=1, images=9, metrics=("fid", "accuracy"), extractor="any")
    classes = validation._Classes(Classifier.classes[:3], labels)
    others = fid.statistics(Classifier(), IMAGES[9:])
    model: Any = SimpleNamespace(batch_size=4)
    nothing: Any = None
    measure = validation._Measure(
        {}, nothing, list(range(9)), nothing, how, model, nothing, classes, Classifier(), others
    )
    found = measure._metrics(pixels)
    assert found["fid"] == pytest.approx(fid.fid(fid.statistics(Classifier(), pixels), others))
    predicted = Classifier().logits(list(pixels)).argmax(1).numpy()
    assert found["accuracy"] == (predicted == labels).mean()


# what is told


def test_trackers_receive_validations_with_their_step_and_pictures_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridgepipe.training import trackers

    heard: list[Any] = []

    class Heard:
        finish = staticmethod(lambda: None)

        def log(self, values: dict[str, float], step: int) -> None:
            heard.append((step, "validation_loss" in values))

        def log_images(self, values: dict[str, Any], step: int) -> None:
            heard.append((step, "picture"))

    def started(name: str, run: trackers.Run, say: Any) -> Any:
        memory = run.folder / "wandb.json"
        sent = artifacts.read_json(memory) if run.first else {"step": 0}
        return trackers._Tracker(name, Heard(), memory, sent)

    Heard.tracker = Heard()  # type: ignore[attr-defined]
    monkeypatch.setattr(trackers._Tracker, "started", staticmethod(started))
    tracked = RUNNING.model_copy(update={"track": ("wandb",)})
    with pytest.raises(Interrupted):
        run(tmp_path, loss=stopped_at(6), running=tracked)
    run(tmp_path, running=tracked)
    wanted = [(3, "picture"), (6, "picture"), (9, "picture"), (12, "picture")]
    assert [one for one in heard if one[1] == "picture"] == wanted
    assert [one for one in heard if one[1] != "picture"] == [(s, s % 3 == 0) for s in range(1, 13)]


# settings


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"every": 50, "split": "train"}, "images the training sees"),
        ({"every": 500}, "the training ends after 250 steps"),
        ({"every": 50, "best": "psnr"}, r"validation\.metrics does not have"),
        ({"every": 50, "metrics": ["fid"]}, r"fid needs an extractor.*set train\.validation\.extractor"),
        ({"every": 50, "metrics": ["accuracy"]}, r"accuracy needs an extractor"),
        ({"every": 50, "extractor": "inception"}, "neither fid nor accuracy"),
        ({"every": 50, "metrics": ["fid", "fid"]}, "'fid' comes twice"),
        ({"every": 50, "grid": 65}, "shows 65 of 64 images"),
        ({"every": 50, "images": 1000}, r"1000 of the 180 items of split val .*validation\.images"),
        ({"every": 50, "metrics": ["psnr"], "nfe": 1000}, r"1000 calls .*validation\.nfe"),
        (
            {"every": 50, "metrics": ["fid"], "extractor": "photos-classifier"},
            r"64 x 64.*validation\.extractor",
        ),
        ({"every": 50, "metrics": ["accuracy"], "extractor": "inception"}, "inception tells no classes"),
        ({"every": 50, "metrics": ["fid"], "extractor": "digits-clasifier"}, "nearest.*digits-classifier"),
        ({"evry": 50}, "did you mean 'every'"),
        ({}, "missing key 'every'"),
    ],
)
def test_a_validation_that_cannot_be_made_is_refused(how: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        changed(train={"validation": how})


@pytest.mark.parametrize(
    ("method", "name", "how", "message"),
    [
        ("model", "ddpm", {"metrics": ["psnr"]}, "psnr is not measured of this method.*choose from fid"),
        ("model", "ddpm", {"grid": 4, "nfe": 2000}, r"validation\.nfe"),
        ("guide", "digits", {"grid": 4}, "draws no images"),
        (
            "model",
            "ddpm",
            {"metrics": ["accuracy"], "extractor": "digits-classifier"},
            "samples of an unconditional model have no class",
        ),
        ("guide", "digits", {"metrics": ["fid"], "extractor": "resnet50"}, "choose from accuracy"),
        ("guide", "digits", {"metrics": ["accuracy"], "extractor": "resnet50"}, "itself the classifier"),
        ("ddib/sample", "moons", {"metrics": ["accuracy"], "split": "test"}, "leave metrics out"),
        ("ddib/sample", "moons", {}, r"unknown name 'val' .*valid: train, test"),
    ],
)
def test_what_a_method_does_not_measure_is_refused(method: str, name: str, how: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        changed(method, name, train={"validation": {"every": 50, **how}})


@pytest.mark.parametrize(
    ("train", "sample", "message"),
    [
        ({}, {"checkpoint": "best"}, r"finds no best checkpoint .*sample\.checkpoint.*set train\.validation"),
        (
            {"validation": {"every": 50}, "ema": [0.99, 0.9]},
            {"checkpoint": "best", "ema": 0.9},
            r"of the average of decay 0\.99 .*sample\.ema",
        ),
        ({"published": "i2sb/jpeg-5", "validation": {"every": 50}}, {}, "weights are imported"),
    ],
)
def test_a_best_checkpoint_that_no_training_finds_is_refused(train: Any, sample: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        changed(train=train, sample=sample)


def test_files_of_a_validated_training() -> None:
    how = {"every": 50, "metrics": ["fid"], "extractor": "digits-classifier"}
    made, plain = changed(train={"validation": how}, sample={"checkpoint": "best"}), changed()
    read, before = (one.files()["train"]["i2sb"]["jpeg-5"] for one in (made, plain))
    assert {key: file for key, file in read.items() if key not in before} == {
        "validation": "data/prepared/digits/val.lmdb",
        "validation_sources": [],
        "weights": "data/checkpoints/digits-classifier.safetensors",
        "extractor": "data/checkpoints/digits-classifier.json",
        "statistics": "data/stats/digits/val-digits-classifier.safetensors",
    }
    sampled = made.files()["sample"]["i2sb"]["jpeg-5"]["model"]
    assert sampled == "results/i2sb/jpeg-5/checkpoints/best.safetensors"


def test_sigterm_during_a_validation_is_obeyed_after_the_next_step(tmp_path: Path) -> None:
    def signalled(weights: Mapping[str, Tensor]) -> Measured:
        os.kill(os.getpid(), signal.SIGTERM)
        return worth(weights)

    with pytest.raises(Interrupted, match="stopped after step 4"):
        run(tmp_path, measure=signalled)
    assert [row["step"] for row in rows(tmp_path)] == [3]
