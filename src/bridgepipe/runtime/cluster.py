"""Clusters: what the profiles need to know; Slurm: jobs of a folder, and jobs that go on in another job.

Runs before the workflow is read, so it imports nothing heavy.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import yaml

from bridgepipe import artifacts
from bridgepipe.config import yaml_reader, yaml_scalars
from bridgepipe.errors import UserError, stop
from bridgepipe.runtime import launch, locks
from bridgepipe.runtime.jobs import unfinished

T = TypeVar("T")

ANSWER_SECONDS = 10  # of sacct, squeue and scontrol; a database that is away would keep them waiting
# of squeue and of scontrol, when a job is put back into the queue: half of what is left after Slurm's warning
REQUEUE_SECONDS = 45
REMEMBERED_SECONDS = 60  # squeue must know of an ended job at least as long as it is asked about it
PROFILE = "profiles/slurm/config.yaml"
LOGS = ".snakemake/slurm_logs"  # where Snakemake keeps the logs of the jobs that it sent from a folder
COMMENT = "rule_"  # begins the comment of a job that Snakemake sent
ACTIVE = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED")


# what the profiles ask


def check_profiles(arguments: Sequence[str]) -> None:
    """Refuse what YAML reads as another number than was typed: a plain ``1:30:00`` is 5400.

    Args:
        arguments: that Snakemake was started with.

    Raises:
        UserError: such a text without quotes, with its file and line.
    """
    for file in _profiles(arguments):
        for node in _scalars(yaml.compose(file.read_text(encoding="utf8"), yaml.SafeLoader)):
            try:
                if node.style is None:
                    yaml_scalars.plain(node.value)
            except yaml_scalars.Ambiguous as e:
                mend = f"{e.mend}; runtime takes minutes, such as 90" if ":" in node.value else e.mend
                raise UserError(str(e), f"{file}, line {node.start_mark.line + 1}", mend) from None


def _profiles(arguments: Sequence[str]) -> Iterator[Path]:
    """Files of the profiles in use, as Snakemake finds them."""
    found = sys.modules.get("snakemake.cli")  # loaded when it is started, and slow to load otherwise
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--profile", action="append", default=[])
    parser.add_argument("--workflow-profile", default="profiles/default")
    known, _ = parser.parse_known_args(arguments)
    named = known.profile or [os.environ.get("SNAKEMAKE_PROFILE", "")]
    for name in (*named, known.workflow_profile):
        if name not in ("", "none") and found and (place := found.get_profile_dir(name)):
            yield place[1]


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Texts and numbers below a node of YAML, keys left out."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _scalars(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value)


def named(key: str, value: object) -> str:
    """A setting that is a name, or several with commas between them: a partition, an account.

    Raises:
        UserError: YAML reads it as no text, or it holds what no name of Slurm holds.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[\w.+@-]+(,[\w.+@-]+)*", value):
        mend = "write names as Slurm shows them, in quotes; several with commas and no spaces between them"
        raise UserError(f"{key} is {value!r}", PROFILE, mend)
    return value


def partition(partitions: object, kind: str) -> str:
    """The partitions of rules without a GPU (``cpu``), or with one (``gpu``).

    Raises:
        UserError: none is given, or it is no name of Slurm.
    """
    given = partitions.get(kind) if isinstance(partitions, dict) else partitions
    if given is None or not isinstance(partitions, dict):
        mend = "write partitions: {cpu: NAME, gpu: NAME}, with names as `sinfo` shows them"
        raise UserError(f"partitions has no {kind}", PROFILE, mend)
    return named(f"partitions.{kind}", given)


def gpu_model(name: object) -> str:
    """A model of GPUs, in the spelling that Snakemake's executor takes.

    Raises:
        UserError: a name that the executor would refuse at the first job that it sends.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.]+", name):
        raise UserError(
            f"gpu_model is {name!r}; Snakemake's executor takes letters, digits, _ and . only",
            PROFILE,
            "leave it empty and choose the nodes: give partitions.gpu a partition of this model alone, or"
            " write constraint: FEATURE beside slurm_partition, with a feature that `sinfo -o '%G %f'` shows",
        )
    return name


def status_command(accounting: str = "auto") -> str:
    """The command that Snakemake asks for the states of jobs: ``sacct`` or ``squeue``.

    Snakemake would wait for ever for an accounting database that is not there.

    Args:
        accounting: ``sacct``, ``squeue``, or ``auto``: sacct where the accounting database answers.

    Raises:
        UserError: the one that is asked for cannot work on this cluster.
    """
    if accounting not in ("auto", "sacct", "squeue"):
        raise UserError(f"accounting is '{accounting}'", PROFILE, "use auto, sacct or squeue")
    if shutil.which("sbatch") is None:  # dry runs need no Slurm
        return "squeue"
    trouble = None if accounting == "squeue" else _accounting_trouble()
    if accounting == "sacct" and trouble is not None:
        raise UserError(
            f"the accounting database does not answer: {trouble}",
            "sacct",
            f"set accounting: auto in {PROFILE}",
        )
    if accounting == "squeue" or trouble is not None:
        _check_squeue()
        return "squeue"
    return "sacct"


def gpus_here() -> int:
    """How many NVIDIA GPUs this process may use."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([device for device in chosen.split(",") if device.strip() not in ("", "-1")])
    return len(list(launch.GPUS.glob("*")))


def gpu_rules(folder: str | Path, params: str | Path = "params.yaml") -> list[str]:
    """Names of the rules of a folder of .smk files that ask for a GPU; none with ``runtime.device: cpu``."""
    if _on_cpus(Path(params)):
        return []
    text = "\n".join(f.read_text(encoding="utf8") for f in sorted(Path(folder).glob("*.smk")))
    head = r"^(?:use )?rule (\w+)(?: as (\w+) with)?:\n"
    found: set[str] = set()
    for rule in re.finditer(head + r"((?:[ \t].*\n|\n)*)", text, re.MULTILINE):
        base, heir, body = rule.groups()
        if re.search(r"^\s+(gpu=|\*\*network\()", body, re.MULTILINE) or base in found:
            found.add(heir or base)
    return sorted(found)


def _on_cpus(params: Path) -> bool:
    """What params.yaml says. Whatever is wrong with it is told when the workflow reads it."""
    with suppress(UserError):
        runtime = yaml_reader.read(params).values.get("runtime")
        return isinstance(runtime, dict) and runtime.get("device") == "cpu"
    return False


def one_volume(spec: str) -> list[str]:
    """The volume of the Kubernetes profile, ``claim:path``, told to Snakemake as one that every pod mounts.

    Its executor takes for granted that pods share no files. It would copy every file through
    an object storage, and a training would not find the state of the job before it.
    """
    with suppress(ImportError):  # Snakemake says what to install
        from snakemake_executor_plugin_kubernetes import common_settings

        common_settings.implies_no_shared_fs = False
        common_settings.job_deploy_sources = False
        common_settings.auto_deploy_default_storage_provider = False
    return [spec]


def _or_stop(function: Callable[..., T]) -> Callable[..., T]:
    """A function for profiles. Snakemake prints all of its options before what an exception says."""

    @wraps(function)
    def in_one_line(*args: Any) -> T:
        try:
            return function(*args)
        except UserError as e:
            stop(e)

    return in_one_line


# what the profiles call
profile = SimpleNamespace(
    **{f.__name__: _or_stop(f) for f in (named, partition, gpu_model, status_command, gpu_rules, one_volume)}
)


def _accounting_trouble() -> str | None:
    """Why sacct is of no use here; None when it answers."""
    try:
        done = _run("sacct", "-X", "--noheader", "--name=bridgepipe")
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"no answer in {ANSWER_SECONDS} s" if isinstance(e, subprocess.TimeoutExpired) else str(e)
    return None if done.returncode == 0 else done.stderr.strip()


def _check_squeue() -> None:
    configuration = _ask("scontrol", "show", "config")
    age = re.search(r"MinJobAge\s*=\s*(\d+)", configuration)
    if age and int(age[1]) < REMEMBERED_SECONDS:
        raise UserError(
            f"without an accounting database Slurm forgets ended jobs after {age[1]} s",
            "MinJobAge of slurm.conf",
            f"ask your administrator for an accounting database or MinJobAge of {REMEMBERED_SECONDS} or more",
        )


# jobs of a folder


@dataclass(frozen=True)
class Job:
    """The last run of one command of the workflow.

    Attributes:
        rule: its rule, or the verb that it ran.
        subject: the experiment or the dataset.
        number: Slurm's, or ``#n`` of Snakemake when it ran without Slurm.
        state: Slurm's word for it.
        log: where the command writes.
    """

    rule: str
    subject: str
    number: str
    state: str
    log: str


def present() -> bool:
    """Whether Slurm's commands are here."""
    return shutil.which("squeue") is not None


def last_jobs(folder: Path, states: Mapping[str, str]) -> list[Job]:
    """The last job of every command that was run in a folder, oldest first.

    Snakemake's log tells of all jobs, unless it was asked to be quiet; commands that are done have left their
    records beside what they made, and the others one of their own.

    Args:
        folder: of the project.
        states: Slurm's, by the number of the job.
    """
    jobs = _recorded(folder)
    logs = sorted((folder / ".snakemake/log").glob("*.snakemake.log"))
    for log in logs:
        open_state = "RUNNING" if log == logs[-1] and _at_work(folder) else "STOPPED"
        for command, job in _read_log(log.read_text(encoding="utf8", errors="replace"), open_state).items():
            jobs.pop(command, None)
            jobs[command] = job
    for told in unfinished(folder):
        command = shlex.join(["bridgepipe", *told.command])
        before = jobs.pop(command, None)
        number = told.number or (before.number if before and before.state != "COMPLETED" else "")
        rule = before.rule if before else _said_by(command)[0]
        jobs[command] = Job(rule, _said_by(command)[1], number, told.state, told.log)
    return [replace(j, state=states.get(j.number, j.state)) for j in jobs.values()]


def _recorded(folder: Path) -> dict[str, Job]:
    """Jobs by command that are done, from the records of provenance, oldest first."""
    records = [f for home in ("data", "results") for f in (folder / home).glob("**/provenance/*.json")]
    jobs: dict[str, Job] = {}
    for record in sorted(records, key=lambda f: f.stat().st_mtime_ns):
        with suppress(UserError, KeyError, TypeError):  # a record of an older version
            told = artifacts.read_json(record)
            command = shlex.join(["bridgepipe", *told["command"]])
            jobs.pop(command, None)
            jobs[command] = Job(*_said_by(command), "", "COMPLETED", told.get("log", ""))
    return jobs


def table(jobs: Sequence[Job]) -> str:
    """Jobs as aligned columns under their names."""
    rows = [("rule", "experiment", "job", "state", "log")]
    rows += [(j.rule, j.subject, j.number, j.state, j.log) for j in jobs]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _read_log(text: str, open_state: str) -> dict[str, Job]:
    """Jobs by command, of one run of Snakemake, from its log; of a retried job the last try."""
    commands: dict[str, str] = {}
    jobs: dict[str, Job] = {}
    number = ""

    def change(**values: str) -> None:
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
        folder: of the project.
        known: numbers of the jobs that are told already.

    Raises:
        UserError: Slurm is here but does not answer.
    """
    found = []
    for number, state, comment in _sent_from(folder):
        rule, _, subject = comment.removeprefix(COMMENT).partition("_wildcards_")
        if number not in known:
            found.append(Job(rule, subject, number, state, ""))
    return found


def slurm_states() -> dict[str, str]:
    """States of this user's jobs by number: the accounting database's, then the controller's.

    Raises:
        UserError: Slurm is here but does not answer.
    """
    states: dict[str, str] = {}
    with suppress(subprocess.TimeoutExpired):
        past = _run(
            "sacct", "-X", "--parsable2", "--noheader", "--starttime=now-7days", "--format=JobIDRaw,State"
        )
        states = dict(line.split("|", 1) for line in past.stdout.splitlines() if past.returncode == 0)
    for number, state, reason, *_ in _queue():
        states[number] = f"{state} ({reason})" if state == "PENDING" else state
    return states


def _queue() -> list[list[str]]:
    """Number, state, reason, folder and comment of this user's jobs that the controller knows."""
    queue = _ask("squeue", "--me", "--noheader", "--states=all", "--format=%i|%T|%r|%Z|%k")
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
    sent = (folder / LOGS).exists()  # elsewhere Slurm is not asked: it may be installed and no cluster there
    left = _orphans(folder) if sent and present() else []
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
    _run("scancel", *left)
    deadline = time.monotonic() + 60  # what does not end by itself Slurm kills after KillWait
    while set(_orphans(folder)) & set(left) and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def _orphans(folder: Path) -> list[str]:
    return [number for number, *_ in _sent_from(folder)]


def _sent_from(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Number, state and comment of the jobs that Snakemake has in the queue from a folder."""
    here = folder.resolve()
    for number, state, reason, where, comment in _queue():
        if state in ACTIVE and comment.startswith(COMMENT) and Path(where).resolve() == here:
            yield number, f"{state} ({reason})" if state == "PENDING" else state, comment


# jobs that go on in another job


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
        state = _run(*ask, seconds=REQUEUE_SECONDS).stdout.strip()
        return (
            state == "RUNNING"
            and _run("scontrol", "requeue", number, seconds=REQUEUE_SECONDS).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _ask(*command: str) -> str:
    """What a command of Slurm prints.

    Raises:
        UserError: Slurm does not answer.
    """
    try:
        done = _run(*command)
        trouble = " ".join(done.stderr.split()) if done.returncode != 0 else None
    except subprocess.TimeoutExpired:
        trouble = f"no answer in {ANSWER_SECONDS} s"
    if trouble is not None:
        raise UserError(f"Slurm does not answer: {trouble}", command[0], "try again when `sinfo` works")
    return done.stdout


def _run(*command: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    wait = ANSWER_SECONDS if seconds is None else seconds
    return subprocess.run(command, capture_output=True, text=True, timeout=wait, check=False)
