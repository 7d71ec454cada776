"""A dataset of a hub from its name to a store: fetched once, by the workflow, from a hub on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import Project

from bridgepipe.data.store import ImageStore
from tests.unit import hub_server
from tests.unit.test_shards import HUB, rows, table

STORE = "data/prepared/faces/train.lmdb"


def test_a_dataset_of_a_hub_is_fetched_and_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "project")
    faces = {"source": "hf", "path": "hf:datasets/me/faces", "size": 8}
    project.edit(lambda values: values["datasets"].update(faces=faces))
    splits = {name: table(tmp_path / f"{name}.parquet", rows(), HUB) for name in ("train", "test")}
    with hub_server.serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        files = {f"data/{name}-00000-of-00001.parquet": file.read_bytes() for name, file in splits.items()}
        hub.repositories["datasets/me/faces"] = files
        assert project.planned(STORE) == {"fetch_folder", "prepare"}
        project.snakemake("-c1", "--", STORE)
    assert len(ImageStore(project.folder / "data/prepared/faces/test.lmdb")) == 10
    assert project.planned(STORE) == set()
    (project.folder / "data/hub/datasets/me/faces/data/test-00000-of-00001.parquet").unlink()
    assert project.planned(STORE) != set()


def test_a_network_is_no_dataset(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    faces = {"source": "hf", "path": "hf:me/faces"}
    project.edit(lambda values: values["datasets"].update(faces=faces))
    done = project.snakemake("-n", "--", STORE, check=False)
    assert done.returncode
    assert "hf:me/faces is no dataset of a hub: write hf:datasets/OWNER/NAME" in done.stdout + done.stderr
