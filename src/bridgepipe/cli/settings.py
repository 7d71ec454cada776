"""Configurations of stages as files: read with care, because a person can give any file in their place."""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.artifacts import Named
from bridgepipe.config import asked
from bridgepipe.errors import UserError

RUNTIME = Path("results/config/runtime.json")  # of the workflow
KIND = "a stage's configuration, such as results/METHOD/EXPERIMENT/config/STAGE.json"


def read_settings(path: str | Path) -> Named:
    """A stage's configuration; a key that it lacks is told with the file's name when it is read.

    Raises:
        UserError: missing, damaged, or not a configuration: a value that params.yaml could not have.
    """
    content = artifacts.read_object(path)
    _check(content, path, "")
    return content


def check_asked(config: Path) -> Path:
    """Compare what an experiment asks of data with those that are prepared; its first stage stops.

    Args:
        config: configuration of a stage.

    Raises:
        UserError: they have fewer items, or no such class.
    """
    file = config.with_name(asked.FILE)
    for values in artifacts.read_object(file)["asked"] if file.is_file() else ():
        one = asked.Asked(**values)
        if one.counts.is_file():
            asked.compare(one, artifacts.read_object(one.counts))
    return config


def read_runtime_file(path: Path) -> configuration.Runtime:
    """The file of speed settings; defaults where nobody gave one and the workflow has written none.

    Raises:
        UserError: missing, damaged, or other settings.
    """
    if path == RUNTIME and not os.path.lexists(path):
        return configuration.Runtime()
    try:
        return configuration.Runtime.model_validate(artifacts.read_json(path))
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "all of it"
        raise UserError(f"not speed settings: {key}: {first['msg']}", path, "give runtime.json") from None


def _check(settings: Named, path: str | Path, above: str, labels: bool = False) -> None:
    """Refuse a value that its key can't have anywhere; ``labels`` are names that a person chose, not keys."""
    for key, value in settings.items():
        allowed, section = None if labels else _fields().get(key), isinstance(value, Named)
        if allowed and not any(_is_section(kind) if section else _takes(kind, value) for kind in allowed):
            shown = "a section" if section else repr(value)[:40]
            what = f"not the configuration of a stage: {above}{key} is {shown}"
            raise UserError(what, path, f"give {KIND}")
        if section:
            _check(value, path, f"{above}{key}.", any(map(_is_mapping, allowed or ())))


@cache
def _fields() -> dict[str, list[Any]]:
    """Types of every key that any section of params.yaml has."""
    found: dict[str, list[Any]] = {}
    models: list[type[BaseModel]] = [BaseModel]
    for model in models:
        models += [kind for kind in model.__subclasses__() if kind.__module__.startswith("bridgepipe.")]
        for name, field in model.model_fields.items():
            found.setdefault(name, []).append(field.annotation)
    return found


def _is_section(kind: Any) -> bool:
    """Whether a type may be a section: any keys, or those of a model."""
    return any(part is Any or _is_a(part, BaseModel) for part in _parts(kind)) or _is_mapping(kind)


def _is_mapping(kind: Any) -> bool:
    """Whether a type may be a mapping of labels."""
    return any(_is_a(part, dict) for part in _parts(kind))


def _is_a(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _parts(kind: Any) -> Iterator[Any]:
    """The plain types of which a type is a choice."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for part in typing.get_args(kind):
            yield from _parts(part)
    elif typing.get_origin(kind) is typing.Annotated:
        yield from _parts(typing.get_args(kind)[0])
    else:
        yield typing.get_origin(kind) or kind


def _takes(kind: Any, value: Any) -> bool:
    try:
        _adapter(kind).validate_python(tuple(value) if isinstance(value, list) else value)
    except ValidationError:
        return False
    return True


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
