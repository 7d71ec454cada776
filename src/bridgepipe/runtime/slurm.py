"""Slurm: what its commands answer, jobs of a killed run, and jobs that go on in another job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bridgepipe.errors import UserError
from bridgepipe.runtime import locks

ANSWER_SECONDS = 10  # of sacct, squeue and scontrol; a database that is away would keep them waiting
# of squeue and of scontrol, when a job is put back into the queue: half of what is left after Slurm's warning
REQUEUE_SECONDS = 45
LOGS = ".snakemake/slurm_logs"  # where Snakemake keeps the logs of the jobs that it sent from a folder
COMMENT = "rule_"  # begins the comment of a job that Snakemake sent
ACTIVE = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED")


def present() -> bool:
    """Whether Slurm's commands are here."""
    return shutil.which("squeue") is not None


def states() -> dict[str, str]:
    """States of this user's jobs by number: the accounting database's, then the controller's.

    Raises:
        UserError: Slurm is here but does not answer.
    """
    found: dict[str, str] = {}
    with suppress(subprocess.TimeoutExpired):
        past = run(
            "sacct", "-X", "--parsable2", "--noheader", "--starttime=now-7days", "--format=JobIDRaw,State"
        )
        found = dict(line.split("|", 1) for line in past.stdout.splitlines() if past.returncode == 0)
    for number, state, reason, *_ in _queue():
        found[number] = f"{state} ({reason})" if state == "PENDING" else state
    return found


def _queue() -> list[list[str]]:
    """Number, state, reason, folder and comment of this user's jobs that the controller knows."""
    queue = ask("squeue", "--me", "--noheader", "--states=all", "--format=%i|%T|%r|%Z|%k")
    return [line.split("|", 4) for line in queue.splitlines()]


def cancel_orphans(folder: Path, killed: locks.Owner | None) -> list[str]:
    """Cancel the jobs that a killed Snakemake left in a folder and wait until they are gone.

    A training that is cancelled goes on from its last state.

    Args:
        folder: where the one run of this call is at work.
        killed: the run that held the folder's lock before and did not give it back.

    Returns:
        Numbers of the jobs.

    Raises:
        UserError: there are jobs, and nothing proves that their run has ended: it was on another machine,
            whose lock may not be seen here, or left no record.
    """
    left = _orphans(folder) if sent_any(folder) and present() else []
    if not left:
        return []
    if killed is None or not killed.here:
        whose = f"of {killed}" if killed else "of an unknown run"
        raise UserError(
            f"jobs {whose} are still in Slurm's queue: {' '.join(left)}",
            folder.resolve(),
            f"go on there, wait until they have ended, or cancel them: scancel {' '.join(left)}",
        )
    print(f"bridgepipe: cancelling jobs of a killed run: {' '.join(left)}", file=sys.stderr, flush=True)
    run("scancel", *left)
    deadline = time.monotonic() + 60  # what does not end by itself Slurm kills after KillWait
    while set(_orphans(folder)) & set(left) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def sent_any(folder: Path) -> bool:
    """Whether Snakemake sent jobs from a folder; elsewhere Slurm may be installed and no cluster there."""
    return (folder / LOGS).exists()


def _orphans(folder: Path) -> list[str]:
    return [number for number, *_ in sent_from(folder)]


def sent_from(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Number, state and comment of the jobs that Snakemake has in the queue from a folder."""
    here = folder.resolve()
    for number, state, reason, where, comment in _queue():
        if state in ACTIVE and comment.startswith(COMMENT) and Path(where).resolve() == here:
            yield number, f"{state} ({reason})" if state == "PENDING" else state, comment


def requeue() -> bool:
    """Put the running Slurm job of this process back into the queue, where it waits for its next turn.

    Snakemake goes on waiting for it and counts no failure.

    Returns:
        False outside Slurm, when the job is being ended anyway, or when Slurm refuses or does not answer.
    """
    number = os.environ.get("SLURM_JOB_ID")
    if number is None or not present():
        return False
    try:
        ask = ("squeue", "--noheader", f"--job={number}", "--format=%T")
        state = run(*ask, seconds=REQUEUE_SECONDS).stdout.strip()
        return (
            state == "RUNNING" and run("scontrol", "requeue", number, seconds=REQUEUE_SECONDS).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def ask(*command: str) -> str:
    """What a command of Slurm prints.

    Raises:
        UserError: Slurm does not answer.
    """
    try:
        done = run(*command)
        trouble = " ".join(done.stderr.split()) if done.returncode != 0 else None
    except subprocess.TimeoutExpired:
        trouble = f"no answer in {ANSWER_SECONDS} s"
    if trouble is not None:
        raise UserError(f"Slurm does not answer: {trouble}", command[0], "try again when `sinfo` works")
    return done.stdout


def run(*command: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    wait = ANSWER_SECONDS if seconds is None else seconds
    return subprocess.run(command, capture_output=True, text=True, timeout=wait, check=False)
