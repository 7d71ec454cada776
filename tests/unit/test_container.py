"""The Containerfile without Docker: what it copies is enough to install, and to restore a photograph."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import bridgepipe

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Containerfile"
IMAGE = f"bridgepipe:{bridgepipe.__version__}"
ABOUT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, list[str]]]:
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], shlex.split(line)[1:]) for line in lines]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the image is built from, and nothing else."""
    folder = tmp_path_factory.mktemp("image")
    for word, names in instructions():
        for name in names[:-1] if word == "COPY" else ():
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(ROOT / name, folder / names[-1], ignore=ignored)
            else:
                shutil.copy(ROOT / name, folder / names[-1])
    return folder


def test_it_is_written_of_what_there_is() -> None:
    assert [word for word, _ in instructions()] == ["FROM", "WORKDIR", "COPY", "COPY", "RUN"]
    ((_, (base,)), *_, (_, command)) = instructions()
    assert base == f"python:{ABOUT['project']['requires-python'].removeprefix('>=')}-slim"
    assert command[:3] == ["pip", "install", "--no-cache-dir"]
    constraints, wanted = command[command.index("-c") + 1 :]
    extras = re.fullmatch(r"\.\[(.+)\]", wanted)[1].split(",")
    assert {*extras} <= ABOUT["project"]["optional-dependencies"].keys()
    locked = (ROOT / constraints).read_text().splitlines()
    assert [
        line for line in locked if re.search(r"\+|file:|@", line.partition(";")[0]) and "#" not in line
    ] == []


def test_it_is_called_by_its_name_everywhere() -> None:
    named = re.findall(r"docker://(\S+)\"", (ROOT / "Snakefile").read_text())
    named += re.findall(r"-t (\S+) ", FILE.read_text() + (ROOT / "docs/engines.md").read_text())
    profile = yaml.safe_load((ROOT / "profiles/kubernetes/config.yaml").read_text())
    named += [value.rpartition("/")[2] for key, value in profile.items() if key == "image"]
    assert len(named) >= 3
    assert {*named} == {IMAGE}


def test_what_it_copies_installs_and_restores(context: Path, tmp_path: Path) -> None:
    """By pip as there, but for the packages that are here already; outside the repository."""
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", installed, "."], cwd=context, check=True, capture_output=True)
    Image.fromarray(np.full((40, 48, 3), 99, np.uint8)).save(tmp_path / "photo.png")
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    for words in (("--version",), ("restore", "photo.png", "--output", "restored.png")):
        command = [installed / "bin/bridgepipe", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == {"--version": f"bridgepipe {bridgepipe.__version__}\n"}.get(
            words[0], "restored.png\n"
        )
    with Image.open(tmp_path / "restored.png") as restored:
        assert restored.size == (48, 40)
    assert (installed / "bridgepipe/py.typed").exists()
