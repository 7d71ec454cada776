"""Photographs from package to restored patch: the experiments of params.yaml, a few steps long."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from bridgepipe import artifacts, cli, config
from bridgepipe.config.i2sb import RestorationTraining
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data.store import ImageStore

ROOT = Path(__file__).parents[2]


def verb(*words: object) -> None:
    done = CliRunner().invoke(cli.app, ["stage", *(str(word) for word in words)])
    assert done.exit_code == 0, (done.output, done.exception)


def test_files_of_photographs_are_prepared_trained_and_restored(tmp_path: Path) -> None:
    files: dict[str, Any] = config.load(ROOT / "params.yaml").stage_files()
    train, sample = (files[f"results/i2sb/photos/config/{stage}.json"] for stage in ("train", "sample"))
    train["train"] |= {"steps": 2, "batch_size": 2}
    train["network"] |= {"channel_mult": [1, 1], "num_res_blocks": 1}
    sample["sample"] |= {"count": 12}
    settings = {
        "prepare": {"source": "sample-photos", "patches": {"size": 64, "stride": 128}},
        "train": train,
        "sample": sample,
        "runtime": {"device": "cpu", "threads": 1, "precision": "fp32", "batch_size": 12},
    }
    for name, values in settings.items():
        artifacts.write_json(tmp_path / f"{name}.json", values)
    verb("prepare", "--config", tmp_path / "prepare.json", "--output", tmp_path)
    folder = {"runtime": "runtime.json", "folder": "train", "csv": "train.csv"}
    made = {"config": "train.json", "data": "train.lmdb", "output": "model.safetensors", **folder}
    verb("train", *(word for key, file in made.items() for word in (f"--{key}", tmp_path / file)))
    for images, size in (("whole", 12), ("small", 5)):  # what an image becomes does not depend on its batch
        artifacts.write_json(tmp_path / "runtime.json", settings["runtime"] | {"batch_size": size})
        made = {"config": "sample.json", "train-config": "train.json", "model": "model.safetensors"}
        made |= {"data": "test.lmdb", "runtime": "runtime.json"}
        made |= {"restored": f"{images}.lmdb", "corrupted": f"{images}-corrupted.lmdb"}
        verb("sample", *(word for key, file in made.items() for word in (f"--{key}", tmp_path / file)))
    seen, restored = (ImageStore(tmp_path / f"whole{which}.lmdb") for which in ("-corrupted", ""))
    again = ImageStore(tmp_path / "small-corrupted.lmdb")
    assert len(restored) == 12
    assert all(np.array_equal(seen[i], again[i]) for i in range(12))
    truth = ImageStore(tmp_path / "test.lmdb")
    errors = [np.abs(seen[i].astype(int) - truth[int(k)]).mean() for i, k in enumerate(seen.array("item"))]
    assert 1 < min(errors) < max(errors) < 40  # a quality of 40 and one of 5
    assert truth.card["made_by"]["licences"]["train"]["astronaut"] == "public domain"
    licences = artifacts.load_card(tmp_path / "model.safetensors")["licences"]
    assert len(licences) == 10
    assert set(licences.values()) == {"public domain", "CC0-1.0"}


def test_networks_are_compared_on_jpeg_files_of_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `make demo` shows: an untrained network leaves every pixel, the shipped one gains."""
    from bridgepipe.evaluation import photographs as evaluation
    from bridgepipe.methods import i2sb
    from bridgepipe.photographs.samples import Photograph, photographs

    monkeypatch.setattr(evaluation, "QUALITIES", (10,))
    monkeypatch.setattr("bridgepipe.stages.photographs.SIDE", 64)
    for photo in photographs():  # small squares of the photographs, as PNG
        if photo.split == "test":
            Image.fromarray(np.asarray(Image.open(io.BytesIO(photo.read())))[150:246, 250:362]).save(
                tmp_path / f"{photo.name}.png"
            )
    monkeypatch.setattr(Photograph, "read", lambda photo: (tmp_path / f"{photo.name}.png").read_bytes())
    files: dict[str, Any] = config.load(ROOT / "params.yaml").stage_files()
    for stage in ("train", "sample"):
        artifacts.write_json(
            tmp_path / f"{stage}.json", files[f"results/i2sb/photos-quick/config/{stage}.json"]
        )
    training = read_stage(tmp_path / "train.json", RestorationTraining)
    weights = i2sb.network((64, 64), False, 0, kind="residual", **training.network.arguments).state_dict()
    artifacts.save_tensors(tmp_path / "model.safetensors", weights, {"config": training.as_json()})
    places = {"config": "sample.json", "train-config": "train.json", "model": "model.safetensors"}
    places |= {"csv": "p.csv", "markdown": "p.md", "figure": "p.png"}
    verb(
        "evaluate", "photographs", *(w for key, file in places.items() for w in (f"--{key}", tmp_path / file))
    )
    table = pd.read_csv(tmp_path / "p.csv")
    assert list(table["photograph"]) == ["china", "flower", "motorcycle", "mean of 3"]
    assert list(table["quality"]) == [10] * 4
    assert np.array_equal(table["PSNR, trained"], table["PSNR, JPEG"])
    assert np.array_equal(table["SSIM, trained"], table["SSIM, JPEG"])
    assert (table["PSNR, shipped"] > table["PSNR, JPEG"] + 0.3).all()
    assert table["PSNR, shipped"][3] == pytest.approx(table["PSNR, shipped"][:3].mean())
    with Image.open(tmp_path / "china.png") as china:
        clean = np.asarray(china)
    error = np.square(clean.astype(float) - evaluation.as_jpeg(clean, 10)).mean()
    assert table["PSNR, JPEG"][0] == pytest.approx(10 * np.log10(255**2 / error))
    notes = (tmp_path / "p.md").read_text()
    assert "china (CC-BY-2.0, danielbuechele)" in notes
    assert "253,740 weights" in notes
    with Image.open(tmp_path / "p.png") as shown:  # two rows: of the third no licence is stated
        assert shown.width > 4 * 176
        assert 2 * 176 < shown.height < 3 * 176 + 100
