"""Settings of a stage read back from its file, as the class that wrote them.

A person can give any file in its place, so that whatever is wrong with it is one line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bridgepipe import artifacts
from bridgepipe.config import asked, resolved
from bridgepipe.config.data import SOURCES
from bridgepipe.config.errors import keys_of, nearest, unknown_key
from bridgepipe.config.gaussian import GuideTraining, ModelTraining
from bridgepipe.config.i2sb import RestorationTraining
from bridgepipe.config.points import PointTraining
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.values import WHOLE, Strict
from bridgepipe.errors import UserError
from bridgepipe.names import Json

RUNTIME = Path(resolved.RUNTIME)
KIND = "a stage's configuration, such as results/METHOD/EXPERIMENT/config/STAGE.json"
Training = RestorationTraining | ModelTraining | GuideTraining | PointTraining
TRAININGS: dict[str, type[Training]] = {
    "i2sb": RestorationTraining,
    "model": ModelTraining,
    "guide": GuideTraining,
    "points": PointTraining,
}
S = TypeVar("S", bound=Strict)


def read_stage(path: str | Path, *kinds: type[S]) -> S:
    """Settings of a stage.

    Args:
        path: file of the stage.
        kinds: classes that it may be of.

    Raises:
        UserError: missing, damaged, or of another stage.
    """
    return parsed_stage(artifacts.read_object(path), path, *kinds)


def parsed_stage(content: Mapping[str, Any], path: str | Path, *kinds: type[S]) -> S:
    """Settings of a stage that stand in a file among other things; `read_stage`."""
    text, wrong = json.dumps(content), []
    for kind in kinds:
        try:
            return kind.model_validate_json(text, context=WHOLE)
        except ValidationError as e:
            wrong.append((kind, e.errors(include_url=False)))
    raise _refusal(*min(wrong, key=lambda one: len(one[1])), content, path)


def read_training(path: str | Path) -> Training:
    """Settings of the training of any method; `read_stage`.

    Raises:
        UserError: as `read_stage`.
    """
    method = artifacts.read_object(path)["method"]
    if method not in TRAININGS:
        raise UserError(f"not the configuration of a training: method is {method!r}", path, f"give {KIND}")
    return read_stage(path, TRAININGS[method])


def read_dataset(path: str | Path) -> Strict:
    """Settings of a dataset of any source.

    Raises:
        UserError: as `read_stage`, or no such source.
    """
    source = artifacts.read_object(path)["source"]
    if source not in SOURCES:
        raise UserError(f"unknown source {source!r}", path, nearest(str(source), SOURCES))
    return read_stage(path, SOURCES[source])


def check_asked(config: Path) -> Path:
    """Compare the requests of an experiment with its prepared data, before its first stage begins.

    Args:
        config: configuration of a stage.

    Raises:
        UserError: the data have fewer items, or lack a class.
    """
    file = config.with_name(asked.FILE)
    for values in artifacts.read_object(file)["asked"] if file.is_file() else ():
        one = asked.Asked(**values)
        if one.counts.is_file():
            asked.compare(one, artifacts.read_object(one.counts))
    return config


def read_runtime_file(path: Path) -> Runtime:
    """The runtime settings in a file; the defaults if no file is given and the workflow has written none.

    Raises:
        UserError: missing, damaged, or other settings.
    """
    if path == RUNTIME and not os.path.lexists(path):
        return Runtime()
    try:
        return Runtime.model_validate_json(json.dumps(artifacts.read_json(path)))
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "all of it"
        raise UserError(f"not speed settings: {key}: {first['msg']}", path, "give runtime.json") from None


def made_under(settings: Strict, card: Mapping[str, Any]) -> Json:
    """The card entry of a file that was made under the settings.

    A key that is newer than the card is ignored as long as it has its default.
    """
    recorded = card.get("config")
    try:
        before = type(settings).model_validate_json(json.dumps(recorded), context=WHOLE)
    except ValidationError:
        return {"config": settings.as_json()}
    return {"config": recorded if before.as_json() == settings.as_json() else settings.as_json()}


def _refusal(
    kind: type[Strict], wrong: Sequence[Any], content: Mapping[str, Any], path: str | Path
) -> UserError:
    """The most telling error: an impossible value, else a missing key, else an unknown one."""
    ranks = {"missing": 1, "extra_forbidden": 2}
    first = min(wrong, key=lambda error: ranks.get(error["type"], 0))
    keys = keys_of(first, content)
    key = ".".join(map(str, keys))
    if first["type"] == "missing":
        mend = "give a file of the kind that this command makes or asks for"
        return UserError(f"no {key} in it, so it is of another kind", path, mend)
    if first["type"] == "extra_forbidden":
        return unknown_key(key, path, kind, content, keys)
    if first["type"] == "value_error":
        what = first["msg"].removeprefix("Value error, ")
    else:
        given = first["input"]
        what = f"{key} is {'a section' if isinstance(given, dict) else repr(given)[:40]}"
    return UserError(f"not the configuration of a stage: {what}", path, f"give {KIND}")
