"""`bridgepipe new`: what it writes runs, and what it cannot use it names before anything is written."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from project import ROOT, Project
from test_own_data import PAGE, animals, faces, pairs, photographs, picture
from trees import tree

KINDS = {
    "restoration": ("photos", "i2sb"),
    "pairs": ("pairs", "i2sb"),
    "translation": ("animals", "ddib/classes"),
    "boundary": ("faces", "boundary"),
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as it is cloned, with folders of images. Copy it, never change it."""
    project = Project.create(tmp_path_factory.mktemp("new") / "project")
    shutil.copy(ROOT / "params.yaml", project.folder)
    shutil.copytree(ROOT / "experiments", project.folder / "experiments")
    for lay_out in (photographs, pairs, animals, faces):
        lay_out(project.folder)
    return project


@pytest.fixture
def project(fresh: Project, tmp_path: Path) -> Project:
    return fresh.copy(tmp_path / "project")


def new(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    return project.bridgepipe("new", *words)


def refused(project: Project, *words: str) -> str:
    """The one line of a call that writes nothing."""
    before = sorted((project.folder / "experiments").iterdir())
    done = project.bridgepipe("new", *words, check=False)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("bridgepipe: ")]
    assert done.stdout == ""
    assert sorted((project.folder / "experiments").iterdir()) == before
    return line


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_named_next_can_run(project: Project, kind: str) -> None:
    data, method = KINDS[kind]
    before = tree(project.folder)
    shown = new(project, kind, "mine", "--data", data, "--dry-run")
    file = project.folder / "experiments/mine.yaml"
    assert tree(project.folder) == before
    done = new(project, kind, "mine", "--data", data)
    assert done.stdout == "experiments/mine.yaml\n"
    assert file.read_text() == shown.stdout
    assert len(file.read_text().splitlines()) <= 30
    unwritten = "nothing was written: without --dry-run this is experiments/mine.yaml\n"
    assert shown.stderr == unwritten + done.stderr
    _, plan, command, watch, *_ = done.stderr.splitlines()
    assert watch.startswith("next: bridgepipe status --watch ")
    words = command.removeprefix("next: snakemake ").split()
    assert plan == f"next: bridgepipe plan {' '.join(words)}"
    assert all(word.startswith(f"results/{method}/mine/") for word in words)
    planned = project.planned(*words)
    assert {"train", "figure" if method != "boundary" else "boundary_search"} <= planned
    assert planned & {"prepare", "prepare_pairs"}


@pytest.mark.parametrize(
    ("kind", "trained"), [("restoration", "i2sb"), ("pairs", "i2sb"), ("boundary", "model")]
)
def test_the_first_look_that_the_file_and_the_page_name_can_run(
    project: Project, kind: str, trained: str
) -> None:
    new(project, kind, "mine", "--data", KINDS[kind][0])
    file = project.folder / "experiments/mine.yaml"
    text = file.read_text()
    ((minutes, advice),) = re.findall(
        r"For a first look, (.*) minutes on\n# two cores, set (.*)\.\n# It shows", text
    )
    size = "32" if "size: 32" in text else "64"
    assert re.search(rf"{minutes}\b[^.]* for\s{size}\b", PAGE)
    settings = yaml.safe_load(text)
    for key, value in re.findall(r"train\.([a-z.]+): (\d+)", advice):
        assert f"`train.{key}: {value}`" in PAGE
        section = settings["experiments"][trained]["mine"]["train"]
        *above, last = key.split(".")
        for name in above:
            section = section[name]
        section[last] = int(value)
    file.write_text(yaml.safe_dump(settings))
    assert "steps: 100\n" in project.bridgepipe("config", f"{trained}/mine").stdout


def test_a_file_that_is_there_stays(project: Project) -> None:
    new(project, "restoration", "mine", "--data", "photos")
    assert "already there (experiments/mine.yaml)" in refused(project, "pairs", "mine", "--data", "pairs")
    assert "already there" in refused(project, "restoration", "i2sb", "--data", "photos")


def test_two_classes_of_many_are_named(project: Project) -> None:
    for kind in ("1", "on"):
        shutil.copytree(project.folder / "animals/cats", project.folder / f"animals/{kind}")
    words = ["translation", "mine", "--data", "animals"]
    assert "classes 1, cats, dogs, on (animals): name two" in refused(project, *words)
    assert "did you mean 'dogs'" in refused(project, *words, "--class-a", "cats", "--class-b", "dog")
    assert "one class" in refused(project, *words, "--class-a", "cats", "--class-b", "cats")
    new(project, *words, "--class-a", "1", "--class-b", "on")
    written = yaml.safe_load((project.folder / "experiments/mine.yaml").read_text())
    mine = written["experiments"]["ddib/classes"]["mine"]
    assert (mine["source"], mine["target"]) == ("1", "on")


def test_an_odd_place_and_small_pictures(project: Project) -> None:
    odd = "my: 'own' pictures, é"
    for n in range(20):
        picture(project.folder / odd / f"{n}.png", n, (40, 36))
    new(project, "restoration", "mine", "--data", odd, "--corruption", "jpeg-5")
    written = yaml.safe_load((project.folder / "experiments/mine.yaml").read_text())
    assert written["datasets"]["mine"] == {"source": "folder", "path": odd, "size": 32}
    assert written["experiments"]["i2sb"]["mine"]["corruption"] == "jpeg-5"


def test_what_it_cannot_use_is_told(project: Project) -> None:
    photos = ["restoration", "mine", "--data", "photos"]
    assert "did you mean 'noise-25'" in refused(project, *photos, "--corruption", "noize")
    assert "a name has up to 100" in refused(project, "restoration", "my own", "--data", "photos")
    named = refused(project, "restoration", "digits", "--data", "photos")
    assert "digits is already at params.yaml:" in named
    assert "no sub-folders of classes (photos)" in refused(project, "translation", "mine", "--data", "photos")
    assert "write metadata.csv" in refused(project, "boundary", "mine", "--data", "photos")
    glass = ["boundary", "mine", "--data", "faces", "--attribute", "glass"]
    assert "did you mean 'glasses'" in refused(project, *glass)
    assert "no such folder (photos/A)" in refused(project, "pairs", "mine", "--data", "photos")
    (project.folder / "pairs/B/0003.png").unlink()
    assert "no partner for 1 image: A/0003.png" in refused(project, "pairs", "mine", "--data", "pairs")
    (project.folder / "photos/3.png").write_text("no picture")
    assert "cannot be read: 1 image: photos/3.png" in refused(project, *photos)
    picture(project.folder / "one/1.png", 1)
    assert "1 images leave none for" in refused(project, "restoration", "mine", "--data", "one")


def test_without_a_project_no_image_is_looked_at(project: Project) -> None:
    (project.folder / "params.yaml").unlink()
    line = refused(project, "restoration", "mine", "--data", "experiments")  # which holds no images
    assert line == "bridgepipe: no such file (params.yaml): run from the project folder or give --params"


def test_a_params_file_that_would_not_read_it_is_told(project: Project) -> None:
    photos = ["restoration", "mine", "--data", "photos"]
    params = project.folder / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("scale: demo ", "scale: paper "))
    assert "a new experiment starts from demo (params.yaml:7:1: scale): set scale: demo" in refused(
        project, *photos
    )
    params.write_text(text.replace("include: experiments/*.yaml", "include: experiments/i*.yaml"))
    line = refused(project, *photos)
    assert "it does not include experiments/mine.yaml (params.yaml): add the line `include:" in line


def test_the_first_file_of_a_project(project: Project) -> None:
    """Where all experiments stand in params.yaml, as before there were files."""
    values = yaml.safe_load((project.folder / "params.yaml").read_text())
    values["experiments"] = {"i2sb": {"jpeg-5": {"corruption": "jpeg-5", "scales": ["demo"]}}}
    values["experiments"] |= {"guide": {"digits": {"scales": ["demo"]}}}
    project.write(values)
    shutil.rmtree(project.folder / "experiments")
    new(project, "restoration", "mine", "--data", "photos")
    assert project.planned("results/i2sb/mine/restoration.json", "results/i2sb/jpeg-5/fid.json")
