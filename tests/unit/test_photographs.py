"""Photographs from package to restored patch: the experiments of params.yaml, a few steps long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from bridgepipe import artifacts, cli, config
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
