"""params.yaml and the files that it includes, read as one."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from bridgepipe.config import yaml_reader
from bridgepipe.config.yaml_reader import Document, KeyPath
from bridgepipe.errors import UserError

KEY = "include"
# sections that an included file may have, by how deep the names in them stand
SECTIONS = {"datasets": 1, "extractors": 1, "experiments": 2}
PATTERN = "experiments/*.yaml"


def read(path: str | Path, new: Document | None = None) -> Document:
    """Content of a params file and of the files that it includes, in the order of their names.

    Each name is written once: nothing in one file is laid over another.

    Args:
        path: the params file.
        new: Content of a file that is not written yet.

    Raises:
        UserError: as `yaml_reader.read`; no file to include, a section that belongs to the params file, a
            name that another file has, or a new file that would not be included.
    """
    own = yaml_reader.read(path)
    files = _included(own, Path(path).parent, new)
    values = {key: value for key, value in own.values.items() if key != KEY}
    parts = (new if new and new.places.file == file else yaml_reader.read(file) for file in files)
    return reduce(_joined, parts, Document(values, own.places))


def _included(own: Document, folder: Path, new: Document | None) -> list[str]:
    """Files of the pattern, hidden ones left out."""
    pattern, where = own.values.get(KEY), own.places.at(KEY)
    if not isinstance(pattern, str | None):
        raise UserError(f"include is {pattern!r}", where, f"give a pattern of files, such as {PATTERN}")
    files = sorted(str(folder / name) for name in glob.glob(pattern or "", root_dir=folder))
    if new is not None:
        if not pattern or not Path(new.places.file).match(pattern):
            what = f"it does not include {new.places.file}"
            raise UserError(what, own.places.file, f"add the line `{KEY}: {PATTERN}`")
        return sorted({*files, new.places.file})
    if pattern and not files:
        raise UserError(f"no file is called {pattern}", where, "correct the pattern, or remove the line")
    return files


def _joined(whole: Document, part: Document) -> Document:
    for section, entries in part.values.items():
        where = part.places.at(section)
        if section not in SECTIONS:
            mend = f"write it in {whole.places.file}; an included file has {', '.join(SECTIONS)}"
            raise UserError(f"{section} in an included file", where, mend)
        if not isinstance(entries, Mapping):
            raise UserError(f"{section} is no section", where, "write entries by name, or remove the line")
        for path in _names(entries, SECTIONS[section], (section,)):
            if path in whole.places.marks:
                what = f"{path[-1]} is already at {whole.places.marks[path]}"
                raise UserError(what, part.places.at(*path), "keep one of the two, or rename one")
    return part.over(whole)


def _names(entries: Any, depth: int, above: KeyPath) -> Iterator[KeyPath]:
    """Paths of what is defined in a section."""
    for name, value in entries.items() if isinstance(entries, Mapping) else ():
        if depth == 1:
            yield *above, name
        else:
            yield from _names(value, depth - 1, (*above, name))
