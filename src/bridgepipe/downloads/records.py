"""What was first fetched, or found in place: ``NAME.fetched.json`` beside a file or folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bridgepipe.artifacts import write_json
from bridgepipe.downloads.sources import Source
from bridgepipe.errors import reading


def place_of(path: Path) -> Path:
    return path.with_name(path.name + ".fetched.json")


def read(path: Path) -> dict[str, str]:
    """sha256 by name as first fetched; {} before that.

    Raises:
        UserError: the record is damaged.
    """
    record = place_of(path)
    if not record.exists():
        return {}
    mend = f"move it away to trust {path.name} as it is, or fetch both again"
    with reading(record, "damaged record of a download", mend):
        found = dict(json.loads(record.read_text(encoding="utf8"))["sha256"])
        if not all(isinstance(word, str) for pair in found.items() for word in pair):
            raise ValueError("no sha256 by name")
    return found


def write(name: str, source: Source, path: Path, place: str, found: Mapping[str, str]) -> None:
    """Remember what was first seen, and where it came from."""
    card = {"source": name, "from": place, "licence": source.licence, "home": source.home}
    write_json(place_of(path), {**card, "sha256": dict(found)})
