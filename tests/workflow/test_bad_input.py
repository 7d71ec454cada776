"""Bad input: one line that says what, where and how to mend it; exit code not 0; nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from project import MODEL, Project, demo

from bridgepipe import artifacts, cli, config, workflow
from bridgepipe.data import store
from bridgepipe.errors import maker

EXPERIMENT = "results/i2sb/jpeg-5"
TEST_STORE = "data/prepared/digits/test.lmdb"


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a verb that must refuse its input; the one line that it prints."""
    capsys.readouterr()
    before = sys.argv
    sys.argv = ["bridgepipe", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as e:
            cli.main()
    finally:
        sys.argv = before
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bridgepipe: ")]
    assert e.value.code not in (0, None)
    assert len(lines) == 1, lines
    return lines[0]


def stopped(project: Project, *arguments: str) -> str:
    """Run snakemake, which must stop before any job; the one line of bridgepipe."""
    done = project.snakemake(*arguments, check=False)
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("bridgepipe: ")]
    assert done.returncode != 0
    assert len(lines) == 1, done.stderr
    return lines[0]


STOPS: dict[str, tuple[Callable[[dict[str, Any]], Any], str, str]] = {
    "unknown key": (
        lambda v: demo(v)["train"].update(stepz=3),
        "all",
        r"unknown key 'stepz' \(params.yaml:\d+:\d+: scales.demo.i2sb.train.stepz\): did you mean 'steps'",
    ),
    "wrong type": (lambda v: demo(v)["train"].update(lr="fast"), "all", r"is 'fast' .*train.lr\).*number"),
    "impossible value": (lambda v: demo(v)["sample"].update(nfe=0), "all", r"is 0 .*sample.nfe\).*greater"),
    "unknown experiment": (
        lambda v: None,
        "results/i2sb/jpg-5/fid.json",
        r"unknown experiment 'i2sb/jpg-5'.*did you mean 'i2sb/jpeg-5'",
    ),
    "missing ImageNet": (
        lambda v: v.update(scale="paper"),
        f"{EXPERIMENT}/fid.json",
        r"dataset 'imagenet256(-10k)?' is missing \(data/raw/imagenet\): put the ImageNet folders",
    ),
}


@pytest.mark.parametrize("case", STOPS)
def test_the_run_stops_before_any_job_even_dry(project: Project, case: str) -> None:
    edit, target, expected = STOPS[case]
    project.edit(edit)
    line = stopped(project, "-n", "--", target)
    assert re.search(expected, line), line
    assert stopped(project, "--", target) == line


def test_what_one_experiment_asks_too_much_stops_no_other(project: Project) -> None:
    """The data are prepared and have 6 images to test with."""
    common = {
        "corruption": "jpeg-5",
        "dataset": "mine",
        "beta_max": 0.3,
        "evaluate": {"extractor": "inception", "classifier": None},
    }
    (project.folder / "in").mkdir()
    Image.new("RGB", (16, 16)).save(project.folder / "in/one.png")

    def add(values: dict[str, Any]) -> None:
        values["datasets"]["mine"] = {"source": "folder", "path": "in", "size": 16}
        for name, count in (("sound", 6), ("greedy", 7)):
            values["experiments"]["i2sb"][name] = {**common, "sample": {"count": count, "nfe": 2}}

    project.edit(add)
    counts = project.folder / "data/prepared/mine/counts.json"
    artifacts.write_json(counts, {"items": {"test": 6}, "members": {}, "classes": None, "attributes": []})
    os.utime(counts, (2**32, 2**32))  # newer than the listing, which the first dry run writes
    expected = r"i2sb/greedy asks for 7 of the 6 items in the split test of mine .*greedy.sample.count\)"
    assert re.search(expected, stopped(project, "-n", "--", "results/i2sb/greedy/model.safetensors"))
    assert "train" in project.planned("results/i2sb/sound/model.safetensors", "data/prepared/mine/test.lmdb")


def sample(project: Project, **replaced: Path) -> list[object]:
    paths = {
        "config": f"{EXPERIMENT}/config/sample.json",
        "train_config": f"{EXPERIMENT}/config/train.json",
        "model": MODEL,
        "data": TEST_STORE,
        "restored": "out/restored.lmdb",
        "corrupted": "out/corrupted.lmdb",
    }
    options = {k: replaced.get(k, project.folder / v) for k, v in paths.items()}
    words = [(f"--{k.replace('_', '-')}", v) for k, v in options.items()]
    return ["stage", "sample", *(w for pair in words for w in pair)]


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or list(folder.iterdir()) == []


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.97])
def test_truncated_store(project: Project, capsys: pytest.CaptureFixture[str], kept: float) -> None:
    file = project.folder / TEST_STORE
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    line = refused(capsys, *sample(project))
    assert str(file) in line
    assert "make it again" in line or "prepare" in line
    assert nothing_left(project.folder / "out")


def test_originals_of_other_images(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / "small.lmdb"
    with store.writer(small, {}) as w:
        for _ in range(40):
            w.put(np.zeros((30, 30, 3), np.uint8))
    restored = project.folder / EXPERIMENT / "restored.lmdb"
    words = ["stage", "evaluate", "restoration", "--restored", restored, "--corrupted", restored]
    line = refused(capsys, *words, "--originals", small, "--output", tmp_path / "out/r.json")
    assert re.search(r"originals of other images.*give the originals that it was made from", line), line
    assert nothing_left(tmp_path / "out")


def test_checkpoint_of_another_configuration(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    config = project.folder / EXPERIMENT / "config/train.json"
    settings = artifacts.read_json(config)
    settings["train"]["lr"] = 0.125
    artifacts.write_json(config, settings)
    line = refused(capsys, *sample(project))
    assert re.search(r"another configuration: .*lr: 0.0005, expected 0.125 .*model.safetensors", line), line
    assert nothing_left(project.folder / "out")


def test_damaged_checkpoint(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    file = project.folder / MODEL
    content = bytearray(file.read_bytes())
    content[-9] ^= 4
    file.write_bytes(content)
    assert "damaged file" in refused(capsys, *sample(project))
    file.write_bytes(content[:1000])
    assert "damaged or foreign file" in refused(capsys, *sample(project))
    assert nothing_left(project.folder / "out")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def prepare(folder: Path, output: Path) -> list[object]:
    config = output.parent / "config.json"
    artifacts.write_json(config, {"source": "folder", "path": str(folder), "size": 32, "seed": 0})
    return ["stage", "prepare", "--config", config, "--output", output]


def test_corrupted_images_are_listed(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "03.png").write_bytes((pictures / "03.png").read_bytes()[:200])
    (pictures / "07.png").write_text("not a picture")
    line = refused(capsys, *prepare(pictures, tmp_path / "out"))
    assert "03.png" in line
    assert "07.png" in line
    assert "skip_bad" in line
    assert nothing_left(tmp_path / "out")


def test_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pictures").mkdir()
    line = refused(capsys, *prepare(tmp_path / "pictures", tmp_path / "out"))
    assert str(tmp_path / "pictures") in line
    assert nothing_left(tmp_path / "out")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small file system of its own, mounted with the given options."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, check=False).returncode != 0:
            pytest.skip("mounting a small file system needs root")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], check=False, stderr=subprocess.DEVNULL)


def test_full_disk(
    pictures: Path, tmp_path: Path, mounted: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    disk = mounted("size=16k")
    line = refused(capsys, *prepare(pictures, tmp_path / "out")[:4], "--output", disk / "out")
    assert re.search("full|space", line), line
    assert not list(disk.rglob("*.lmdb*"))


def test_read_only_results(project: Project, mounted: Callable[[str], Path]) -> None:
    project.edit(lambda v: demo(v)["sample"].update(nfe=3))
    config = project.folder / EXPERIMENT / "config"
    shutil.rmtree(config)
    config.symlink_to(mounted("ro"))
    line = stopped(project, "-n")
    assert "cannot write: Read-only file system" in line
    assert "make the folder writable" in line


def test_a_failing_job_shows_its_line_and_fails_the_run(project: Project) -> None:
    (project.folder / TEST_STORE).write_bytes(b"nonsense")
    project.edit(lambda v: demo(v)["sample"].update(nfe=3))
    done = project.snakemake("--", f"{EXPERIMENT}/fid.json", check=False)
    assert done.returncode != 0
    # the damaged store is newer than what was made from it; whichever job reads it says so
    assert re.search(r"bridgepipe: .*test\.lmdb", done.stderr + done.stdout)


NAMED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "train.init": (
        lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(train={"init": "typo.pt"}),
        r"no such file: typo.pt \(params.yaml.*experiments.i2sb.jpeg-5.train.init",
    ),
    "mask_file": (
        lambda v: (
            v["datasets"]["digits"].update(size=256),
            v["experiments"]["i2sb"].update(
                other={"corruption": "inpaint-freeform1020", "mask_file": "typo.npz"}
            ),
        ),
        r"no such file: typo.npz \(params.yaml.*experiments.i2sb.other.mask_file",
    ),
    "path": (
        lambda v: v["datasets"].update(digits={"source": "folder", "path": "typo", "size": 32}),
        r"dataset 'digits' is missing \(typo\): .*datasets.digits.path",
    ),
    "subset": (
        lambda v: v["datasets"].update(
            mine={"source": "imagenet", "path": ".", "size": 32, "subset": "typo.txt"}
        ),
        r"dataset 'mine' is missing \(typo.txt\): .*datasets.mine.subset",
    ),
    "image": (
        lambda v: v["datasets"].update({"china-rgb": {"source": "colors", "image": "typo.jpg"}}),
        r"dataset 'china-rgb' is missing \(typo.jpg\): .*datasets.china-rgb.image",
    ),
}


@pytest.mark.parametrize("key", NAMED)
def test_a_named_file_that_nothing_makes_stops_what_reads_it(
    key: str, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the result is finished: Snakemake takes a missing input without a rule for no input."""
    edit, expected = NAMED[key]
    project.edit(edit)
    monkeypatch.chdir(project.folder)
    resolved = config.load("params.yaml")
    pipeline = workflow.Pipeline(resolved)
    asked = {
        "train.init": lambda: pipeline.sources.start_files("i2sb/jpeg-5"),
        "mask_file": lambda: pipeline.sources.mask_files("i2sb/other"),
        "image": lambda: pipeline.sources.source_of("china-rgb"),
        "subset": lambda: pipeline.sources.source_of("mine"),
    }.get(key, lambda: pipeline.sources.source_of("digits"))
    with pytest.raises(SystemExit):
        asked()
    assert re.search(expected, capsys.readouterr().err)


def test_a_missing_start_stops_a_dry_run_of_a_finished_experiment_and_no_other(project: Project) -> None:
    start = {"corruption": "jpeg-10", "train": {"init": "typo.pt"}}
    project.edit(lambda v: v["experiments"]["i2sb"].update(other=start))
    assert project.planned(f"{EXPERIMENT}/fid.json") == set()
    project.edit(lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(train={"init": "typo.pt"}))
    assert "no such file: typo.pt" in stopped(project, "-n", "--", f"{EXPERIMENT}/fid.json")


def test_a_result_that_is_not_made_yet_is_told_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project.create(tmp_path / "project")
    target = f"{EXPERIMENT}/table.md"
    assert "train" in project.planned(target)  # the files of the stages are there now
    monkeypatch.chdir(project.folder)
    Image.new("RGB", (16, 16)).save("photo.png")
    said = {
        MODEL: refused(capsys, "restore", "photo.png", "--experiment", "i2sb/jpeg-5"),
        TEST_STORE: refused(capsys, "store", "info", TEST_STORE),
    }
    for file, line in said.items():
        assert f"({file}): " in line
        assert f"make it first (`snakemake {file}`)" in line
        assert project.planned(file)
    Path("Snakefile").unlink()  # there is no such command outside a project
    elsewhere = refused(capsys, "restore", "photo.png", "--experiment", "i2sb/jpeg-5")
    assert elsewhere.endswith(f"({MODEL}): make it first, or give another path")


@pytest.mark.parametrize(
    "file",
    [
        f"{EXPERIMENT}/config/sample.json",  # the Snakefile writes it
        f"{EXPERIMENT}/train/state.safetensors",
        "data/raw/images.lmdb",
        "weights.safetensors",
        "../results/model.safetensors",
    ],
)
def test_no_command_is_named_for_what_no_rule_makes(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").touch()
    assert maker(file) is None
    assert maker(tmp_path / MODEL) == f"snakemake {MODEL}"
