"""Faults, one after the other, with a seed: kills, flipped bits, truncated files, full disks.

After each the same command is given again, and every file must have the bytes of an undisturbed run.
``python tests/faults/campaign.py --faults 60`` prints how many faults were injected, noticed and lost.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "dvc"))

from repository import FINAL, Repository, environment

MADE = [
    *FINAL,
    "results/i2sb/table.csv",
    "results/i2sb/jpeg-5/figures/grid.png",
    "results/i2sb/jpeg-5/figures/loss.png",
    "results/i2sb/jpeg-5/figures/path.png",
    *(f"data/prepared/digits/{split}.lmdb" for split in ("train", "val", "test")),
    "data/checkpoints/digits-classifier.safetensors",
    "data/stats/digits/train-digits-classifier.safetensors",
]
CONFIGS = [
    "data/prepared/digits/config.json",
    "data/checkpoints/digits-classifier.json",
    *(f"results/i2sb/jpeg-5/config/{stage}.json" for stage in ("train", "sample", "evaluate")),
]
MAKE = ["snakemake", "--", *MADE]
RECORD = ["dvc", "repro"]
LOCK_CUT = re.compile(r"dvc\.lock' (validation failed|is invalid)")
Digests = dict[str, bytes]


@dataclass
class Tally:
    """Faults of every kind: how many there were, were noticed, and left a wrong file behind."""

    injected: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows = [f"{kind:<10} {n:>8} {self.noticed[kind]:>8}" for kind, n in self.injected.items()]
        total = f"{'all':<10} {self.injected.total():>8} {self.noticed.total():>8}"
        return "\n".join(["kind       injected  noticed", *rows, total, f"lost: {', '.join(self.lost) or 0}"])


class Campaign:
    """Faults in copies of one small project.

    Args:
        folder: empty folder for the copies.
        seed: of the choice of faults and moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng, self.tally = folder, random.Random(seed), Tally()
        self.start = Repository.create(folder / "start", folder / "remote")
        self.finished = self.copy(self.start, "finished")
        began = time.monotonic()
        self.finished.run(*MAKE)
        self.finished.run("bridgepipe", "verify")
        self.seconds = time.monotonic() - began  # of an undisturbed run
        self.truth = contents(self.finished)

    def copy(self, repository: Repository, name: str) -> Repository:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(repository.folder, self.folder / name, symlinks=True)
        return Repository(self.folder / name)

    def kills(self, victim: str, count: int) -> None:
        """kill -9 of a job, of Snakemake or of DVC at random moments, each followed by the same command."""
        project = self.copy(self.start, victim)
        command = RECORD if victim == "dvc" else MAKE
        for _ in range(count):
            run = begin(project, command)
            time.sleep(self.rng.uniform(0.1, 0.9) * self.seconds / count)
            if kill(project, run, victim):
                self.tally.injected[victim] += 1
                self.tally.noticed[victim] += run.wait() != 0
            elif run.returncode == 0:
                break
        self.repeat(project, command, victim)

    def damage(self, kind: str, count: int) -> None:
        """Flip a bit in, or cut off the end of, ``count`` files whose times stay the same."""
        project = self.copy(self.finished, kind)
        for name in self.rng.sample([*MADE, *CONFIGS], count):
            DAMAGE[kind](project.folder / name, self.rng)
            self.tally.injected[kind] += 1
        done = attempt(project, ["bridgepipe", "verify", "--delete"])
        self.tally.noticed[kind] += done.stderr.count("bridgepipe: ")
        self.repeat(project, MAKE, kind)

    def full_disk(self, count: int) -> None:
        """No file may grow beyond a random size, as when the disk is full."""
        project = self.copy(self.start, "full")
        for _ in range(count):
            size = int(10 ** self.rng.uniform(3.5, 5.8))
            done = attempt(project, MAKE, lambda size=size: limit_files(size))
            self.tally.injected["full"] += 1
            self.tally.noticed["full"] += done.returncode != 0
        self.repeat(project, MAKE, "full")

    def repeat(self, project: Repository, command: list[str], kind: str) -> None:
        """The same command until nothing else is at work there; then every byte counts."""
        deadline = time.monotonic() + 300
        while (done := attempt(project, command)).returncode != 0:
            told = done.stdout + done.stderr
            if LOCK_CUT.search(told):  # DVC writes it in place: docs/troubleshooting.md says to take it away
                (project.folder / "dvc.lock").unlink()
                continue
            if "another run is at work here" not in told or time.monotonic() > deadline:
                raise AssertionError(f"after {kind}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
            time.sleep(1)
        wrong = [name for name, content in contents(project).items() if content != self.truth[name]]
        self.tally.lost += [f"{name} after {kind}" for name in wrong]


def contents(project: Repository) -> Digests:
    names = [*MADE, *CONFIGS]
    return {name: (project.folder / name).read_bytes() for name in names}


def begin(project: Repository, command: list[str]) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=project.folder, env=environment(), stdout=quiet, stderr=quiet)


def attempt(
    project: Repository, command: list[str], before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=project.folder, env=environment(), capture_output=True, text=True, preexec_fn=before
    )


def kill(project: Repository, run: subprocess.Popen[bytes], victim: str) -> bool:
    """kill -9; False when the run ended before there was anything to kill."""
    while run.poll() is None:
        pids = [run.pid] if victim in ("dvc", "snakemake") else list(jobs_of(project))
        if pids:
            os.kill(pids[-1], signal.SIGKILL)
            return True
        time.sleep(0.05)
    return False


def jobs_of(project: Repository) -> Iterator[int]:
    """Processes of bridgepipe verbs in the project's folder."""
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
            here = (proc / "cwd").resolve() == project.folder.resolve()
        except OSError:
            continue
        if here and any(word.endswith(b"bin/bridgepipe") for word in words):
            yield int(proc.name)


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextmanager
def same_time(path: Path) -> Iterator[None]:
    """Damage leaves no new time behind."""
    stat = path.stat()
    yield
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    with same_time(path):
        path.write_bytes(content)


def truncate(path: Path, rng: random.Random) -> None:
    with same_time(path):
        os.truncate(path, rng.randrange(path.stat().st_size))


DAMAGE = {"flip": flip, "truncate": truncate}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=60, help="about how many, over all kinds")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), given.seed)
        while campaign.tally.injected.total() < given.faults:
            for victim in ("job", "snakemake", "dvc"):
                campaign.kills(victim, 4)
            for kind in DAMAGE:
                campaign.damage(kind, 6)
            campaign.full_disk(4)
            print(campaign.tally, flush=True)
    raise SystemExit(1 if campaign.tally.lost else 0)


if __name__ == "__main__":
    main()
