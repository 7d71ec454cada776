"""A result made again by the command that made it, and why its bytes differ when they do."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.runtime import provenance


@dataclass(frozen=True)
class Rerun:
    """What came of it.

    Attributes:
        same: the bytes are equal.
        reasons: what was different when the result was made; empty when nothing that is recorded was.
    """

    same: bool
    reasons: list[str]

    def __str__(self) -> str:
        if self.same:
            return "the same bytes"
        return f"other bytes: {'; '.join(self.reasons) or 'nothing that was recorded explains it'}"


def rerun(file: Path) -> Rerun:
    """Make a result again in a folder beside it, which is removed, and compare.

    Inputs that were temporary are made again before it. A training begins at its first step.

    Raises:
        UserError: there is no record of how the file was made, or the command fails.
    """
    with _scratch(file) as scratch:
        again = _Again(scratch).make(file)
        return Rerun(filecmp.cmp(file, again, shallow=False), _reasons(_record(file), _record(again)))


@contextmanager
def _scratch(file: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=".rerun-", dir=file.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class _Again:
    """Files that were made again, by their first names."""

    scratch: Path
    made: dict[str, Path] = field(default_factory=dict)

    def make(self, file: Path) -> Path:
        if str(file) not in self.made:
            record = _record(file)
            folder = self.scratch / str(len(self.made))
            self.made |= {name: folder / Path(name).name for name in record["outputs"]}
            _run([*self._words(record, folder)], file)
        return self.made[str(file)]

    def _words(self, record: Json, folder: Path) -> Iterator[str]:
        """The command with its outputs, and the state of a training, in a folder of their own."""
        option, outputs = "", set(record["outputs"])
        for word in record["command"]:
            holds = any(str(Path(name).parent) == word for name in outputs)
            if word in outputs:
                yield str(self.made[word])
            elif option == "--folder":
                yield str(folder / "train")
            elif option == "--output" and holds:
                yield str(folder)
            elif not Path(word).exists() and provenance.record_of(Path(word)).exists():
                yield str(self.make(Path(word)))
            else:
                yield word
            option = word


def _run(command: list[str], file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bridgepipe", *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"it cannot be made again: {last}", file, "mend what the message says")


def _record(file: Path) -> Json:
    path = provenance.record_of(file)
    if not path.exists():
        raise UserError("nothing tells how it was made", file, f"make it anew, which leaves {path}")
    return artifacts.read_json(path)


def _reasons(then: Json, now: Json) -> list[str]:
    new = now["sessions"][-1]
    found = [reason for session in then["sessions"] for reason in provenance.differences(session, new)]
    files = [Path(name) for name, stamp in then["inputs"].items() if _changed(Path(name), stamp)]
    return [*dict.fromkeys(found), *(f"{file} was written since" for file in files)]


def _changed(file: Path, stamp: list[int]) -> bool:
    return file.exists() and provenance.stamp(file) != stamp
