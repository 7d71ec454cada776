"""params.yaml as plain values, and where each of them is written.

The Snakefile, DVC's stages and the command line all read through here. YAML 1.1
(PyYAML) and YAML 1.2 (DVC) read some texts as different values: 1e-4, 0250,
12:30, on. A number is read as a person means it, a text with two meanings is
refused with what to write instead, and so is everything of YAML that is no plain
data. A person gets one line with file, line and column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bridgepipe.config.yaml_scalars import Ambiguous, plain, short
from bridgepipe.config.yaml_text import NOT_TEXT, text_of
from bridgepipe.errors import UserError
from bridgepipe.names import Json

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times as fast
MAX_DEPTH = 20
MAX_VALUES = 100_000  # with every alias written out
MERGE = "repeat the inherited keys here, or put them into scales.SCALE.METHOD, which experiments inherit"
COMMAND_LINE = "--config"

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Places:
    """Where values are written: for each path of keys ``file:line:column``.

    Attributes:
        file: file that is named where no line is known.
        marks: path of keys -> place of the key.
        aliases: path of an alias -> path of what it stands for.
    """

    file: str
    marks: Mapping[KeyPath, str]
    aliases: Mapping[KeyPath, KeyPath] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Any, name: str) -> Places:
        """Those of values that come from elsewhere than a file: all called ``name``."""
        return cls(name, dict.fromkeys(_paths(values), name))

    def at(self, *path: str | int) -> str:
        """``file:line:column: key.path`` for a message; the place of the last key that is written."""
        known = self._written(path)
        place = self.marks[known] if known else self.file
        return f"{place}: {'.'.join(map(str, path)) or 'top level'}"

    def nearest(self, *candidates: KeyPath) -> KeyPath:
        """Which of several paths is written to the deepest key; the first of equals."""
        return min(candidates, key=lambda path: len(path) - len(self._written(path)))

    def _written(self, path: KeyPath) -> KeyPath:
        last: KeyPath = ()
        follow: KeyPath = ()
        for part in path:
            follow = (*self.aliases.get(follow, follow), part)
            if follow not in self.marks:
                break
            last = follow
        return last


@dataclass(frozen=True)
class Document:
    values: Json
    places: Places

    def over(self, below: Document) -> Document:
        """These values laid over others, sections merged to any depth."""
        marks = {**below.places.marks, **self.places.marks}
        aliases = {**below.places.aliases, **self.places.aliases}
        values = _laid_over(below.values, self.values)
        return Document(values, Places(below.places.file, marks, aliases))


def read(path: str | Path) -> Document:
    """Content of a YAML file that holds sections.

    Raises:
        UserError: the file can't be read, is no plain YAML, or holds a text with two meanings.
    """
    name = str(path)
    return parsed(text_of(Path(path), name), name)


def parsed(text: str, name: str) -> Document:
    """Content of a file that is called so; raises as `read`."""
    return _Reader(name, text).document()


def given(values: Mapping[str, Any]) -> Document:
    """Values of the command line. Snakemake leaves the values inside sections as text.

    Raises:
        UserError: a text has two meanings.
    """
    typed = {key: _typed(value, (key,)) for key, value in values.items()}
    return Document(typed, Places.of(typed, COMMAND_LINE))


def _paths(values: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    entries = values.items() if isinstance(values, Mapping) else ()
    for key, value in entries:
        yield (*path, key)
        yield from _paths(value, (*path, key))


def _laid_over(below: Any, above: Any) -> Any:
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    shared = {key: _laid_over(below[key], value) for key, value in above.items() if key in below}
    return {**below, **above, **shared}


def _typed(value: Any, path: KeyPath) -> Any:
    """A value inside a section of the command line; at the top level Snakemake has parsed numbers."""
    if isinstance(value, Mapping):
        return {key: _typed(inner, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner, (*path, i)) for i, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        return plain(value)
    except Ambiguous as e:
        raise UserError(str(e), f"{COMMAND_LINE}: {'.'.join(map(str, path))}", e.mend) from None


# the text


# the values


@dataclass
class _Anchor:
    path: KeyPath
    value: Any = None
    size: int = 0
    complete: bool = False


class _Reader:
    """One pass over the parser's events, which come one by one: depth and size are bounded on the way."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._events = yaml.parse(text, Loader=LOADER)
        self._marks: dict[KeyPath, str] = {}
        self._aliases: dict[KeyPath, KeyPath] = {}
        self._anchors: dict[str, _Anchor] = {}
        self._size = 0

    def document(self) -> Document:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            raise UserError("empty file", self._name, "start from the params.yaml of the repository")
        root = self._next()
        values = self._value(root, ())
        if not isinstance(values, dict):
            self._refuse(root, "not a mapping of sections", "start from the params.yaml of the repository")
        self._next()
        last = self._next()
        if not isinstance(last, yaml.StreamEndEvent):
            self._refuse(last, "a second YAML document starts here", "keep one document to a file")
        return Document(values, Places(self._name, self._marks, self._aliases))

    def _next(self) -> Any:
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as e:
            raise self._not_yaml(e) from None
        except (yaml.YAMLError, ValueError, OverflowError) as e:  # an escape such as "\U00110000"
            raise UserError(f"not YAML: {e}", self._name, "mend what is named here") from None

    def _not_yaml(self, error: yaml.MarkedYAMLError) -> UserError:
        mark, since = error.problem_mark or error.context_mark, error.context_mark
        if mark is None:
            return UserError(f"not YAML: {error.problem}", self._name, "mend what is named here")
        here = self._text.split("\n")[mark.line : mark.line + 1]
        if here and here[0][mark.column : mark.column + 1] == "\t":
            what, mend = "a tab", "indent with spaces"
        else:
            opened = f" {error.context} from line {since.line + 1} on," if since and error.context else ""
            what, mend = f"not YAML:{opened} {error.problem}", "mend this line or the one before"
        return UserError(what, self._at(mark), mend)

    def _at(self, mark: Any) -> str:
        return f"{self._name}:{mark.line + 1}:{mark.column + 1}"

    def _refuse(self, event: Any, what: str, mend: str) -> NoReturn:
        raise UserError(what, self._at(event.start_mark), mend)

    def _value(self, event: Any, path: KeyPath) -> Any:
        self._size += 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if len(path) > MAX_DEPTH:
            self._refuse(event, f"more than {MAX_DEPTH} levels deep", "nest less")
        if event.tag is not None:
            self._refuse(
                event, f"tag {short(event.tag)}", "remove it: values are numbers, true, false, null or text"
            )
        anchor = _Anchor(path)
        if event.anchor is not None:
            self._anchors[event.anchor] = anchor
        before = self._size
        anchor.value = self._content(event, path)
        anchor.size, anchor.complete = self._size - before + 1, True
        return anchor.value

    def _content(self, event: Any, path: KeyPath) -> Any:
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event)

    def _alias(self, event: Any, path: KeyPath) -> Any:
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            self._refuse(event, f"*{event.anchor} is not defined above", f"define it with &{event.anchor}")
        if not anchor.complete:
            self._refuse(event, f"*{event.anchor} contains itself", "write the values out")
        self._size += anchor.size
        if self._size > MAX_VALUES:
            self._refuse(
                event, f"more than {MAX_VALUES} values with aliases written out", "use fewer aliases"
            )
        self._aliases[path] = anchor.path
        return anchor.value

    def _sequence(self, path: KeyPath) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            self._marks[*path, len(values)] = self._at(event.start_mark)
            values.append(self._value(event, (*path, len(values))))
        return values

    def _mapping(self, path: KeyPath) -> Json:
        values: Json = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event)
            if key in values:
                first = self._marks[*path, key].removeprefix(f"{self._name}:").partition(":")[0]
                self._refuse(event, f"key '{key}' is already on line {first}", "keep one of the two")
            self._marks[*path, key] = self._at(event.start_mark)
            held = self._next()
            if not event.style and ":" in key and getattr(held, "value", None) == "" and not held.style:
                self._refuse(event, f"no space after the colon of '{key}'", "write one")
            values[key] = self._value(held, (*path, key))
        return values

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, "a key that is not text", "write a name, in quotes if need be")
        if event.tag is not None:
            self._refuse(event, f"tag {short(event.tag)}", "remove it")
        if not event.style and event.value == "<<":
            self._refuse(event, "YAML merges (<<) are not used here: engines write them out for good", MERGE)
        key = self._scalar(event)
        if type(key) is int and event.value.isdecimal():
            key = event.value  # a class by its number
        if not isinstance(key, str):
            self._refuse(
                event, f"key {short(event.value)} is not text", f'write "{short(event.value)}" in quotes'
            )
        if "\n" in key or "\t" in key:
            self._refuse(event, "a key over several lines", "keep a key to one line")
        return key

    def _scalar(self, event: Any) -> Any:
        if event.style:  # quotes or a block; libyaml says "" and PyYAML None for plain
            if bad := NOT_TEXT.search(event.value):
                self._refuse(event, f"control character U+{ord(bad[0]):04X} in a text", "remove it")
            return event.value
        if event.start_mark.line != event.end_mark.line:
            self._refuse(event, "text over several lines", "put it in quotes, or mend the indentation")
        try:
            return plain(event.value)
        except Ambiguous as e:
            self._refuse(event, str(e), e.mend)
