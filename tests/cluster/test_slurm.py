"""The workflow on a real Slurm: GPUs, failures, limits, cancelled jobs, drained nodes, kills."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from project import METRICS, MODEL, Project

import slurm
from slurm import PROFILE

pytestmark = pytest.mark.cluster

CSV = "results/i2sb/jpeg-5/train.csv"
TRAINING = Path("results/i2sb/jpeg-5/train")
TRAIN_LOG = Path("results/i2sb/jpeg-5/logs/train.log")


def rule_of(job: dict[str, str]) -> str:
    return re.split("_wildcards_", job["Comment"])[0].removeprefix("rule_")


def forget_training(project: Project) -> None:
    shutil.rmtree(project.folder / TRAINING)
    for name in (MODEL, CSV):
        (project.folder / name).unlink()


class Run:
    """Snakemake at work on the training of a project, and the job that trains at the moment."""

    def __init__(self, project: Project) -> None:
        self.project = project
        context = {**project.context(), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        del context["capture_output"]
        self.process = subprocess.Popen(project.command(*PROFILE, "--", MODEL), **context)

    def held(self, resumed: bool, after: str = "0") -> str:
        """Stop the training in mid-work, until Slurm signals it: number of its job, later than ``after``."""
        state, log = self.project.folder / TRAINING / "state.safetensors", self.project.folder / TRAIN_LOG

        def at_work() -> bool:
            last = slurm.jobs_of(self.project.folder, "train")[-1:]
            return bool(
                last
                and int(last[0]["JobId"]) > int(after)
                and self.pids()
                and state.exists()
                and ("resumed after step" in log.read_text()) == resumed
            )

        assert slurm.until(at_work, seconds=120), self.rest()
        os.kill(self.pids()[0], signal.SIGSTOP)
        return slurm.jobs_of(self.project.folder, "train")[-1]["JobId"]

    def pids(self) -> list[int]:
        """The training process in this project's folder."""
        found = []
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                words = (proc / "cmdline").read_bytes().split(b"\0")
                here = (proc / "cwd").resolve() == self.project.folder.resolve()
            except OSError:
                continue
            if here and b"train" in words and any(w.endswith(b"/bridgepipe") for w in words[:2]):
                found.append(int(proc.name))
        return found

    def kill(self) -> None:
        """kill -9 of Snakemake; its jobs go on."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def rest(self) -> str:
        """What Snakemake printed, after its end, which comes by force when it does not come."""
        try:
            return self.process.communicate(timeout=300)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()[0]


def test_every_job_goes_through_slurm(finished: Project) -> None:
    jobs = slurm.jobs(finished.folder)
    assert Counter(map(rule_of, jobs)) == {"train": 1, "sample": 4, "gather": 2, "fid": 1}
    for job in jobs:
        gpu = rule_of(job) in ("train", "sample", "fid")
        assert job["JobState"] == "COMPLETED"
        assert (job["Partition"], job.get("TresPerJob")) == (("gpu", "gres:gpu:1") if gpu else ("cpu", None))


def test_four_parts_share_two_gpus(finished: Project) -> None:
    numbers = [job["JobId"] for job in slurm.jobs_of(finished.folder, "sample")]
    steps = [step for step in slurm.steps() if step.job in numbers]
    assert len(steps) == 4
    assert {step.gpus for step in steps} == {"0", "1"}
    for step in steps:
        together = [s for s in steps if s is not step and s.begin < step.end and step.begin < s.end]
        assert all(s.gpus != step.gpus for s in together)
    assert any(a.begin < b.end and b.begin < a.end for a in steps for b in steps if a is not b)


def test_status_shows_every_job(finished: Project) -> None:
    command = [Path(sys.executable).with_name("bridgepipe"), "status"]
    done = subprocess.run(command, **finished.context(), check=True)
    number = slurm.jobs_of(finished.folder, "train")[0]["JobId"]
    lines = [line for line in done.stdout.splitlines() if "state.safetensors: " not in line]
    rows = [line.split() for line in lines]
    assert rows[0] == ["rule", "experiment", "job", "state", "log"]
    assert ["train", "i2sb/jpeg-5", number, "COMPLETED", str(TRAIN_LOG)] in rows
    assert len(rows) == 12


def test_a_failing_job_shows_its_log(project: Project) -> None:
    (project.folder / "data/checkpoints/digits-classifier.safetensors").write_bytes(b"not a checkpoint")
    done = project.snakemake(*PROFILE, "--retries", "0", "--", METRICS[0], check=False)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "results/logs/statistics-digits-train-digits-classifier.log" in printed
    assert "bridgepipe: " in printed


def test_out_of_memory_is_tried_again_with_more(project: Project) -> None:
    (project.folder / "data/stats/digits/train-digits-classifier.safetensors").unlink()
    little = ("--set-resources", "statistics:mem_mb=250 * attempt * attempt")
    target = "data/stats/digits/train-digits-classifier.safetensors"
    project.snakemake(*PROFILE, *little, "--", target)
    jobs = slurm.jobs_of(project.folder, "statistics")
    assert [job["MinMemoryNode"] for job in jobs] == ["250M", "1000M"]
    assert [job["JobState"] == "COMPLETED" for job in jobs] == [False, True]


def test_training_survives_limits_and_scancel(finished: Project, project: Project) -> None:
    forget_training(project)
    run = Run(project)
    # Slurm's warning before the time limit: saved, back in the queue, the same job goes on
    first = run.held(resumed=False)
    slurm.control("update", f"JobId={first}", "EndTime=now+100")
    # the time limit itself: another job goes on
    assert run.held(resumed=True) == first
    [written] = (project.folder / ".snakemake/slurm_logs/rule_train").rglob(f"{first}.log")
    assert "DUE TO JOB REQUEUE" in written.read_text()  # of the first start: the second one was appended
    slurm.control("update", f"JobId={first}", "EndTime=now+1")
    assert slurm.until(lambda: len(slurm.jobs_of(project.folder, "train")) == 2)
    # scancel: one more
    second = run.held(resumed=True, after=first)
    subprocess.run(["scancel", second], check=True)
    printed = run.rest()
    states = [job["JobState"] for job in slurm.jobs_of(project.folder, "train")]
    assert (run.process.returncode, states) == (0, ["TIMEOUT", "CANCELLED", "COMPLETED"]), printed
    assert project.read(MODEL, CSV) == finished.read(MODEL, CSV)


def test_killed_snakemake_and_drained_node(finished: Project, project: Project) -> None:
    forget_training(project)
    run = Run(project)
    orphan = run.held(resumed=False)
    run.kill()
    slurm.control("update", f"NodeName={slurm.node()}", "State=DRAIN", "Reason=test")
    again = Run(project)
    assert slurm.until(lambda: len(slurm.jobs_of(project.folder, "train")) == 2), again.rest()
    assert slurm.jobs_of(project.folder, "train")[1]["JobState"] == "PENDING"
    slurm.control("update", f"NodeName={slurm.node()}", "State=RESUME")
    printed = again.rest()
    assert again.process.returncode == 0, printed
    assert f"cancelling jobs of a killed run: {orphan}" in printed
    assert "resumed after step" in (project.folder / TRAIN_LOG).read_text()
    assert project.read(MODEL, CSV) == finished.read(MODEL, CSV)


def test_nodes_can_be_chosen_by_a_feature_with_a_hyphen(project: Project) -> None:
    """What the profile tells a person whose GPUs have such a name."""
    line = '      slurm_partition: ?profile.partition(partitions, "gpu")\n'
    profile = (project.folder / "profiles/slurm/config.yaml").read_text()
    assert line in profile
    (project.folder / "mine.yaml").write_text(
        profile.replace(line, f"{line}      constraint: {slurm.FEATURE}\n")
    )
    (project.folder / METRICS[0]).unlink()
    project.snakemake("--profile", "mine.yaml", *PROFILE[2:], "--", METRICS[0])
    [job] = slurm.jobs_of(project.folder, "fid")
    assert (job["JobState"], job["Features"]) == ("COMPLETED", slurm.FEATURE)


def test_without_an_accounting_database_sacct_is_refused_at_once(project: Project) -> None:
    profile = (project.folder / "profiles/slurm/config.yaml").read_text()
    (project.folder / "mine.yaml").write_text(profile.replace("accounting: auto", "accounting: sacct"))
    done = project.snakemake("--profile", "mine.yaml", "--", METRICS[0], check=False)
    assert done.returncode != 0
    assert "the accounting database does not answer" in done.stderr
    assert "set accounting: auto in profiles/slurm/config.yaml" in done.stderr
