"""Records of jobs of the workflow: while they run, and of their failure until they succeed.

Snakemake's log names no job when it was asked to be quiet. So a command whose output goes to a log of the
workflow keeps a record, named after this log, which is removed when the command succeeds: what it made has
records of its own then (`provenance`). A record names its process as a lock does, and renews its time.

A job that failed on bad input fails again in the same way, and profiles send it again. The record ends the
second try at once, with the same line, unless anything that the command reads has changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.runtime import interruption, launch, locks, provenance

FOLDER = Path(".snakemake/bridgepipe.runtime.jobs")
BAD_INPUT = 2  # the exit code that stands for one line
STOPPED = (interruption.RESUME_ME, 130, 143)  # exit codes of what was asked to end
OUTPUT = "--output"  # the option whose folder the command itself writes into


@dataclass(frozen=True)
class Unfinished:
    """What is known of a job that has not succeeded.

    Attributes:
        command: words after ``bridgepipe``.
        state: RUNNING, FAILED or STOPPED.
        log: where it writes.
        number: Slurm's number of the job; empty elsewhere.
    """

    command: list[str]
    state: str
    log: str
    number: str


@contextmanager
def recorded(command: Sequence[str], run: locks.Owner | None) -> Iterator[None]:
    """Keep the record of a command while it runs, where it is a job of the workflow.

    Args:
        command: words after ``bridgepipe``.
        run: the run of Snakemake that sent it, as far as it is known.

    Raises:
        SystemExit: the command failed in this run, on the same input.
    """
    file = _record()
    if file is None or launch.CHILD in os.environ or not launch.is_main():  # another process speaks for it
        yield
        return
    begun = {
        "command": list(command),
        "log": provenance.log_file(),
        "number": os.environ.get("SLURM_JOB_ID", ""),
        "run": run.token if run else "",
    }
    _end_if_in_vain(_read(file), begun)
    with _recording(file, begun):
        yield


def failed(line: str, for_good: bool) -> None:
    """Note why this command, or one of its processes, ends.

    Args:
        line: text that is printed.
        for_good: whether it would end so again, as long as what it reads is the same.
    """
    file = _record()
    if file is not None and (known := _read(file)):
        reads = _stamps(known["command"]) if for_good and known["run"] else None
        _write(file, {**known, "line": line, "reads": reads})


def unfinished(folder: Path) -> list[Unfinished]:
    """Jobs of a folder that run or have failed, oldest first."""
    found = [job for file in (folder / FOLDER).glob("*.json") for job in _unfinished(file)]
    return [job for _, job in sorted(found, key=lambda timed: timed[0])]


def _unfinished(file: Path) -> Iterator[tuple[int, Unfinished]]:
    """The time of a record, and the job in it."""
    with suppress(OSError, KeyError, TypeError):  # a job that has just ended; a record of another version
        known = _read(file)
        owner = locks.Owner(**known["owner"]) if known["owner"] else None
        state = "FAILED" if known["code"] not in (None, *STOPPED) else "STOPPED"
        if owner is not None and locks.lives(owner, file):
            state = "RUNNING"
        yield file.stat().st_mtime_ns, Unfinished(known["command"], state, known["log"], known["number"])


@contextmanager
def _recording(file: Path, begun: Mapping[str, Any]) -> Iterator[None]:
    """The record of a job that runs; it stays when the job fails."""
    _write(file, {**begun, "owner": asdict(locks.me()), "code": None})
    code: int | str | None = 1
    try:
        with locks.renewed(file):
            yield
        code = 0
    except SystemExit as e:
        code = e.code or 0
        raise
    finally:
        if code != 0:
            _write(file, {**_read(file), "owner": None, "code": code})
        else:
            with suppress(OSError):
                file.unlink(missing_ok=True)


def _end_if_in_vain(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    sent_again = now["run"] != "" and all(before.get(key) == now[key] for key in ("command", "run"))
    if sent_again and before.get("reads") is not None and before["reads"] == _stamps(now["command"]):
        print(before["line"], file=sys.stderr, flush=True)
        raise SystemExit(BAD_INPUT)


def _record() -> Path | None:
    """The record of this process; None when its output goes to no log of the workflow."""
    log = Path(provenance.log_file())
    if log.suffix != ".log" or log.parts[0] not in provenance.HOMES or not FOLDER.parent.is_dir():
        return None
    return FOLDER / f"{artifacts.digest_of(str(log))}.json"


def _write(file: Path, known: Mapping[str, Any]) -> None:
    with suppress(UserError):  # what a full disk means the command itself tells
        artifacts.write_json(file, known)


def _read(file: Path) -> Json:
    with suppress(UserError):
        return dict(artifacts.read_object(file))
    return {}


def _stamps(command: Sequence[str]) -> Json:
    """Sizes and times of what a command reads, where its arguments and the settings in its files name it."""
    made = {str(path) for path in artifacts.written}
    words = [word for option, word in pairwise(["", *command]) if option != OUTPUT and word not in made]
    named = [text for word in words if word.endswith(".json") for text in _texts(_read(Path(word)))]
    return {word: stamp for word in (*words, *named) if (stamp := _stamp(Path(word))) is not None}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _stamp(path: Path) -> Any:
    """Of a file its size and time, of a folder those of all files below it; None when nothing is there."""
    with suppress(OSError, ValueError):  # settings hold other texts than paths
        if path.is_file():
            return provenance.stamp(path)
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return artifacts.digest_of([[str(file), *provenance.stamp(file)] for file in files])
    return None
