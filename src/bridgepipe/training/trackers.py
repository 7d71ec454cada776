"""Trackers of experiments, as accelerate offers them: what a training reports to TensorBoard, W&B and others.

A failing tracker is reported in one line and left out: it never stops a training. Of a training that goes on,
a tracker whose files lie here begins anew with the whole log, as its file may hold steps beyond the state;
any other goes on with its run after the last step that it received. So no step is sent twice.
"""

from __future__ import annotations

import netrc
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.names import Json

Say = Callable[[str], None]
HERE = ("tensorboard", "dvclive")  # whose whole log lies in the folder of the training
PROJECT = "bridgepipe"
LONGEST = 250  # characters of a setting, as many as MLflow takes


@dataclass(frozen=True)
class Run:
    """What trackers receive of a training.

    Attributes:
        name: name of the experiment.
        folder: folder for their files.
        training: digest of what its steps depend on: another training is another run.
        settings: nested, by name.
        first: steps that are made when it begins.
    """

    name: str
    folder: Path
    training: str
    settings: Mapping[str, Any]
    first: int = 0


@dataclass
class Trackers:
    """The trackers that a person asked for, as long as they work."""

    run: Run
    say: Say
    _open: dict[str, _Tracker] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Iterable[str], run: Run, say: Say) -> Trackers:
        """Start them; each takes of past steps what it has not received yet."""
        made = cls(run, say)
        for name in names:
            made._trying(name, partial(made._start, name))
        return made

    def log(self, row: Mapping[str, float | None]) -> None:
        """Numbers of a step, which is the entry ``step`` of the row; None is left out."""
        step, values = int(row["step"] or 0), {k: v for k, v in row.items() if k != "step" and v is not None}
        for name, tracker in list(self._open.items()):
            self._trying(name, partial(tracker.log, step, values))

    def picture(self, label: str, file: Path, step: int) -> None:
        """A PNG file, for the trackers that take pictures; sent before the numbers of its step."""
        for name, tracker in list(self._open.items()):
            self._trying(name, partial(tracker.picture, label, file, step))

    def _start(self, name: str) -> None:
        self._open[name] = _Tracker.started(name, self.run, self.say)

    def finish(self) -> None:
        for name, tracker in list(self._open.items()):
            self._trying(name, tracker.tracker.finish)
        self._open.clear()

    def _trying(self, name: str, work: Callable[[], Any]) -> None:
        try:
            work()
        except (Exception, SystemExit) as e:  # whatever a library of others does
            self._open.pop(name, None)
            lacks = f"; pip install {_package(name)}" if isinstance(e, ImportError) else ""
            self.say(f"the tracker {name} is left out: {_reason(e)}{lacks}")


@dataclass
class _Tracker:
    """One tracker, and the last step that it received."""

    name: str
    tracker: Any
    memory: Path
    sent: Json

    @classmethod
    def started(cls, name: str, run: Run, say: Say) -> _Tracker:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        memory, kind = run.folder / f"{name}.json", LOGGER_TYPE_TO_CLASS[name]
        sent: Json = {"training": run.training, "run": uuid.uuid4().hex, "step": 0}
        with suppress(UserError):
            known = dict(artifacts.read_object(memory))
            sent = known if known["training"] == run.training and run.first > 0 else sent
        if name in HERE:
            shutil.rmtree(run.folder / name, ignore_errors=True)
            sent["step"] = 0
        run.folder.mkdir(parents=True, exist_ok=True)
        where = [str(run.folder)] if kind.requires_logging_directory else []
        project = name if name in HERE else os.environ.get(f"{name.upper()}_PROJECT", PROJECT)
        tracker = kind(project, *where, **_options(name, run, sent))
        tracker.start()
        if name == "mlflow":
            sent["mlflow"] = tracker.tracker.info.run_id
        try:
            tracker.store_init_configuration(flat(run.settings))
        except Exception as e:  # MLflow takes no other value of a setting, such as of a training made longer
            if sent["step"] == 0:
                raise
            say(f"the tracker {name} keeps the settings that its run began with: {_reason(e)}")
        return cls(name, tracker, memory, sent)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step > self.sent["step"] and values:
            self._remember(step)  # before: a killed training may leave out a row, and doubles none
            self.tracker.log(dict(values), step=step)

    def picture(self, label: str, file: Path, step: int) -> None:
        if step <= self.sent["step"]:
            return
        if hasattr(self.tracker, "log_images"):
            how = {"dataformats": "NHWC"} if self.name == "tensorboard" else {}
            self.tracker.log_images({label: _pixels(file)}, step=step, **how)
        elif self.name == "dvclive":
            self.tracker.tracker.log_image(f"{label}-{step}.png", str(file))
        elif hasattr(self.tracker, "log_artifact"):
            self.tracker.log_artifact(str(file), artifact_path=label)

    def _remember(self, step: int) -> None:
        self.sent["step"] = step
        artifacts.write_json(self.memory, self.sent, lasting=False)


def _options(name: str, run: Run, sent: Mapping[str, Any]) -> Json:
    """What a tracker is started with, so that it writes nowhere else and goes on with its own run."""
    if name == "wandb":
        where = {"dir": str(run.folder), "mode": wandb_mode()}
        return {"id": sent["run"], "name": run.name, "resume": "allow", **where}
    if name == "trackio":
        return {"name": f"{run.name}-{sent['run'][:8]}", "resume": "allow"}
    if name == "mlflow":
        return {"run_name": run.name, "run_id": sent.get("mlflow")}
    if name == "dvclive":  # else it makes an experiment of every run, and writes into the pipeline's dvc.yaml
        return {"dir": str(run.folder / name), "dvcyaml": None, "save_dvc_exp": False, "report": None}
    return {"experiment_name": run.name} if name == "swanlab" else {}


def wandb_mode() -> str:
    """As the environment says; without a key offline, where W&B would ask for one and wait."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    with suppress(OSError, netrc.NetrcParseError):
        if netrc.netrc().authenticators("api.wandb.ai"):
            return "online"
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings as ``section.key``: a tracker takes plain values alone, and no null."""
    found: dict[str, str | int | float | bool] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        elif isinstance(value, bool | int | float):
            found[f"{above}{key}"] = value
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            found[f"{above}{key}"] = "null" if value is None else str(text)[:LONGEST]
    return found


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _pixels(file: Path) -> Any:
    """A picture as trackers take it: uint8 [1,H,W,3]."""
    import numpy as np
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))[None]


def _package(name: str) -> str:
    return {"comet_ml": "comet-ml"}.get(name, name)
