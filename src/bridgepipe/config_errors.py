"""Wrong parameters, told in one line: the key as a person wrote it, what is wrong, the nearest valid name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from bridgepipe.errors import UserError
from bridgepipe.params import SOURCES


def nearest(name: str, valid: Iterable[str]) -> str:
    """How to mend a wrong name: the nearest valid one, and all of them."""
    names = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}valid: {', '.join(names)}"


def validated(
    model: type[Any],
    values: Any,
    where: str,
    path: tuple[str, ...],
    defaults_path: tuple[str, ...] = (),
    own: Mapping[str, Any] | None = None,
    part: bool = False,
) -> Any:
    """The model, or one line that names the key where the person wrote it: in ``own`` or the defaults.

    With ``part`` keys may be missing or not go together, and None stands for such a model.
    """
    try:
        # through JSON, so that YAML lists are accepted for tuples while numbers stay strict
        return model.model_validate_json(json.dumps(values))
    except TypeError as e:
        raise UserError(f"not a plain value: {e}", where, "write dates and such in quotes") from e
    except ValidationError as e:
        wrong = [error for error in e.errors(include_url=False) if not (part and _of_a_part(error))]
        if not wrong:
            return None
        written_in_defaults = own is not None and not _contains(own, wrong[0]["loc"])
        raise _one_line(wrong[0], model, where, defaults_path if written_in_defaults else path) from None


def _of_a_part(error: Any) -> bool:
    """Whether something is missing, or keys don't go together, which others may mend."""
    together = error["type"] == "value_error" and isinstance(error["input"], dict)
    return together or error["type"] in ("missing", "union_tag_not_found")


def _contains(values: Any, location: tuple[Any, ...]) -> bool:
    for part in location[:2]:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _one_line(first: Any, model: type[Any], where: str, path: tuple[str, ...]) -> UserError:
    location = [str(p) for p in first["loc"] if not _is_type_tag(p)]
    if location[:1] == ["datasets"] and len(location) > 2:
        model = SOURCES[location.pop(2)]  # the tag of the source is no key that a person wrote
    key = ".".join((*path, *location)) or "top level"
    if first["type"] == "extra_forbidden":
        valid = _fields_at(model, location[:-1])
        return UserError(f"unknown key '{location[-1]}'", f"{where}: {key}", nearest(location[-1], valid))
    if first["type"] == "missing":
        return UserError(f"missing key '{location[-1]}'", f"{where}: {key}", "add it")
    if first["type"] == "union_tag_invalid":
        tag, valid = first["ctx"]["discriminator"].strip("'"), first["ctx"]["expected_tags"].replace("'", "")
        given = str(first["input"].get(tag))
        return UserError(
            f"unknown {tag} '{given}'", f"{where}: {key}.{tag}", nearest(given, valid.split(", "))
        )
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = "" if isinstance(given, dict) else f", is {given!r}"
    return UserError(f"impossible value{shown}", f"{where}: {key}", f"{message[:1].lower()}{message[1:]}")


def _is_type_tag(part: Any) -> bool:
    return isinstance(part, str) and (part.startswith(("constrained", "tuple[")) or part in ("int", "[key]"))


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Valid keys of the section at ``location`` inside a model."""
    for part in location:
        if part in model.model_fields:
            annotation = model.model_fields[part].annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                model = annotation
    return list(model.model_fields)
