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
    info = json.loads(run(capsys, "store", "info", "data/prepared/digits/test.lmdb"))
    assert (info["count"], info["shape"], info["codec"]) == (359, [32, 32, 3], "raw")


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(capsys, "doctor")
    assert "1 experiments at scale demo" in printed
    assert "missing data  none" in printed


def test_restore_takes_photographs_of_any_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = load_sample_image("flower.jpg")[:123, :174]
    Image.fromarray(photo).save(tmp_path / "flower.jpg", quality=5)
    printed = run(capsys, "restore", tmp_path / "flower.jpg", "--output", tmp_path / "out")
    assert printed.split() == [str(tmp_path / "out/flower.png")]
    restored = np.asarray(Image.open(tmp_path / "out/flower.png"))
    assert restored.shape == photo.shape
    assert np.abs(restored.astype(int) - photo).mean() < 60


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    listed = run(capsys, "--help")
    for verb in ("config", "prepare", "train", "sample", "restore", "evaluate", "figure", "store", "fetch"):
        assert verb in listed
        assert "Usage" in run(capsys, verb, "--help")
