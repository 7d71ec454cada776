"""Commands of README and docs run as they stand there, in a small project with the files that they name."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from project import ROOT, Project
from test_pages import ALL

from bridgepipe.config import read_yaml

# Pages whose commands a test of their own runs.
OF_THEIR_OWN = {
    "own-data.md": "test_own_data.py",
    "coming-from.md": "../unit/test_coming_from_commands.py",
    "architecture.md": "../unit/test_adding.py",
}
# What the pages name, and what that needs.
EXPERIMENTS = {
    "i2sb": {"jpeg-5", "blur-uni"},
    "model": {"ddpm", "spd", "conditional", "photos", "photos-spd", "photos-ddpm", "photos-64-tones"},
    "guide": {"digits"},
    "boundary": {"loop", "ink", "warmth"},
    "ddib/sample": {"moons", "checkerboard"},
    "ddib/points": {"moons-checkerboard", "checkerboard-moons"},
    "ddib/color": {"rgb"},
    "ddib/cloud": {"china-rgb", "flower-rgb"},
    "ddib/classes": {"3-8", "cool-warm-64"},
    "spd": {"spd", "ddim", "photos-50", "photos-ddpm-50"},
}


def tiny(values: dict[str, Any]) -> None:
    """The experiments that the pages name, with trainings, samples and searches of seconds."""
    for method, named in values["experiments"].items():
        kept = EXPERIMENTS.get(method, set())
        values["experiments"][method] = {name: own for name, own in named.items() if name in kept}
        for own in values["experiments"][method].values():
            _shorter(own)
    demo = values["scales"]["demo"]
    for method in ("i2sb", "model", "guide"):
        demo[method]["network"] |= {"channel_mult": [1], "attention_resolutions": []}
    for method in ("i2sb", "model", "guide", "ddib/sample", "ddib/cloud"):
        demo[method]["train"] |= {"steps": 4, "batch_size": 8}
    demo["i2sb"]["sample"] |= {"nfe": 2, "count": 40}
    demo["spd"]["sample"] |= {"nfe": 2, "count": 16}
    demo["ddib/classes"]["sample"] |= {"respacing": "log_snr 4", "count": 4}
    demo["ddib/sample"]["sample"] |= {"nfe": 3, "latents": 100, "count": 100}
    demo["ddib/points"] |= {"count": 100, "cycle_count": 20}
    demo["ddib/color"]["translate"] |= {"nfe": 3}
    demo["boundary"]["inversion"]["count"] = 4
    demo["boundary"]["mixing"] |= {"count": 3, "every": 1, "images": 20}
    demo["boundary"]["search"] |= {"t": 300, "images": 60}
    demo["boundary"]["edit"] |= {"images": 4, "count": 4, "n": 3}
    for extractor in values["extractors"].values():
        extractor.update({"steps": 5} if "steps" in extractor else {})
    values["runtime"] |= {"threads": 1, "partitions": 1}


def _shorter(own: dict[str, Any]) -> None:
    """The same of what an experiment says itself."""
    if "study" in own:
        own["study"] = {"samplers": dict([*own["study"]["samplers"].items()][:1]), "nfe": [3], "count": 16}
    own.pop("network", None)
    if "train" in own:
        own["train"] = {"steps": 4, "batch_size": 8}
    if "sample" in own:
        own["sample"] |= {"count": 16} | ({"nfe": 2} if "nfe" in own["sample"] else {})
    own.pop("full", None)
    if "mixing" in own:
        own["mixing"] |= {"count": 3, "every": 1, "images": 20}
    if "edit" in own:
        own["edit"] |= {"images": 4, "count": 4}


FILE = "results/i2sb/jpeg-5/restored.lmdb"
# What a page leaves to its reader.
PLACES = {"TARGET": "results/i2sb/jpeg-5/fid.json", "FILE": FILE, "NAME": "jpeg-5", "[METHOD]": "i2sb"}
# Commands that a sentence only names: they need arguments.
NAMED = {
    "bridgepipe edit",
    "bridgepipe restore",
    "bridgepipe translate",
    "bridgepipe export",
    "bridgepipe share",
}
NAMED |= {"bridgepipe store info", "bridgepipe stage sample", "snakemake --quiet", "snakemake --configfile"}
# Commands that need a network, a cluster, a repository or a second page, and the tests that run them.
ELSEWHERE = {
    "bridgepipe serve": ("browser/test_serve_page.py", "serve"),
    "bridgepipe fetch ": ("unit/test_fetch.py", "fetch("),
    "bridgepipe boundary import": ("workflow/test_boundary_pipeline.py", '"boundary", "import"'),
    "bridgepipe boundary export": ("unit/test_boundaries.py", "export_boundary"),
    "bridgepipe edit photo.png --boundary mine/smile": (
        "workflow/test_boundary_pipeline.py",
        '"--model", model',
    ),
    "bridgepipe record": ("dvc/repository.py", '"record"'),
    "bridgepipe status --watch": ("unit/test_status.py", "watching.watch("),
    "bridgepipe training-state": ("unit/test_train_verb.py", '"training-state"'),
    "bridgepipe measure A B": ("unit/test_measuring.py", '"measure"'),
    "bridgepipe fid A B": ("unit/test_measuring.py", '"fid"'),
    "bridgepipe stage train --config ...": ("unit/test_processes.py", "--processes"),
    "bridgepipe stage figure densities": ("workflow/test_point_pipeline.py", "densities"),
    "snakemake --report": ("workflow/test_report.py", '"--report"'),
    "snakemake --profile": ("workflow/test_profiles.py", "--profile"),
    "snakemake results/boundary/red-brick/edit.json": ("workflow/test_boundary_pipeline.py", "boundaries.md"),
    "snakemake results/ddib/classes/dogs/table.md": ("workflow/test_translate.py", "def pairs"),
    "snakemake results/ddib/points/A-B": ("workflow/test_point_pipeline.py", "densities.png"),
}


def as_run(words: list[str]) -> str:
    """A command as it is run here, with a name for every place that the page leaves open."""
    line = " ".join(words)
    for place, name in PLACES.items():
        line = re.sub(rf"(?<![A-Z]){re.escape(place)}(?![A-Z])", name, line)
    return line


def runs_here(page: str, line: str) -> bool:
    return line not in NAMED and page not in OF_THEIR_OWN and not line.startswith(tuple(ELSEWHERE))


LINES = list(dict.fromkeys(line for page, words in ALL if runs_here(page, line := as_run(words))))
TARGETS = {
    word
    for line in LINES
    for word in line.split()
    if line.startswith("snakemake ") and re.fullmatch(r"(results|data)/[a-zA-Z0-9_./-]+", word)
}
LAST = [line for line in LINES if line.startswith("bridgepipe clean")]  # removes what others read


def picture(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 36, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project in which every target of the pages is made, with photographs of the names there."""
    project = Project.create(tmp_path_factory.mktemp("pages") / "project")
    project.write(read_yaml(ROOT / "params.yaml"))
    project.edit(tiny)
    project.snakemake("-c2", "--", *sorted(TARGETS))
    names = ("photo.jpg", "photo.png", "photos/1.png", "photos/2.png", "album/1.jpg", "album/2.png")
    for seed, name in enumerate(names):
        picture(project.folder / name, seed)
    return project


def test_every_target_is_there(made: Project) -> None:
    assert len(TARGETS) > 15
    assert [target for target in TARGETS if not (made.folder / target).exists()] == []


@pytest.mark.parametrize("line", [*(line for line in LINES if line not in LAST), *LAST])
def test_the_command_runs(made: Project, line: str) -> None:
    before, _, after = line.partition(" | ")
    program, *words = shlex.split(before.replace(" 2>&1", ""))
    done = made.snakemake("-c2", *words) if program == "snakemake" else made.bridgepipe(*words)
    named = re.findall(r"(?:-o|--output|--compare|--report) (\S+)", before)
    assert [name for name in named if not (made.folder / name).exists()] == []
    if after:
        piped = [sys.executable, "-m", *shlex.split(after)]
        subprocess.run(piped, **made.context(), input=done.stdout + done.stderr, check=True)


@pytest.mark.parametrize("start", ELSEWHERE)
def test_another_test_runs_it(start: str) -> None:
    assert any(as_run(words).startswith(start) for _, words in ALL)
    file, said = ELSEWHERE[start]
    assert said in (ROOT / "tests" / file).read_text()
