"""A git repository with a tiny project under DVC, its local remote, and clones of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
EXPERIMENT = "results/i2sb/jpeg-5"
NUMBERS = "results/metrics/i2sb/jpeg-5.json"
METRICS = [f"{EXPERIMENT}/{name}.json" for name in ("fid", "accuracy", "restoration")]
FINAL = [
    *METRICS,
    NUMBERS,
    f"{EXPERIMENT}/model.safetensors",
    f"{EXPERIMENT}/train.csv",
    f"{EXPERIMENT}/restored.lmdb",
    f"{EXPERIMENT}/corrupted.lmdb",
    f"{EXPERIMENT}/table.md",
]
SHARED = ("Snakefile", ".dvcignore", ".gitignore", "params.yaml", "Makefile", "dvc.yaml")
FOLDERS = ("workflow", "profiles", "src", "experiments")
OWN = "experiments/i2sb.yaml"
EXPERIMENTS = {"i2sb": {"jpeg-5": {"corruption": "jpeg-5", "beta_max": 0.3}}}


@dataclass(frozen=True)
class Repository:
    """A clone in which commands are typed."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, remote: Path) -> Repository:
        """A repository with tiny parameters, its first commit, and a remote that is a folder."""
        folder.mkdir(parents=True)
        for name in SHARED:
            shutil.copy(ROOT / name, folder / name)
        for name in FOLDERS:
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        (folder / ".dvc").mkdir()
        for name in ("config", ".gitignore"):
            shutil.copy(ROOT / ".dvc" / name, folder / ".dvc" / name)
        repository = cls(folder)
        repository.run("git", "init", "-q", "-b", "main")
        for file in (folder / "experiments").iterdir():
            file.unlink()
        (folder / OWN).write_text(yaml.safe_dump({"experiments": EXPERIMENTS}, sort_keys=False))
        repository.edit(_tiny)
        repository.run("bridgepipe", "record", "all")
        repository.run("dvc", "remote", "add", "-q", "--default", "storage", str(remote))
        repository.commit("start")
        return repository

    def clone(self, folder: Path) -> Repository:
        self.run("git", "clone", "-q", str(self.folder), str(folder))
        return Repository(folder)

    def copy(self, folder: Path) -> Repository:
        """A copy with equal file times, as if nothing had happened in between."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Repository(folder)

    def run(self, *command: str) -> str:
        """Standard output and error of a command that succeeds."""
        done = self.attempt(*command)
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{output[-6000:]}"
        return output

    def attempt(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.folder, env=environment(), capture_output=True, text=True)

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def repro(self) -> set[str]:
        """Stages that `dvc repro` ran or took from its run cache."""
        return stages_in(self.run("dvc", "repro"))

    def diff(self, what: str) -> Any:
        """What `dvc metrics|params|plots diff` says of the edits since the last commit."""
        return json.loads(self.attempt("dvc", what, "diff", "--json").stdout)

    def pending(self) -> set[str]:
        """Rules that bare `snakemake` would run."""
        output = self.run("snakemake", "-n")
        table = re.search(r"\n-+\s+-+\n(.*?)\ntotal ", output, re.DOTALL)
        return {line.split()[0] for line in table[1].splitlines()} - {"all"} if table else set()

    def edit(self, change: Callable[[dict[str, Any]], Any], file: str = "params.yaml") -> None:
        path = self.folder / file
        values = yaml.safe_load(path.read_text())
        change(values)
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def set(self, section: str, **values: Any) -> None:
        """Change values of a section of the demo's bridge."""
        self.edit(lambda v: v["scales"]["demo"]["i2sb"][section].update(values))

    def sync(self) -> None:
        """`make sync`, with the tools that run this test."""
        self.run("make", "--old-file=setup", "sync")

    def wait_for_queue(self) -> None:
        """Until no experiment is queued or running; every one must have succeeded."""
        deadline = time.monotonic() + 300
        while re.search("Running|Queued", status := self.run("dvc", "queue", "status")):
            assert time.monotonic() < deadline, status
            time.sleep(1)
        assert "Failed" not in status, status

    def files(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in FINAL}

    def settings(self) -> dict[str, Any]:
        """What the recorded FID says that it was made with."""
        return json.loads((self.folder / METRICS[0]).read_text())["made_with"]["settings"]["sample"]


@dataclass(frozen=True)
class Truth:
    """Results of plain Snakemake, computed once for every content of params.yaml."""

    folder: Path

    def __call__(self, repository: Repository) -> dict[str, bytes]:
        values = yaml.safe_load((repository.folder / "params.yaml").read_text())
        clone = self.folder / hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
        if not clone.exists():
            repository.run("git", "clone", "-q", str(repository.folder), str(clone))
            shutil.rmtree(clone / "results", ignore_errors=True)
            shutil.copy(repository.folder / "params.yaml", clone / "params.yaml")
            Repository(clone).run("snakemake", "--quiet", "all", "--", *FINAL)
        return Repository(clone).files()


def stages_in(output: str) -> set[str]:
    found = re.findall(r"Running stage '([^']+)'|Stage '([^']+)' is cached", output)
    return {first or second for first, second in found}


def environment() -> dict[str, str]:
    """Of every command: this Python's tools, nobody's git settings, one thread."""
    who = {
        f"GIT_{role}_{what}": "test@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "DVC_NO_ANALYTICS": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **who, **quiet, "PATH": path, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}


def _tiny(values: dict[str, Any]) -> None:
    """One small bridge."""
    demo = values["scales"]["demo"]["i2sb"]
    values["extractors"]["digits-classifier"]["steps"] = 20
    values["runtime"] |= {"threads": 1, "save_every": 5, "partitions": 1}
    demo["network"] |= {"channel_mult": [1], "attention_resolutions": []}
    demo["train"] |= {"steps": 20, "batch_size": 8}
    demo["sample"] |= {"nfe": 2, "count": 40}
