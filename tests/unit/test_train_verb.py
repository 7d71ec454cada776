"""The training verb: which edits go on from a state, which begin anew, and which ask."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from bridgepipe import artifacts, cli, corruptions
from bridgepipe.config import I2SB
from bridgepipe.data.store import ImageStore, writer
from bridgepipe.evaluation import classifier, fid
from bridgepipe.methods import i2sb
from bridgepipe.runtime import source

NETWORK = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": [1], "attention_resolutions": []}


def store(path: Path, seed: int, count: int = 6) -> Path:
    images = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    path.unlink(missing_ok=True)
    with writer(path, {}) as out:
        for image in images:
            out.put(image)
    return path


def extractor_of(images: Path) -> dict[str, Path]:
    """Files of an extractor, and of the statistics of a store under it, by their options."""
    folder, data = images.parent, ImageStore(images)
    about = {"kind": "classifier", "dataset": "own", "steps": 2, "batch_size": 2, "lr": 1e-3, "seed": 0}
    artifacts.write_json(folder / "extractor.json", about)
    trained = classifier.train_classifier(data, np.arange(len(data)) % 2, steps=2, batch_size=2, width=8)
    trained.save(folder / "extractor.safetensors", {"config": about})
    fid.statistics(trained, data).save(folder / "statistics.safetensors")
    files = {"extractor": "extractor.json", "weights": "extractor.safetensors"}
    return {
        option: folder / name for option, name in {**files, "statistics": "statistics.safetensors"}.items()
    }


def settings(corruption: str = "jpeg-5", **how: Any) -> dict[str, Any]:
    train = {"steps": 2, "batch_size": 2, "log_every": 1, "seed": 3, **how}
    evaluate = {"extractor": "any", "classifier": "any"}
    sections = {"network": NETWORK, "train": train, "evaluate": evaluate}
    whole = {"dataset": "own", "corruption": corruption, **sections}
    return I2SB.model_validate_json(json.dumps(whole)).stages()["train"].as_json()


@dataclass
class Training:
    """One experiment in a folder, trained by the verb."""

    folder: Path
    values: dict[str, Any] = field(default_factory=settings)
    sources: Path | None = None
    running: dict[str, Any] = field(default_factory=dict)
    held_out: dict[str, Path] = field(default_factory=dict)

    def train(self) -> Result:
        artifacts.write_json(self.folder / "train.json", self.values)
        running = {"device": "cpu", "threads": 1, "precision": "fp32", **self.running}
        artifacts.write_json(self.folder / "runtime.json", running)
        files = {"config": "train.json", "runtime": "runtime.json", "data": "data.lmdb", "folder": "train"}
        files |= {"output": "model.safetensors", "csv": "train.csv"}
        command = [word for key, file in files.items() for word in (f"--{key}", str(self.folder / file))]
        command += [] if self.sources is None else ["--sources", str(self.sources)]
        command += [word for key, file in self.held_out.items() for word in (f"--{key}", str(file))]
        return CliRunner().invoke(cli.app, ["stage", "train", *command])

    def trained(self) -> str:
        """What training said, which succeeded."""
        done = self.train()
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stderr

    def bytes(self) -> tuple[bytes, bytes]:
        return tuple((self.folder / name).read_bytes() for name in ("model.safetensors", "train.csv"))  # type: ignore[return-value]

    def card(self) -> dict[str, Any]:
        return artifacts.load_card(self.folder / "model.safetensors")


@pytest.fixture
def training(tmp_path: Path) -> Training:
    store(tmp_path / "data.lmdb", 0)
    return Training(tmp_path)


RESUMED = "resumed after step 2"
Edit = Callable[[Training], Any]
GOES_ON: dict[str, Edit] = {
    "steps": lambda t: t.values["train"].update(steps=3),
    "log_every": lambda t: t.values["train"].update(log_every=2),
    "name of the dataset": lambda t: t.values.update(dataset="renamed"),
}
BEGINS: dict[str, Edit] = {
    "lr": lambda t: t.values["train"].update(lr=1e-3),
    "ema": lambda t: t.values["train"].update(ema=0.5),
    "seed": lambda t: t.values["train"].update(seed=4),
    "beta_max": lambda t: t.values.update(beta_max=1.0),
    "data": lambda t: store(t.folder / "data.lmdb", 1),
}


@pytest.mark.parametrize("edit", GOES_ON)
def test_an_edit_that_no_step_depends_on_goes_on(training: Training, edit: str) -> None:
    training.trained()
    GOES_ON[edit](training)
    assert RESUMED in training.trained()
    assert not list(training.folder.glob("train/state-*"))


def test_training_longer_equals_one_long_training(training: Training, tmp_path_factory) -> None:
    training.trained()
    training.values["train"]["steps"] = 4
    assert RESUMED in training.trained()
    whole = Training(tmp_path_factory.mktemp("whole"), copy.deepcopy(training.values))
    store(whole.folder / "data.lmdb", 0)
    whole.trained()
    assert training.bytes() == whole.bytes()
    assert training.card()["config"]["train"]["steps"] == 4


@pytest.mark.parametrize("edit", BEGINS)
def test_an_edit_that_decides_the_next_step_begins_anew(training: Training, edit: str) -> None:
    training.trained()
    before = training.bytes()[0]
    BEGINS[edit](training)
    said = training.trained()
    assert "resumed" not in said
    assert "is of another training" in said
    assert training.bytes()[0] != before
    assert len(list(training.folder.glob("train/state-*.safetensors"))) == 1


def test_a_finished_training_is_not_handed_back_when_its_pairs_changed(training: Training) -> None:
    training.values = settings("paired")
    training.sources = store(training.folder / "sources.lmdb", 5)
    training.trained()
    first, before = training.card()["sources"], training.bytes()[0]
    training.sources = store(training.folder / "other.lmdb", 6)
    assert "sources was" in training.trained()
    assert training.card()["sources"] != first
    assert training.bytes()[0] != before


def test_a_finished_training_is_not_handed_back_when_its_first_weights_changed(training: Training) -> None:
    init = training.folder / "init.pt"

    def write(seed: int) -> None:
        network = i2sb.network(
            (16, 16), False, seed, **{k: tuple_of(v) for k, v in training.values["network"].items()}
        )
        weights = network.state_dict()
        weights["out.2.weight"] = torch.cat([weights["out.2.weight"]] * 2)
        weights["out.2.bias"] = torch.cat([weights["out.2.bias"]] * 2)
        torch.save(weights, init)

    write(0)
    training.values["train"]["init"] = str(init)
    training.trained()
    assert training.card()["init"] == artifacts.digest_file(init)
    moved = init.rename(training.folder / "moved.pt")
    training.values["train"]["init"] = str(moved)
    assert RESUMED in training.trained()  # the same weights elsewhere
    write(1)
    training.values["train"]["init"] = str(init)
    assert "init was" in training.trained()


def tuple_of(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def test_masks_count_by_their_content(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = training.folder / "masks.npz"
    monkeypatch.setattr(
        corruptions, "build", lambda *_, **__: lambda x0, rng, items: corruptions.Corrupted(x0, None)
    )
    training.values["mask_file"] = str(masks)
    masks.write_bytes(b"one")
    training.trained()
    masks.write_bytes(b"two")
    assert "masks was" in training.trained()


def test_code_that_the_training_runs_asks_and_a_choice_is_one_command(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.trained()
    training.values["train"]["steps"] = 3
    monkeypatch.setattr(source, "text_of", lambda module, name: f"{module}.{name} was edited")
    refused = training.train()
    assert "code of this training has changed" in str(refused.exception)
    folder = training.folder / "train"
    assert f"bridgepipe training-state {folder} --go-on" in str(refused.exception)
    done = CliRunner().invoke(cli.app, ["training-state", str(folder), "--go-on"])
    assert "step 2, resumed by the same training, whatever the code" in done.output
    assert RESUMED in training.trained()
    done = CliRunner().invoke(cli.app, ["training-state", str(folder), "--start-again"])
    assert "step 3, set aside" in done.output
    monkeypatch.setattr(source, "text_of", lambda module, name: f"{module}.{name} was edited again")
    assert "resumed" not in training.trained()


def test_status_names_every_state(training: Training) -> None:
    folder = training.folder / "project/results/i2sb/own"
    folder.mkdir(parents=True)
    store(folder / "data.lmdb", 0)
    project = Training(folder)
    project.trained()
    project.values["train"]["seed"] = 9
    project.trained()
    shown = CliRunner().invoke(cli.app, ["status", "--folder", str(training.folder / "project")]).output
    assert shown.count("step 2, set aside") == 1
    assert shown.count("state.safetensors: step 2, resumed by the same training") == 1
