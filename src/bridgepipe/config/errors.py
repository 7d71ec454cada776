"""Errors in parameters as one line: the key and line that a person wrote, what is wrong, how to mend it."""

from __future__ import annotations

import difflib
import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from bridgepipe.config.values import Strict
from bridgepipe.config.yaml_reader import KeyPath, Places
from bridgepipe.config.yaml_scalars import Ambiguous, plain
from bridgepipe.errors import UserError

SHOWN = 3  # names that answer a wrong one
CHOICES = 6  # a longer list of choices is answered with the nearest
LONGEST = 60  # characters of a name or a value that a message repeats


def nearest(name: str, valid: Iterable[str]) -> str:
    """The nearest valid names, as the remedy for a wrong one."""
    names = [str(v) for v in valid]
    by_likeness = difflib.get_close_matches(str(name)[:LONGEST], names, n=SHOWN, cutoff=0.0)
    likely = difflib.get_close_matches(str(name)[:LONGEST], by_likeness, n=1, cutoff=0.5)
    hint = f"did you mean '{likely[0]}'? " if likely else ""
    if len(names) <= SHOWN:
        return f"{hint}valid: {', '.join(names) or 'none'}"
    return f"{hint}nearest of {len(names)}: {', '.join(by_likeness)}"


def validated(
    model: type[Any],
    values: Any,
    places: Places,
    path: KeyPath = (),
    inherited: KeyPath = (),
    part: bool = False,
) -> Any:
    """The model, or one line that names the key and the line where the person wrote it.

    Args:
        model: class that the values must fit.
        values: plain values.
        places: positions of the values in their file.
        path: the keys above them.
        inherited: the keys above those that they inherit from.
        part: keys may be missing or not go together, and None stands for such a model.

    Raises:
        UserError: the values do not fit the model.
    """
    try:
        # through JSON, so that YAML lists are accepted for tuples while numbers stay strict
        return model.model_validate_json(json.dumps(values))
    except TypeError as e:
        raise UserError(f"not a plain value: {e}", places.at(*path), "write dates and such in quotes") from e
    except ValidationError as e:
        wrong = [error for error in e.errors(include_url=False) if not (part and _of_a_part(error))]
        if not wrong:
            return None
        raise _one_line(wrong, model, values, places, (path, inherited or path)) from None


def _of_a_part(error: Any) -> bool:
    """Whether keys are missing or contradict each other, which other sections may mend."""
    together = error["type"] == "value_error" and isinstance(error["input"], dict)
    return together or error["type"] in ("missing", "union_tag_not_found")


def _one_line(
    wrong: Sequence[Any], model: type[Any], values: Any, places: Places, roots: tuple[KeyPath, ...]
) -> UserError:
    # a typo is also a missing key: the unknown one says more; of a union, the member that was meant
    first = min(wrong, key=lambda e: e["type"] != "extra_forbidden")
    if _of_type(first):
        here = keys_of(first, values)
        inside = [e for e in wrong if keys_of(e, values)[: len(here)] == here]
        meant = [e for e in inside if not _of_type(e) or keys_of(e, values) != here]
        first = meant[0] if meant else first
    kind, location = first["type"], keys_of(first, values)
    if kind == "union_tag_not_found":
        kind, location = "missing", (*location, first["ctx"]["discriminator"].strip("'()"))
    elif kind == "union_tag_invalid":
        location = (*location, first["ctx"]["discriminator"].strip("'()"))
    key = location[-1] if location else "top level"
    where = places.at(*places.nearest(*((*root, *location) for root in roots)))
    if kind == "extra_forbidden":
        return unknown_key(str(key), where, model, values, location)
    if kind == "missing":
        return UserError(f"missing key '{key}'", where, "add it")
    if kind == "union_tag_invalid":
        given, valid = str(first["input"].get(key)), first["ctx"]["expected_tags"].replace("'", "")
        return UserError(f"unknown {key} '{given[:LONGEST]}'", where, nearest(given, valid.split(", ")))
    given = first.get("input")
    shown = "" if isinstance(given, dict) else f", is {brief(given)}"
    return UserError(f"impossible value{shown}", where, _asked(wrong, first, values))


def _asked(wrong: Sequence[Any], first: Any, values: Any) -> str:
    """What the value should be; where no member of a union was meant, any of them."""
    others = [e for e in wrong if _of_type(e) and keys_of(e, values) == keys_of(first, values)]
    start, *more = dict.fromkeys(_text(e) for e in (others if _of_type(first) else [first]))
    text = " or ".join([start, *(other.removeprefix("input should be ") for other in more)])
    return text + (_unquoted(first.get("input")) if re.search("valid (integer|number)", text) else "")


def _unquoted(given: Any) -> str:
    """Advice to write a quoted number without quotes."""
    try:
        value = plain(given) if isinstance(given, str) else None
    except Ambiguous:
        return ""
    return "" if isinstance(value, str | bool | None) else f"; write {value} without quotes"


def _of_type(error: Any) -> bool:
    """Whether the value does not match the type of a member of a union."""
    return error["type"].endswith("_type") or error["type"] == "literal_error"


def _text(error: Any) -> str:
    if error["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        if len(choices) > CHOICES:
            return nearest(str(error["input"]), choices)
    if error["type"] == "string_too_long":
        return f"a text has at most {error['ctx']['max_length']} characters"
    message = error["msg"].removeprefix("Value error, ")
    return f"{message[:1].lower()}{message[1:]}"


def brief(value: Any) -> str:
    """A value for a message: long ones are cut."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = LONGEST
    return short.repr(value)


def keys_of(error: Any, values: Any) -> KeyPath:
    """The keys of an error of pydantic, whose location also names the members of unions that it tried."""
    keys: list[str | int] = []
    location = error["loc"]
    for i, part in enumerate(location):
        inside = (isinstance(values, Mapping) and part in values) or (
            isinstance(values, list) and isinstance(part, int) and part < len(values)
        )
        if inside:
            values = values[part]
            keys.append(part)
        elif error["type"] == "missing" and i == len(location) - 1 and isinstance(values, Mapping):
            keys.append(part)
    return tuple(keys)


def unknown_key(shown: str, where: str | Path, model: type[Any], values: Any, location: KeyPath) -> UserError:
    """The answer to a key that a model does not have: the key's present name, or the nearest valid ones.

    Args:
        shown: the key as the message shows it.
        where: where a person finds the key.
        model: the class that the values should be of.
        values: plain values.
        location: the keys that lead to the wrong one, and the wrong one.
    """
    section, key = _model_at(model, values, location), str(location[-1])
    if section is not None and key in section.renamed:
        return UserError(f"the key '{shown}' was renamed", where, f"write {section.renamed[key]}")
    return UserError(f"unknown key '{shown}'", where, nearest(key, section.model_fields if section else ()))


def _model_at(model: type[Any], values: Any, location: KeyPath) -> type[Strict] | None:
    """The class of the section that holds the last key of ``location`` inside a model; None: a mapping."""
    here: Any = model
    for part in location[:-1]:
        values = values[part]
        inside = here.model_fields[part].annotation if _is_model(here) else get_args(here)[-1]
        here = _chosen(inside, values)
    return here if _is_model(here) else None


def _chosen(annotation: Any, values: Any) -> Any:
    """The member of a union that a section means by its source or kind."""
    members = [m for m in _members(annotation) if m is not type(None)]
    for model in filter(_is_model, members):
        tags = [tag for tag in ("source", "kind") if tag in model.model_fields]
        if all(
            values.get(tag) in get_args(model.model_fields[tag].annotation) for tag in tags if tag in values
        ):
            return model
    return members[0]


def _members(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
