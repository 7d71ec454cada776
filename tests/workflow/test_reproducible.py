"""Same command, same bytes; partitions and batch sizes don't change results; kills lose nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from project import METRICS, MODEL, Project, demo

from bridgepipe.data.store import ImageStore

STORES = ["results/i2sb/jpeg-5/restored.lmdb", "results/i2sb/jpeg-5/corrupted.lmdb"]
CSV = "results/i2sb/jpeg-5/train.csv"
DATA = "data/prepared/digits/train.lmdb"
EXTRACTOR = "data/checkpoints/digits-classifier.safetensors"


def pixels(project: Project, store: str = STORES[0]) -> np.ndarray:
    images = ImageStore(project.folder / store)
    return np.stack([images[i] for i in range(len(images))]).astype(int)


def resample(project: Project, **runtime: Any) -> np.ndarray:
    project.edit(lambda v: v["runtime"].update(runtime))
    for store in STORES:
        (project.folder / store).unlink()
    project.snakemake(*STORES)
    return pixels(project)


@pytest.mark.usefixtures("anew")
def test_a_second_clean_run_gives_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    again = Project.create(tmp_path / "again")
    again.snakemake(*METRICS)
    names = [DATA, EXTRACTOR, MODEL, CSV, *STORES, *METRICS]
    assert again.read(*names) == finished.read(*names)


@pytest.mark.parametrize(("partitions", "batch_size"), [(1, 64), (4, 7), (2, 1)])
def test_partitions_and_batches_change_no_image(
    finished: Project, project: Project, partitions: int, batch_size: int
) -> None:
    difference = np.abs(resample(project, partitions=partitions, batch_size=batch_size) - pixels(finished))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
    assert np.array_equal(pixels(project, STORES[1]), pixels(finished, STORES[1]))


def restart_training(project: Project) -> None:
    """As if nothing had been trained yet."""
    project.edit(lambda v: demo(v)["train"].update(steps=200))
    v = project.folder / MODEL
    v.unlink()


def processes_of(project: Project, verb: str) -> list[int]:
    """Processes of a verb that work in this project's folder."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
            here = (proc / "cwd").resolve() == project.folder.resolve()
        except OSError:
            continue
        if here and verb.encode() in words and any(w.endswith(b"bridgepipe") for w in words):
            found.append(int(proc.name))
    return found


def kill_when_seen(project: Project, verb: str, delay: float, run: subprocess.Popen[str]) -> bool:
    """kill -9 the verb ``delay`` seconds after it appears; False when the run ended before."""
    deadline = time.monotonic() + 60
    while run.poll() is None and time.monotonic() < deadline:
        if processes_of(project, verb):
            time.sleep(delay)
            for pid in processes_of(project, verb):
                os.kill(pid, signal.SIGKILL)
                return True
        time.sleep(0.05)
    return False


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def start(project: Project, *targets: str) -> subprocess.Popen[str]:
    context = {**project.context(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    del context["capture_output"]
    return subprocess.Popen(project.command("--", *targets), **context)


def test_kills_of_training_change_no_byte(project: Project, tmp_path: Path) -> None:
    restart_training(project)
    undisturbed = project.copy(tmp_path / "undisturbed")
    undisturbed.snakemake(MODEL)
    moments = random.Random(7)
    killed = 0
    for _ in range(5):
        run = start(project, MODEL)
        killed += kill_when_seen(project, "train", moments.uniform(0.5, 6.0), run)
        run.wait()
    project.snakemake(MODEL)
    assert killed >= 3
    assert project.read(MODEL, CSV) == undisturbed.read(MODEL, CSV)
    assert project.leftovers() == []


def test_kill_of_snakemake_itself_needs_only_the_same_command(project: Project, finished: Project) -> None:
    project.edit(lambda v: demo(v)["sample"].update(seed=3))
    undisturbed = project.copy(project.folder.parent / "undisturbed")
    undisturbed.snakemake(*METRICS)
    for delay in (2.0, 4.5):
        run = start(project, *METRICS)
        time.sleep(delay)
        run.kill()
        run.wait()
    project.snakemake(*METRICS)
    assert project.read(*METRICS, *STORES) == undisturbed.read(*METRICS, *STORES)


def test_two_runs_at_once_are_refused_in_one_line(project: Project) -> None:
    restart_training(project)
    run = start(project, MODEL)
    eventually(lambda: bool(processes_of(project, "train")))
    second = project.snakemake(MODEL, check=False)
    assert second.returncode != 0
    assert "another run is at work here" in second.stderr + second.stdout
    run.terminate()
    run.wait()


def test_interrupted_training_says_resume_me(project: Project) -> None:
    restart_training(project)
    folder = project.folder / "results/i2sb/jpeg-5/train"
    (folder / "state.safetensors").unlink()
    run = start(project, MODEL)
    eventually((folder / "state.safetensors").exists)
    for pid in processes_of(project, "train"):
        os.kill(pid, signal.SIGTERM)
    assert run.wait() != 0
    log = (project.folder / "results/i2sb/jpeg-5/logs/train.log").read_text()
    assert "run the same command to go on" in log
    assert not (project.folder / MODEL).exists()
    project.snakemake(MODEL)
    assert "resumed after step" in (project.folder / "results/i2sb/jpeg-5/logs/train.log").read_text()
