"""Runs of Snakemake and their jobs, as its logs tell them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

LOGS = ".snakemake/log"
OPEN = ""  # state of a job of which the log tells no end


@dataclass(frozen=True)
class Job:
    """The last run of one command of the workflow.

    Attributes:
        rule: rule of the job, or the verb that it ran.
        subject: the experiment or the dataset.
        number: Slurm's, or ``#n`` of Snakemake when it ran without Slurm.
        state: Slurm's word for it.
        log: where the command writes.
        percent: share that is done of what the job counts now; None where it is unknown.
        left: time left for that, such as ``25 min``; empty where it is unknown.
    """

    rule: str
    subject: str
    number: str
    state: str
    log: str
    percent: int | None = None
    left: str = ""

    @property
    def shown(self) -> str:
        """The state, with how far the job is."""
        report = [] if self.percent is None else [f"{self.percent} %"]
        return ", ".join([self.state, *report, *([f"about {self.left} left"] if self.left else [])])


@dataclass(frozen=True)
class Run:
    """The run of Snakemake that is at work.

    Attributes:
        jobs: number of its jobs.
        done: number of those that are done.
    """

    jobs: int
    done: int


@dataclass
class RunLog:
    """The log of one run, of which every line is read once.

    Attributes:
        jobs: Jobs by command, of a retried one the last try.
        total: number of jobs of the run; None while the log does not tell.
        done: number of those that are done.
    """

    file: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    total: int | None = None
    done: int = 0
    _inode: int = 0
    _bytes: int = 0  # that are read
    _commands: dict[str, str] = field(default_factory=dict)  # by number of the job
    _number: str = ""

    def __post_init__(self) -> None:
        self._inode = self.file.stat().st_ino

    @property
    def replaced(self) -> bool:
        """Whether another file has taken the place of the one that was read."""
        found = self.file.stat()
        return found.st_ino != self._inode or found.st_size < self._bytes

    def update(self) -> RunLog:
        """Read the lines that were added."""
        with open(self.file, "rb") as file:
            file.seek(self._bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
        for line in whole.decode("utf8", errors="replace").splitlines():
            self._take(line)
        self._bytes += len(whole) + len(newline)
        return self

    def _take(self, line: str) -> None:
        if m := re.match(r"Job (\d+): |    jobid: (\d+)$", line):
            self._number = m[1] or m[2]
            if m[2]:
                self._change(state="FAILED")
        elif m := re.match(r"Shell command: (bridgepipe .*)", line):
            command = self._commands[self._number] = _bare(m[1])
            self.jobs.pop(command, None)  # a retry comes last
            self.jobs[command] = Job(*said_by(m[1]), f"#{self._number}", OPEN, _log_of(m[1]))
        elif m := re.match(r"Job (\d+) has been submitted with SLURM jobid (\d+) .*/rule_(\w+)/", line):
            self._number = m[1]
            self._change(number=m[2], rule=m[3])
        elif m := re.match(r"Finished jobid: (\d+)", line):
            self._number = m[1]
            self._change(state="COMPLETED")
        elif m := re.match(r"(\d+) of \d+ steps \(", line):
            self.done = int(m[1])
        elif m := re.match(r"total +(\d+)$", line):
            self.total = int(m[1])

    def _change(self, **values: Any) -> None:
        if self._number in self._commands:
            command = self._commands[self._number]
            self.jobs[command] = replace(self.jobs[command], **values)


_logs: dict[Path, RunLog] = {}  # that were read


def logs(folder: Path) -> list[RunLog]:
    """Logs of the runs of a folder, oldest first."""
    return [_log(file) for file in sorted((folder / LOGS).glob("*.snakemake.log"))]


def _log(file: Path) -> RunLog:
    if file not in _logs or _logs[file].replaced:
        _logs[file] = RunLog(file)
    return _logs[file].update()


def said_by(command: str) -> tuple[str, str]:
    """Verb and experiment (or dataset) of a command."""
    verb = re.match(r"bridgepipe (?:stage )?((?:[a-z][a-z-]* ?)+)", command)
    found = re.search(r"results/(?!logs/|benchmarks/)([^/ ]+/[^/ ]+)/|data/[a-z]+/([^/ .]+)", command)
    return (verb[1].strip() if verb else ""), ((found[1] or found[2]) if found else "")


def _bare(command: str) -> str:
    """A command without the log that it writes to."""
    return " ".join(re.sub(r" > \S+ 2>&1$", "", command).split())


def _log_of(command: str) -> str:
    found = re.search(r"> (\S+) 2>&1$", command)
    return found[1] if found else ""
