"""A tiny project: the real Snakefile and rules on the real digits, with a network that trains in seconds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import yaml

from bridgepipe.config import read_yaml

ROOT = Path(__file__).parents[2]
METRICS = [f"results/i2sb/jpeg-5/{name}.json" for name in ("fid", "accuracy", "restoration")]
MODEL = "results/i2sb/jpeg-5/model.safetensors"


@dataclass(frozen=True)
class Project:
    folder: Path

    @classmethod
    def create(cls, folder: Path) -> Project:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("Snakefile", "workflow", "profiles", "src"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "slurm").symlink_to("profiles/slurm")
        project = cls(folder)
        project.write(read_yaml(ROOT / "params.yaml"))
        project.edit(_tiny)
        return project

    @property
    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "params.yaml").read_text())

    def write(self, values: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))

    def edit(self, change: Callable[[dict[str, Any]], Any]) -> None:
        values = self.params
        change(values)
        self.write(values)

    def copy(self, folder: Path) -> Project:
        """A copy with equal file times, as if nothing had happened in between."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run("snakemake", *arguments, check=check)

    def bridgepipe(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run("bridgepipe", *words, check=check)

    def _run(self, name: str, *words: str, check: bool) -> subprocess.CompletedProcess[str]:
        command, context = [sys.executable, "-m", name], self.context()
        if forked.folder is not None:
            command = [str(forked.folder / name)]
            context["env"]["PATH"] = f"{forked.folder}{os.pathsep}{context['env']['PATH']}"
        done = subprocess.run([*command, *words], **context, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{name} {words} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done

    def command(self, *arguments: str) -> list[str]:
        """A start of Snakemake as a user's."""
        return [sys.executable, "-m", "snakemake", *arguments]

    def context(self) -> dict[str, Any]:
        """How commands of this project are started."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        return {"cwd": self.folder, "env": environment, "capture_output": True, "text": True}

    def planned(self, *targets: str) -> set[str]:
        """Rules that would run for the targets (everything by default)."""
        done = self.snakemake("-n", "--", *targets)
        output = done.stdout + done.stderr
        table = re.search(r"\n-+\s+-+\n(.*?)\ntotal ", output, re.DOTALL)
        return {line.split()[0] for line in table[1].splitlines()} - {"all", "demo"} if table else set()

    def read(self, *names: str) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in names}

    def leftovers(self) -> list[Path]:
        """Temporary files that a failed or killed job left behind."""
        return [f for f in self.folder.rglob(".*.tmp*") if ".snakemake" not in f.parts]


def demo(values: dict[str, Any]) -> dict[str, Any]:
    return values["scales"]["demo"]["i2sb"]


def _tiny(values: dict[str, Any]) -> None:
    values["experiments"] = {"i2sb": {"jpeg-5": {"corruption": "jpeg-5", "beta_max": 0.3}}}
    values["datasets"]["digits"]["size"] = 16
    values["extractors"]["digits-classifier"]["steps"] = 20
    values["runtime"] |= {"threads": 1, "save_every": 5}
    demo(values)["network"] |= {"channel_mult": [1], "attention_resolutions": []}
    demo(values)["train"] |= {"steps": 20, "batch_size": 8}
    demo(values)["sample"] |= {"nfe": 2, "count": 40}
