"""The verbs for people, on a finished project."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from project import Project
from sklearn.datasets import load_sample_image

from bridgepipe import cli

MODEL = ("--experiment", "i2sb/jpeg-5")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", *map(str, words)])
        cli.main()
    printed = capsys.readouterr()
    assert not end.value.code, printed.err
    return printed.out


@pytest.fixture(autouse=True)
def inside(finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.folder)


def test_config_prints_the_resolved_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    printed = yaml.safe_load(run(capsys, "config", "i2sb/jpeg-5"))
    assert printed["corruption"] == "jpeg-5"
    assert printed["sample"]["nfe"] == 2
    assert printed["train"]["lr"] == 5e-4


def test_store_info(capsys: pytest.CaptureFixture[str]) -> None:
    info = json.loads(run(capsys, "store", "info", "data/prepared/digits/test.lmdb", "--json"))
    assert (info["count"], info["shape"], info["codec"]) == (359, [16, 16, 3], "raw")


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(capsys, "doctor")
    assert "1 experiments at scale demo" in printed
    assert "missing data  none" in printed
    assert (
        "CC0-1.0: chelsea, retina, camera, brick, grass, gravel, coffee; CC-BY-2.0: china, flower;" in printed
    )


def test_restore_takes_photographs_of_any_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = load_sample_image("flower.jpg")[:123, :174]
    Image.fromarray(photo).save(tmp_path / "flower.jpg", quality=5)
    printed = run(capsys, "restore", tmp_path / "flower.jpg", *MODEL, "--output", tmp_path / "out")
    assert printed.split() == [str(tmp_path / "out/flower.jpg")]
    with Image.open(tmp_path / "out/flower.jpg") as image:
        restored = np.asarray(image)
    assert restored.shape == photo.shape
    assert np.abs(restored.astype(int) - photo).mean() < 60


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bridgepipe", *map(str, words)])
        cli.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_restore_loses_no_photograph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a/IMG_1.jpg", "b/IMG_1.jpg", "c/img_1.jpg", "c/é.jpg", "a/e\u0301.jpg")
    photos = {name: tmp_path / name for name in names}
    for k, photo in enumerate(photos.values()):
        photo.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 40 * k, np.uint8)).save(photo, format="png")
    originals = {photo: photo.read_bytes() for photo in photos.values()}
    out = tmp_path / "out"
    for one, other in (names[:2], names[1:3], names[3:]):
        line = refused(capsys, "restore", photos[one], photos[other], *MODEL, "--output", out)
        assert "have one name" in line
        assert not out.exists()
    # the output would be an input, also by another name of its folder
    (tmp_path / "link").symlink_to("c")
    for folder in ("c", "link", "a/../c"):
        line = refused(capsys, "restore", photos["c/img_1.jpg"], *MODEL, "--output", tmp_path / folder)
        assert "which is an input" in line
    # a file that somebody else made, also a link that leads nowhere
    for folder in "de":
        (tmp_path / folder).mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "d/IMG_1.jpg")
    (tmp_path / "e/IMG_1.jpg").symlink_to(tmp_path / "nowhere")
    for folder in "de":
        line = refused(capsys, "restore", photos["b/IMG_1.jpg"], *MODEL, "--output", tmp_path / folder)
        assert "did not make" in line
    # a bad one is found before the first is restored
    (tmp_path / "text.jpg").write_text("no picture")
    line = refused(capsys, "restore", photos[names[0]], tmp_path / "text.jpg", *MODEL, "--output", out)
    assert "cannot be read as an image" in line
    assert not out.exists()
    assert {photo: photo.read_bytes() for photo in photos.values()} == originals
    # a second time it replaces what the first time made
    for _ in range(2):
        assert run(capsys, "restore", *[photos[names[0]]] * 2, *MODEL, "--output", out).split() == [
            str(out / "IMG_1.jpg")
        ]
