"""The list of published files, sources.yaml."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from bridgepipe.errors import UserError
from bridgepipe.names import origins

HUB_LICENCE = "that of its page"  # of a repository of a hub


@dataclass(frozen=True)
class Source:
    """One file, or one folder of files, and where it can be had. See ``sources.yaml`` for the fields."""

    path: str
    licence: str
    home: str
    manual: str = ""
    urls: Sequence[str] = ()
    drive: str | None = None
    folder: str | None = None
    hub: str | None = None
    files: Sequence[str] = ()
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


def listed() -> list[str]:
    """A line for each source that comes with bridgepipe: its name, how large it is, its licence."""
    found = load_sources()
    width = max(map(len, found))
    sizes = {name: f"{s.size / 1e6:,.0f} MB" if s.size else "size unknown" for name, s in found.items()}
    return [f"{name:{width}}  {sizes[name]:>12}  {s.licence}" for name, s in found.items()]


def load_sources(path: str | Path | None = None) -> dict[str, Source]:
    """The sources of a YAML file, by name; without a path, those that come with bridgepipe.

    Raises:
        UserError: the file is missing, or an entry has an unknown or missing field.
    """
    path = Path(path or Path(__file__).with_name("sources.yaml"))
    try:
        sources = {name: Source(**entry) for name, entry in yaml.safe_load(path.read_text("utf8")).items()}
    except FileNotFoundError as e:
        raise UserError("no such file", path, "give a file in the layout of sources.yaml") from e
    except (TypeError, AttributeError, yaml.YAMLError) as e:
        raise UserError(f"not a list of sources: {e}", path, "use the layout of sources.yaml") from e
    for name, source in sources.items():
        for place in (source.path, *source.files):
            if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
                raise UserError(f"not a list of sources: {name} lies at {place}", path, "stay below data/")
    return sources


def place_of(text: str) -> Path:
    """The file or folder of weights that a person names; see `names.origins`."""
    return origins.place_of(text, {name: source.path for name, source in load_sources().items()})


def is_fetched(text: str) -> bool:
    """Whether a text names a source, or a repository of a hub."""
    return text.startswith(origins.HUB) or source_at(place_of(text)) is not None


def source_at(path: str | Path) -> str | None:
    """Name of the source whose place below ``data/`` this is; None when it is no such place."""
    places = {Path("data") / source.path: name for name, source in load_sources().items()}
    return places.get(Path(path))


def origin_of(path: str | Path) -> dict[str, str] | None:
    """Name and licence of the source or hub's repository whose place below ``data/`` this is."""
    name = source_at(path)
    if name is not None:
        source = load_sources()[name]
        return {"source": name, "licence": source.licence, "home": source.home}
    folder = Path(path)
    if len(folder.parts) == 4 and folder.parts[:2] == ("data", origins.FOLDER):
        return {"source": origins.HUB + "/".join(folder.parts[2:]), "licence": HUB_LICENCE}
    return None


def find(name: str, sources: Mapping[str, Source]) -> Source:
    if name in sources:
        return sources[name]
    near = difflib.get_close_matches(name, sources, n=3, cutoff=0.4)
    mend = f"use one of: {', '.join(near)}" if near else "`bridgepipe fetch` lists what can be"
    raise UserError("nothing of this name can be fetched", name, mend)
