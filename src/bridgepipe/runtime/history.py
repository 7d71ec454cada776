"""The last job of every command that was run in a folder."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.runtime import locks
from bridgepipe.runtime.jobs import unfinished
from bridgepipe.runtime.progress import last_report
from bridgepipe.runtime.slurm import COMMENT, sent_from

RUNNING = "RUNNING"
TAIL = 20_000  # bytes at the end of a log in which its last line of progress is


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


def last_jobs(folder: Path, states: Mapping[str, str]) -> list[Job]:
    """The last job of every command that was run in a folder, oldest first.

    Snakemake's log tells of all jobs, unless it was asked to be quiet; commands that are done have left their
    records beside what they made, and the others one of their own.

    Args:
        folder: folder of the project.
        states: Slurm's, by the number of the job.
    """
    jobs = _recorded(folder)
    logs = sorted((folder / ".snakemake/log").glob("*.snakemake.log"))
    for log in logs:
        open_state = RUNNING if log == logs[-1] and _at_work(folder) else "STOPPED"
        for command, left in _read_log(log.read_text(encoding="utf8", errors="replace"), open_state).items():
            jobs.pop(command, None)
            jobs[command] = left
    for current in unfinished(folder):
        command = shlex.join(["bridgepipe", *current.command])
        before = jobs.pop(command, None)
        number = current.number or (before.number if before and before.state != "COMPLETED" else "")
        rule = before.rule if before else _said_by(command)[0]
        jobs[command] = Job(rule, _said_by(command)[1], number, current.state, current.log)
    return [_with_progress(folder, replace(j, state=states.get(j.number, j.state))) for j in jobs.values()]


@dataclass(frozen=True)
class Status:
    """What is known of a folder's jobs.

    Attributes:
        jobs: last of every command, those that wait among them.
        run: the run that is at work.
        trainings: a line for every state of a training.
    """

    jobs: Sequence[Job]
    run: Run | None
    trainings: Sequence[str]

    def lines(self) -> list[str]:
        """As a person reads it."""
        lines = table(self.jobs).splitlines() if self.jobs else ["nothing was run here yet"]
        if self.run:
            busy = sum(job.state == RUNNING for job in self.jobs)
            left = max(0, self.run.jobs - self.run.done - busy)
            lines += [
                f"this run: {self.run.done} of {self.run.jobs} jobs done, {busy} running, {left} waiting"
            ]
        return [*lines, *self.trainings]

    def as_json(self) -> Json:
        """As a script reads it."""
        return {
            "jobs": [asdict(job) for job in self.jobs],
            "run": asdict(self.run) if self.run else None,
            "trainings": [*self.trainings],
        }


def status(folder: Path, states: Mapping[str, str] | None, trainings: Sequence[str]) -> Status:
    """What is known of a folder's jobs.

    Args:
        folder: folder of the project.
        states: Slurm's, by the number of the job; None without Slurm.
        trainings: lines that describe states of trainings.

    Raises:
        UserError: Slurm is here but does not answer.
    """
    jobs = last_jobs(folder, states or {})
    jobs += waiting(folder, {job.number for job in jobs}) if states else []
    return Status(jobs, run_at_work(folder), trainings)


def running(folder: Path) -> str:
    """The jobs that run in a folder and how far they are, in one line; empty where there are none."""
    found = [
        _with_progress(
            folder, Job(*_said_by(shlex.join(["bridgepipe", *u.command])), u.number, u.state, u.log)
        )
        for u in unfinished(folder)
        if u.state == RUNNING
    ]
    return "; ".join(f"{job.rule} {job.subject}: {job.shown.lower()}" for job in found)


def _with_progress(folder: Path, job: Job) -> Job:
    if job.state != RUNNING or not job.log:
        return job
    report = last_report(_tail(folder / job.log))
    return replace(job, percent=report.percent, left=report.left) if report else job


def _tail(log: Path) -> str:
    """The end of a log; nothing where there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            return file.read().decode("utf8", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Run:
    """The run of Snakemake that is at work.

    Attributes:
        jobs: number of its jobs.
        done: number of those that are done.
    """

    jobs: int
    done: int


def run_at_work(folder: Path) -> Run | None:
    """The run that is at work, as far as its log counts its jobs; None where there is none."""
    logs = sorted((folder / ".snakemake/log").glob("*.snakemake.log"))
    if not logs or not _at_work(folder):
        return None
    text = logs[-1].read_text(encoding="utf8", errors="replace")
    total = re.search(r"^total +(\d+)$", text, flags=re.MULTILINE)
    done = re.findall(r"^(\d+) of \d+ steps \(", text, flags=re.MULTILINE)
    return Run(int(total[1]), int(done[-1]) if done else 0) if total else None


def _recorded(folder: Path) -> dict[str, Job]:
    """Jobs by command that are done, from the records of provenance, oldest first."""
    records = [f for home in ("data", "results") for f in (folder / home).glob("**/provenance/*.json")]
    jobs: dict[str, Job] = {}
    for record in sorted(records, key=lambda f: f.stat().st_mtime_ns):
        with suppress(UserError, KeyError, TypeError):  # a record of an older version
            content = artifacts.read_json(record)
            command = shlex.join(["bridgepipe", *content["command"]])
            jobs.pop(command, None)
            jobs[command] = Job(*_said_by(command), "", "COMPLETED", content.get("log", ""))
    return jobs


def table(jobs: Sequence[Job]) -> str:
    """Jobs as aligned columns under their names."""
    rows = [("rule", "experiment", "job", "state", "log")]
    rows += [(j.rule, j.subject, j.number, j.shown, j.log) for j in jobs]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _read_log(text: str, open_state: str) -> dict[str, Job]:
    """Jobs by command, of one run of Snakemake, from its log; of a retried job the last try."""
    commands: dict[str, str] = {}
    jobs: dict[str, Job] = {}
    number = ""

    def change(**values: Any) -> None:
        if number in commands:
            jobs[commands[number]] = replace(jobs[commands[number]], **values)

    for line in text.splitlines():
        if m := re.match(r"Job (\d+): |    jobid: (\d+)$", line):
            number = m[1] or m[2]
            if m[2]:
                change(state="FAILED")
        elif m := re.match(r"Shell command: (bridgepipe .*)", line):
            commands[number] = _bare(m[1])
            jobs.pop(_bare(m[1]), None)  # a retry comes last
            jobs[_bare(m[1])] = Job(*_said_by(m[1]), f"#{number}", open_state, _log_of(m[1]))
        elif m := re.match(r"Job (\d+) has been submitted with SLURM jobid (\d+) .*/rule_(\w+)/", line):
            number = m[1]
            change(number=m[2], rule=m[3])
        elif m := re.match(r"Finished jobid: (\d+)", line):
            number = m[1]
            change(state="COMPLETED")
    return jobs


def _said_by(command: str) -> tuple[str, str]:
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


def _at_work(folder: Path) -> bool:
    """Whether a run holds the folder's lock."""
    return locks.held(folder / locks.LOCK) is not None


def waiting(folder: Path, known: Container[str]) -> list[Job]:
    """Jobs in Slurm's queue that Snakemake's log does not name, since it was asked to be quiet.

    Args:
        folder: folder of the project.
        known: numbers of the jobs that are already listed.

    Raises:
        UserError: Slurm is here but does not answer.
    """
    found = []
    for number, state, comment in sent_from(folder):
        rule, _, subject = comment.removeprefix(COMMENT).partition("_wildcards_")
        if number not in known:
            found.append(Job(rule, subject, number, state, ""))
    return found
