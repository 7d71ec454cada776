"""The last job of every command that was run in a folder."""

from __future__ import annotations

import shlex
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.runtime import locks, runs
from bridgepipe.runtime.jobs import unfinished
from bridgepipe.runtime.progress import last_report
from bridgepipe.runtime.runs import Job, Run, said_by
from bridgepipe.runtime.slurm import COMMENT, sent_from
from bridgepipe.runtime.unchanged import folders, once_a_change

RUNNING = "RUNNING"
TAIL = 20_000  # bytes at the end of a log in which its last line of progress is


def last_jobs(folder: Path, states: Mapping[str, str]) -> list[Job]:
    """The last job of every command that was run in a folder, oldest first.

    Snakemake's log tells of all jobs, unless it was asked to be quiet; commands that are done have left their
    records beside what they made, and the others one of their own.

    Args:
        folder: folder of the project.
        states: Slurm's, by the number of the job.
    """
    jobs, run_logs = _recorded(folder), runs.logs(folder)
    for log in run_logs:
        open_state = RUNNING if log is run_logs[-1] and _at_work(folder) else "STOPPED"
        for command, job in log.jobs.items():
            jobs.pop(command, None)
            jobs[command] = replace(job, state=open_state) if job.state == runs.OPEN else job
    for current in unfinished(folder):
        command = shlex.join(["bridgepipe", *current.command])
        before = jobs.pop(command, None)
        number = current.number or (before.number if before and before.state != "COMPLETED" else "")
        rule = before.rule if before else said_by(command)[0]
        jobs[command] = Job(rule, said_by(command)[1], number, current.state, current.log)
    by_slurm = (replace(j, state=states[j.number]) if j.number in states else j for j in jobs.values())
    return [_with_progress(folder, job) for job in by_slurm]


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
            folder, Job(*said_by(shlex.join(["bridgepipe", *u.command])), u.number, u.state, u.log)
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


def run_at_work(folder: Path) -> Run | None:
    """The run that is at work, as far as its log counts its jobs; None where there is none."""
    run_logs = runs.logs(folder)
    if not run_logs or run_logs[-1].total is None or not _at_work(folder):
        return None
    return Run(run_logs[-1].total, run_logs[-1].done)


def _recorded(folder: Path) -> dict[str, Job]:
    """Jobs by command that are done, from the records of provenance, oldest first."""
    homes = [found for home in ("data", "results") for found in folders(folder / home, "provenance")]
    jobs: dict[str, Job] = {}
    for _, command, job in sorted((record for home in homes for record in _records(home)), key=itemgetter(0)):
        jobs.pop(command, None)
        jobs[command] = job
    return jobs


@once_a_change
def _records(folder: Path) -> list[tuple[int, str, Job]]:
    """Time, command and job of every record in a folder of provenance."""
    found = []
    for record in sorted(folder.glob("*.json")):
        with suppress(UserError, KeyError, TypeError, OSError):  # a record of an older version, or removed
            content = artifacts.read_json(record)
            command = shlex.join(["bridgepipe", *content["command"]])
            job = Job(*said_by(command), "", "COMPLETED", content.get("log", ""))
            found.append((record.stat().st_mtime_ns, command, job))
    return found


def table(jobs: Sequence[Job]) -> str:
    """Jobs as aligned columns under their names."""
    rows = [("rule", "experiment", "job", "state", "log")]
    rows += [(j.rule, j.subject, j.number, j.shown, j.log) for j in jobs]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


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
