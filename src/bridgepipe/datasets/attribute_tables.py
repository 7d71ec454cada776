"""Tables of attributes of image files: Hugging Face's ``metadata.csv`` beside them, or one such as CelebA's.

Where the library `datasets` leaves out in silence what does not fit, here every such row and image is named.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bridgepipe.config.contents import ATTRIBUTE_TABLES, begins_with_count, delimiter_of
from bridgepipe.datasets.items import some
from bridgepipe.errors import UserError, reading

FILE_NAMES = ("file_name", "image_id", "filename", "file", "image", "path", "name")
SIGNS = {"-1": 0.0, "1": 1.0}
WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
RESERVED = frozenset({"labels", "item", "distance"})  # arrays of stores that mean something else
Row = Mapping[str, Any]
Attributes = dict[str, dict[str, float]]
log = logging.getLogger(__name__)


def is_table(name: str) -> bool:
    """Whether a file beside pictures is a table of their attributes."""
    return PurePosixPath(name).name.lower() in ATTRIBUTE_TABLES


def attributes_of(names: Sequence[str], root: Path, beside: Sequence[str], given: Path | None) -> Attributes:
    """Attributes of every picture by its name; {} without a table.

    A column is an attribute where all of its values are numbers, true or false; -1 and 1 become 0 and 1. A
    column of words, such as captions, is left out, which is said.

    Args:
        names: names of all pictures below ``root``.
        beside: names of the tables below ``root``; a row's file lies in the folder of its table.
        given: a table whose files lie below ``root``, in place of those. CelebA's may have rows of other
            images, as it is one of the whole dataset.

    Raises:
        UserError: rows without a picture, pictures without a row, a picture with two rows, a value that is
            missing or is no number, columns of one name.
    """
    tables = (
        [(given, "")] if given is not None else [(root / name, name.rpartition("/")[0]) for name in beside]
    )
    if not tables:
        return {}
    where = given if given is not None else root / beside[0]
    rows: dict[str, Row] = {}
    columns: list[str] | None = None
    for file, folder in tables:
        table = read_table(file)
        known = list(table.rows[0])
        if columns is not None and set(known) != set(columns):
            what = f"other columns than {where}: {some(sorted(set(known) ^ set(columns)), 'column')}"
            raise UserError(what, file, "give all tables the same columns")
        columns = known
        _join(rows, table, _finder(names, folder), file)
    if lonely := [name for name in names if name not in rows]:
        raise UserError(f"no row for {some(lonely)}", where, "give every image a row, or take it away")
    values = numbers({name: rows[name] for name in names}, where)
    return {name: {column: column_values[name] for column, column_values in values.items()} for name in names}


@dataclass(frozen=True)
class Table:
    """A table of attributes.

    Attributes:
        rows: values by column, one row or more.
        key: column that names files.
        of_more: whether the table may have rows of images that are not there.
    """

    rows: Sequence[Row]
    key: str
    of_more: bool


def read_table(file: Path) -> Table:
    """A CSV, TSV or JSONL file, or CelebA's text.

    Raises:
        UserError: missing, no such table, without rows, or without a column that names files.
    """
    with reading(file, "cannot be read as a table", "give CSV with a header, or one JSON object a line"):
        text = file.read_text(encoding="utf-8-sig")
        published, rows = begins_with_count(text), _rows(text, file)
    if not rows:
        raise UserError("a table without rows", file, "give a row for every image")
    columns = list(rows[0])
    key = next((c for name in FILE_NAMES for c in columns if c.casefold() == name), None)
    if key is None:
        what = f"no column that names files, it has {', '.join(columns)}"
        raise UserError(what, file, f"call it {FILE_NAMES[0]}")
    return Table(rows, key, of_more=published)


def _rows(text: str, file: Path) -> list[Row]:
    if begins_with_count(text):
        return [{FILE_NAMES[0]: image, **values} for image, values in celeba_rows(text)]
    return _json_rows(text) if file.suffix.lower() == ".jsonl" else _csv_rows(text, delimiter_of(file))


def celeba_rows(text: str) -> list[tuple[str, dict[str, float]]]:
    """Names of images, with attributes as 0 and 1, of ``list_attr_celeba.txt`` and CelebA-HQ's text.

    The text has the number of images, the names of the attributes, and for every image a line
    ``7.jpg  -1 1 ...``.

    Raises:
        ValueError: anything else, with the line.
    """
    lines = text.splitlines()
    if len(lines) < 2 or not begins_with_count(text):
        raise ValueError("line 1 is not the number of images")
    names, rows = lines[1].split(), [line.split() for line in lines[2:] if line.strip()]
    if not names:
        raise ValueError("line 2 is not the names of the attributes")
    _check_columns([FILE_NAMES[0], *names])
    if len(rows) != int(lines[0]):
        raise ValueError(f"{len(rows)} images, line 1 says {int(lines[0])}")
    for at, (_, *values) in enumerate(rows, 3):
        if len(values) != len(names) or not SIGNS.keys() >= set(values):
            raise ValueError(f"line {at} is not the name of an image and {len(names)} values of -1 or 1")
    return [
        (image, {name: SIGNS[value] for name, value in zip(names, values, strict=True)})
        for image, *values in rows
    ]


def _csv_rows(text: str, delimiter: str) -> list[Row]:
    header, *lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line] or [[]]
    columns = [name.strip() for name in header]
    _check_columns(columns)
    for number, line in enumerate(lines, 2):
        if len(line) != len(columns):
            raise ValueError(f"line {number} has {len(line)} values for {len(columns)} columns")
    return [dict(zip(columns, line, strict=True)) for line in lines]


def _json_rows(text: str) -> list[Row]:
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        if set(row) != set(rows[0]):
            other = sorted(set(row) ^ set(rows[0]))
            raise ValueError(f"line {number} has other keys than line 1: {', '.join(other)}")
    _check_columns(list(rows[0]) if rows else [])
    return rows


def _check_columns(columns: Sequence[str]) -> None:
    counts = Counter(name.casefold() for name in columns)
    if "" in counts:
        raise ValueError("a column has no name")
    if twice := [name for name in columns if counts[name.casefold()] > 1]:
        raise ValueError(f"columns of one name: {', '.join(twice)}")
    if reserved := [name for name in columns if name in RESERVED]:
        raise ValueError(f"a column may not be called {reserved[0]}")


def _join(rows: dict[str, Row], table: Table, find: Callable[[str], str | None], file: Path) -> None:
    """Add the rows of a table by the name of their picture."""
    written = [str(row[table.key]) for row in table.rows]
    found = [find(name) for name in written]
    if unknown := [name for name, picture in zip(written, found, strict=True) if picture is None]:
        what = f"no image for {some(unknown, 'row')}"
        if not table.of_more:
            raise UserError(what, file, "correct the names, or add the images")
        log.warning("%s: %s", file, what)
    counts = Counter(picture for picture in found if picture is not None)
    if twice := [picture for picture in counts if counts[picture] > 1 or picture in rows]:
        raise UserError(f"two rows for {some(twice)}", file, "give every image one row")
    for picture, row in zip(found, table.rows, strict=True):
        if picture is not None:
            rows[picture] = {column: value for column, value in row.items() if column != table.key}


def _finder(names: Sequence[str], folder: str) -> Callable[[str], str | None]:
    """The picture that a row names: by its place below the folder, else by a file name that is unique."""
    start = f"{folder}/" if folder else ""
    within = [name for name in names if name.startswith(start)]
    by_place = {name[len(start) :]: name for name in within}
    bare = Counter(name.rpartition("/")[2] for name in within)
    by_file = {name.rpartition("/")[2]: name for name in within if bare[name.rpartition("/")[2]] == 1}

    def find(written: str) -> str | None:
        plain = str(PurePosixPath(written.strip().replace("\\", "/")))
        return by_place.get(plain) or (by_file.get(plain) if "/" not in plain else None)

    return find


def numbers(rows: Mapping[str, Row], where: Path) -> dict[str, dict[str, float]]:
    """Values of every column that holds numbers, by column and picture."""
    found: dict[str, dict[str, float]] = {}
    left_out = []
    for column in next(iter(rows.values())):
        values = {name: number_of(row[column]) for name, row in rows.items()}
        bad = [name for name, value in values.items() if value is None]
        if len(bad) == len(rows):
            left_out.append(column)
            continue
        if bad:
            named = [f"{name} ({str(rows[name][column]).strip() or 'nothing'})" for name in bad]
            mend = "give a number, true or false in every row, or take the column away"
            raise UserError(f"no value of {column} for {some(named)}", where, mend)
        numbers = {name: value for name, value in values.items() if value is not None}
        signs = set(numbers.values()) == {-1.0, 1.0}
        found[column] = {name: float(v > 0) if signs else v for name, v in numbers.items()}
    if left_out:
        log.warning("%s: no attributes, as they hold no numbers: %s", where, ", ".join(left_out))
    return found


def number_of(value: Any) -> float | None:
    """A finite number, true or false as 1 or 0; None for anything else."""
    if isinstance(value, bool | int | float):
        number = float(value)
    else:
        word = str(value).strip().lower() if value is not None else ""
        try:
            number = WORDS[word] if word in WORDS else float(word)
        except ValueError:
            return None
    return number if math.isfinite(number) else None
