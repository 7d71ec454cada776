"""Which files in a folder bridgepipe made, and of what: not every format has a place to record it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from bridgepipe import artifacts
from bridgepipe.errors import writing

NAME = ".bridgepipe-made.jsonl"


class Made:
    """The record of a folder: a line for every file, written just before the file itself."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / NAME
        self._of: dict[str, dict[str, str]] = {}
        if self._file.is_file():
            for line in self._file.read_text(encoding="utf8").splitlines():
                try:
                    entry = json.loads(line)
                    made = {key: str(entry[key]) for key in ("of", "sha256")}
                    of_photo = {key: str(entry.get(key, "")) for key in ("photo", "from")}
                    self._of[entry["name"]] = made | of_photo
                except (ValueError, KeyError, TypeError):  # of a write that was cut off
                    continue

    def is_ours(self, place: Path) -> bool:
        """Whether a file is as it was written."""
        entry = self._of.get(self._name(place))
        return entry is not None and place.is_file() and artifacts.digest_file(place) == entry["sha256"]

    def is_done(self, place: Path, of: str) -> bool:
        """Whether a file was made of this, and is as it was written."""
        entry = self._of.get(self._name(place))
        return entry is not None and entry["of"] == of and self.is_ours(place)

    def is_of_another(self, place: Path, photo: str, source: Path | None) -> bool:
        """Whether a file is as it was written, and was made of another photograph.

        One that was edited since then is no other one. Records of earlier versions do not say of which.

        Args:
            photo, source: digest and file of the photograph, see `write`.
        """
        entry = self._of.get(self._name(place))
        if entry is None or entry["photo"] in ("", photo):
            return False
        return (source is None or entry["from"] != self._from(source)) and self.is_ours(place)

    def write(self, place: Path, content: bytes, of: str, photo: str, source: Path | None) -> None:
        """Write a file, atomically; the caller syncs its folder after the last.

        Args:
            of: digest of all that the file depends on.
            photo: digest of the photograph alone.
            source: file of the photograph; None of standard input.
        """
        entry = {"name": self._name(place), "of": of, "photo": photo}
        entry["from"] = "" if source is None else self._from(source)
        entry["sha256"] = hashlib.sha256(content).hexdigest()
        with writing(self._file):
            self._folder.mkdir(parents=True, exist_ok=True)
            with open(self._file, "a", encoding="utf8") as record:
                record.write(artifacts.canonical(entry) + "\n")
        self._of[entry["name"]] = entry
        with artifacts.atomic(place, one_of_many=True) as temporary:
            temporary.write_bytes(content)

    def _from(self, source: Path) -> str:
        """A file as seen from the folder, so that both may be moved together."""
        return os.path.relpath(source, self._folder)

    def _name(self, place: Path) -> str:
        return place.relative_to(self._folder).as_posix()
