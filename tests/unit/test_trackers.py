"""Trackers: what they are told, what they may not do, and that nothing of theirs stops a training."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from test_training import RECIPE, RUNNING, Tiny, network, same, stopped_at

from bridgepipe.config import RUNTIME, Resolved, read_yaml
from bridgepipe.config.stage_files import read_runtime_file
from bridgepipe.errors import UserError
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.training import loop, trackers
from bridgepipe.training.trackers import Run, Trackers

ROOT = Path(__file__).parents[2]
# imported before the stand-ins are there: accelerate looks for the libraries then
assert {"wandb", "mlflow", "dvclive"} <= LOGGER_TYPE_TO_CLASS.keys()
SETTINGS = {"train": {"lr": 0.01, "init": None, "ema": [0.9, 0.5]}, "method": "tiny"}


def train(folder: Path, *names: str, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    running = RUNNING.model_copy(update={"track": names})
    place = folder / "results/m/tiny/train"
    return loop.train(
        network(),
        stopped_at(stop_at),
        Tiny(),
        RECIPE,
        running,
        place,
        {"data": "abc"},
        card={"config": SETTINGS},
    )


class Fake(types.ModuleType):
    """A library as accelerate's trackers call it: it writes down what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told: list[tuple[str, Any]] = []
        self.config = self
        self.broken: set[str] = set()

    def _note(self, what: str, value: Any) -> None:
        if what in self.broken:
            raise RuntimeError(f"{what} is out of order\nin two lines")
        self.told.append((what, value))

    def init(self, **how: Any) -> Fake:
        self._note("init", how)
        return self

    def update(self, values: Any, allow_val_change: bool) -> None:
        self._note("settings", values)

    def log(self, values: Any, step: int) -> None:
        self._note("log", step)

    def finish(self) -> None:
        self._note("finish", None)

    def of(self, what: str) -> list[Any]:
        return [value for kind, value in self.told if kind == what]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # no netrc
    fake = Fake("wandb")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_a_tracker_is_told_flat_settings_and_every_row_once(tmp_path: Path, wandb: Fake) -> None:
    train(tmp_path, "wandb")
    (how,) = wandb.of("init")
    assert (how["project"], how["name"], how["mode"]) == ("bridgepipe", "m/tiny", "offline")
    assert how["dir"] == str(tmp_path / "results/m/tiny/train/trackers")
    (settings,) = wandb.of("settings")
    assert settings == {"train.lr": 0.01, "train.init": "null", "train.ema": "0.9, 0.5", "method": "tiny"}
    assert wandb.of("log") == list(range(1, 13))
    assert wandb.told[-1][0] == "finish"


def test_a_resumed_training_goes_on_with_its_run_and_doubles_no_row(tmp_path: Path, wandb: Fake) -> None:
    wandb.broken = set()
    with pytest.raises(Interrupted):
        train(tmp_path, "wandb", stop_at=6)
    # a crash after step 6 goes back to the state of step 4
    state = tmp_path / "results/m/tiny/train/state.safetensors"
    state.unlink()
    with pytest.raises(Interrupted):
        train(tmp_path / "other", "wandb", stop_at=4)
    wandb.told.clear()
    state.write_bytes((tmp_path / "other/results/m/tiny/train/state.safetensors").read_bytes())
    known = trackers.artifacts.read_json(state.parent / "trackers/wandb.json")
    assert known["step"] == 6
    train(tmp_path, "wandb")
    assert wandb.of("init")[0]["id"] == known["run"]
    assert wandb.of("init")[0]["resume"] == "allow"
    assert wandb.of("log") == list(range(7, 13))


def test_a_training_that_begins_anew_is_another_run(tmp_path: Path, wandb: Fake) -> None:
    train(tmp_path, "wandb")
    (tmp_path / "results/m/tiny/train/state.safetensors").unlink()
    train(tmp_path, "wandb")
    first, second = (how["id"] for how in wandb.of("init"))
    assert first != second
    assert wandb.of("log") == [*range(1, 13), *range(1, 13)]


@pytest.mark.parametrize("broken", ["init", "settings", "log", "finish"])
def test_a_tracker_that_fails_is_told_in_one_line_and_stops_nothing(
    tmp_path: Path, wandb: Fake, capsys: Any, broken: str
) -> None:
    wandb.broken = {broken}
    assert same(train(tmp_path / "a", "wandb", "trackio"), train(tmp_path / "b"))
    said = [line for line in capsys.readouterr().err.splitlines() if "tracker" in line]
    assert f"the tracker wandb is left out: {broken} is out of order in two lines" in said
    assert any(line.startswith("the tracker trackio is left out: No module") for line in said)
    assert len(said) == 2


def test_nothing_of_trackers_is_imported_where_none_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bridgepipe.training.trackers", "tensorboard", "torch.utils.tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it is an error
    train(tmp_path)


def events(folder: Path) -> dict[str, list[int]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [event.step for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_every_step_once_after_a_resume(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, "tensorboard", stop_at=6)
    train(tmp_path, "tensorboard")
    folder = tmp_path / "results/m/tiny/train/trackers/tensorboard"
    assert events(folder) == {name: list(range(1, 13)) for name in ("loss", "gradient_norm", "lr")}
    (hparams,) = folder.glob("*/hparams.yml")  # one run, however often it was resumed
    assert "train.lr: 0.01" in hparams.read_text()


class Live(Fake):
    def __call__(self, **how: Any) -> Live:
        self._note("init", how)
        return self

    def log_params(self, values: Any) -> None:
        self._note("settings", values)

    def log_metric(self, name: str, value: float) -> None:
        self._note("log", (self.step, name))

    def next_step(self) -> None: ...

    def end(self) -> None: ...

    def log_image(self, name: str, file: str) -> None:
        self._note("picture", name)


@pytest.fixture
def dvclive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    live, module, plots = Live("live"), Fake("dvclive"), Fake("dvclive.plots")
    module.Live = live  # type: ignore[attr-defined]
    plots.Metric = types.SimpleNamespace(could_log=lambda value: True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dvclive", module)
    monkeypatch.setitem(sys.modules, "dvclive.plots", plots)
    return live


def test_dvclive_writes_into_its_own_folder_and_makes_no_experiment(tmp_path: Path, dvclive: Live) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, "dvclive", stop_at=6)
    dvclive.told.clear()
    train(tmp_path, "dvclive")
    (how,) = dvclive.of("init")
    place = str(tmp_path / "results/m/tiny/train/trackers/dvclive")
    assert how == {"dir": place, "dvcyaml": None, "save_dvc_exp": False, "report": None}
    steps = [step for step, name in dvclive.of("log") if name == "loss"]
    assert steps == list(range(1, 13))  # its files are made anew, with what was known


def test_a_picture_goes_to_the_trackers_that_take_any(tmp_path: Path, dvclive: Live, wandb: Fake) -> None:
    from PIL import Image

    Image.new("RGB", (4, 2)).save(tmp_path / "grid.png")
    wandb.Image = lambda pixels: pixels.shape  # type: ignore[attr-defined]
    shown = Trackers.of(["dvclive", "wandb"], Run("m/tiny", tmp_path, "t", SETTINGS), pytest.fail)
    shown.picture("restored", tmp_path / "grid.png", 5)
    assert dvclive.of("picture") == ["restored-5.png"]
    assert wandb.of("log") == [5]


class MLflow(Fake):
    """As MLflow 3.17: a run takes one value of a parameter, and says so of another."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.parameters: dict[str, str] = {}
        self.utils = types.SimpleNamespace(validation=types.SimpleNamespace(MAX_PARAM_VAL_LENGTH=6000))
        self.utils.validation.MAX_PARAMS_TAGS_PER_BATCH = 100

    def search_experiments(self, filter_string: str) -> list[Any]:
        return [types.SimpleNamespace(experiment_id="1")]

    def start_run(self, run_id: str | None, **how: Any) -> Any:
        self._note("init", run_id)
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or "first"))

    def log_params(self, values: dict[str, Any]) -> None:
        for key, value in values.items():
            known = self.parameters.setdefault(key, str(value))
            if known != str(value):
                told = f"Param with key='{key}' was already logged with value='{known}' for run ID='first'."
                raise RuntimeError(f"Changing param values is not allowed. {told}\n\nMore of it.")

    def log_metrics(self, values: Any, step: int) -> None:
        self._note("log", step)

    def end_run(self) -> None:
        self._note("finish", None)


def test_mlflow_goes_on_with_a_run_whose_settings_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, said = MLflow(), []
    monkeypatch.setitem(sys.modules, "mlflow", library)
    for steps, first in ((3, 0), (5, 3)):
        settings = {"train": {"lr": 0.01, "steps": steps}}
        run = Run("m/tiny", tmp_path, "same", settings, first)
        shown = Trackers.of(["mlflow"], run, said.append)
        for step in range(1, steps + 1):
            shown.log({"step": step, "loss": 1 / step})
        shown.finish()
    assert library.of("init") == [None, "first"]
    assert library.of("log") == [1, 2, 3, 4, 5]
    (line,) = said
    assert line.startswith("the tracker mlflow keeps the settings that its run began with: Changing param")
    assert "train.steps" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("environment", "mode"),
    [({}, "offline"), ({"WANDB_API_KEY": "k"}, "online"), ({"WANDB_MODE": "disabled"}, "disabled")],
)
def test_the_environment_says_how_wandb_is_reached(
    wandb: Fake, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], mode: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert trackers.wandb_mode() == mode


def test_a_job_reads_them_as_the_workflow_wrote_them(tmp_path: Path) -> None:
    for names in ((), ("tensorboard", "wandb")):
        section = RUNNING.model_copy(update={"track": names})
        trackers.artifacts.write_json(tmp_path / "runtime.json", section.as_json())
        assert read_runtime_file(tmp_path / "runtime.json") == section


def test_trackers_are_no_setting_of_any_result_and_an_old_key_is_answered() -> None:
    values = read_yaml(ROOT / "params.yaml")
    plain = Resolved(values).stage_files()
    values["runtime"]["track"] = ["tensorboard", "mlflow"]
    tracked = Resolved(values).stage_files()
    assert {path for path in plain if plain[path] != tracked[path]} == {RUNTIME}
    values["runtime"]["track"] = ["tensorbord"]
    with pytest.raises(UserError, match=r"tensorbord.*runtime.track"):
        Resolved(values)
    del values["runtime"]["track"]
    values["runtime"]["tensorboard"] = True
    with pytest.raises(UserError, match=r"tensorboard.* was renamed.*write track"):
        Resolved(values)
