"""Weights from a hub, and to it: pinned, resumed, checked; a hub on the loopback interface answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from in_process import run
from started import PATIENCE

from bridgepipe.downloads import fetch, hub, records, transfer
from bridgepipe.errors import UserError
from bridgepipe.networks import layouts
from tests.unit import test_weights as weights
from tests.unit.hub_server import COMMIT, Hub, serving

NAME = "somebody/ddpm"
FILES = {
    "README.md": b"---\nlicence: mit\n---\n",
    "config.json": json.dumps({"_class_name": "UNet2DModel"}).encode(),
    "scheduler_config.json": b"{}",
    "diffusion_pytorch_model.safetensors": bytes(range(256)) * 1000,
    "diffusion_pytorch_model.bin": b"a pickle",
    "images/sample.png": b"picture",
    "train.py": b"raise SystemExit",
}
WANTED = {"README.md", "config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # which a hub of one's own rarely has
    with serving() as found:
        monkeypatch.setenv(hub.ENDPOINT, found.url)
        found.repositories[NAME] = dict(FILES)
        yield found


def fetched(tmp_path: Path, name: str = f"hf:{NAME}") -> Path:
    return fetch.fetch(name, tmp_path / "data", progress=False)


def refused(tmp_path: Path, name: str = f"hf:{NAME}") -> str:
    with pytest.raises(UserError) as e:
        fetched(tmp_path, name)
    return str(e.value)


def test_settings_and_weights_come_and_nothing_else(server: Hub, tmp_path: Path) -> None:
    place = fetched(tmp_path)
    assert place == tmp_path / "data/hub/somebody/ddpm"
    assert {f.name for f in place.iterdir()} == WANTED
    assert all((place / name).read_bytes() == FILES[name] for name in WANTED)
    assert all(COMMIT in line for line in server.asked if "/resolve/" in line)  # one commit, whatever main is
    before = len(server.asked)
    assert fetched(tmp_path) == place
    assert len(server.asked) == before  # what is in place needs no hub


def test_a_name_of_sources_is_a_repository(server: Hub, tmp_path: Path) -> None:
    server.repositories["google/ddpm-cifar10-32"] = dict(FILES)
    assert fetched(tmp_path, "google/ddpm-cifar10-32") == tmp_path / "data/hub/google/ddpm-cifar10-32"


SHARDS = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
INDEX = "diffusion_pytorch_model.safetensors.index.json"
IN_SHARDS = {
    "model_index.json": b"{}",
    "unet/config.json": FILES["config.json"],
    "scheduler/scheduler_config.json": b"{}",
    f"unet/{INDEX}": json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}).encode(),
    **{f"unet/{name}": name.encode() for name in SHARDS},
}
HALF = {f"unet/{name.replace('.safetensors', '.fp16.safetensors')}": b"half" for name in SHARDS}
HALF["unet/diffusion_pytorch_model.safetensors.index.fp16.json"] = b"{}"


def files_of(place: Path) -> set[str]:
    return {f.relative_to(place).as_posix() for f in place.rglob("*") if f.is_file()}


def test_shards_come_in_full_precision_where_there_is_one(server: Hub, tmp_path: Path) -> None:
    server.repositories[NAME] = {**IN_SHARDS, **HALF, "unet/diffusion_pytorch_model.bin": b"a pickle"}
    place = fetched(tmp_path)
    assert files_of(place) == set(IN_SHARDS)
    (place / "unet" / SHARDS[1]).unlink()
    assert files_of(fetched(tmp_path)) == set(IN_SHARDS)  # what went comes back


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["diffusion_pytorch_model.fp16.safetensors"], 1),
        (["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"], 2),
        (["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.non_ema.safetensors"], 0),
    ],
)
def test_of_variants_alone_none_is_left_out(
    server: Hub, tmp_path: Path, files: list[str], taken: int
) -> None:
    """``taken`` is the number of the file that is taken; 0: all are."""
    server.repositories[NAME] = {"config.json": FILES["config.json"], **dict.fromkeys(files, b"weights")}
    assert files_of(fetched(tmp_path)) == {"config.json", *(files[taken - 1 : taken] if taken else files)}


def test_a_repository_that_lacks_a_shard_is_refused_by_its_name(server: Hub, tmp_path: Path) -> None:
    server.repositories[NAME] = {k: v for k, v in IN_SHARDS.items() if not k.endswith(SHARDS[1])}
    assert f"unet/{SHARDS[1]} missing" in refused(tmp_path)


def test_what_broke_off_goes_on_where_it_was(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.breaks["diffusion_pytorch_model.safetensors"] = 100_000
    assert "broke off after 0.1 of 0.3 MB" in refused(tmp_path)
    assert not (tmp_path / "data/hub/somebody/ddpm").exists()  # half of a folder has no name
    sent = server.asked.count(f"GET /{NAME}/resolve/{COMMIT}/config.json")
    place = fetched(tmp_path)
    assert (place / "diffusion_pytorch_model.safetensors").stat().st_size == 256_000
    assert server.asked.count(f"GET /{NAME}/resolve/{COMMIT}/config.json") == sent


def test_a_file_that_is_listed_as_empty_comes_empty(server: Hub, tmp_path: Path) -> None:
    server.repositories[NAME] = {**FILES, "README.md": b"", "LICENSE": b""}
    place = fetch.fetch(f"hf:{NAME}", tmp_path / "data", progress=True)
    sizes = {name: len(server.repositories[NAME][name]) for name in (*WANTED, "LICENSE")}
    assert {f.name: f.stat().st_size for f in place.iterdir()} == sizes
    assert set(json.loads(records.place_of(place).read_text())["sha256"]) == {*sizes}
    before = len(server.asked)
    assert fetched(tmp_path) == place
    assert len(server.asked) == before
    (place / "LICENSE").unlink()
    assert (fetched(tmp_path) / "LICENSE").read_bytes() == b""


def test_a_broken_transfer_goes_on_beside_empty_files(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file that broke off is empty in the next commit."""
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.repositories[NAME] = {"LICENSE": b"", **FILES}
    server.breaks["README.md"] = 5
    assert "broke off" in refused(tmp_path)
    server.repositories[NAME]["README.md"] = b""
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    place = fetched(tmp_path)
    assert {f.name for f in place.iterdir()} == {*WANTED, "LICENSE"}
    assert not any((place / name).stat().st_size for name in ("LICENSE", "README.md"))
    assert len([line for line in server.asked if line.endswith("/LICENSE")]) == 1


def test_an_empty_answer_for_a_file_with_content_is_refused(server: Hub, tmp_path: Path) -> None:
    server.repositories[NAME]["config.json"] = b""
    server.lists["config.json"] = {"size": 2}
    assert "the file there is empty" in refused(tmp_path)
    server.lists["config.json"] = {"size": 0, "blobId": "0" * 40}
    assert "its git digest is e69de29" in refused(tmp_path)


@pytest.mark.parametrize(
    ("file", "lists", "told"),
    [
        (
            "diffusion_pytorch_model.safetensors",
            {"lfs": {"sha256": "0" * 64, "size": 256000}},
            "its sha256 is",
        ),
        ("config.json", {"blobId": "0" * 40}, "its git digest is"),
        ("config.json", {"size": 7}, "the hub lists 7"),
    ],
)
def test_another_content_than_listed_is_refused(
    server: Hub, tmp_path: Path, file: str, lists: dict[str, object], told: str
) -> None:
    server.lists[file] = lists if "lfs" not in lists else {"lfs": {**lists["lfs"], "pointerSize": 1}}  # type: ignore[dict-item]
    line = refused(tmp_path)
    assert told in line
    assert file in line


def test_what_is_missing_is_told(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such repository" in refused(tmp_path, "hf:somebody/else")
    assert "no such revision" in refused(tmp_path, f"hf:{NAME}@v9")
    assert "no repository of a hub" in refused(tmp_path, "hf:somebody")
    server.repositories[NAME] = {"model.py": b"", "images/model.safetensors": b""}
    assert "no weights in it, only images/model.safetensors, model.py" in refused(tmp_path)
    server.token = "secret"
    assert "private and no valid token" in refused(tmp_path)
    monkeypatch.setenv(hub.ENDPOINT, "http://127.0.0.1:9")
    assert "out of reach" in refused(tmp_path)


TABLES = {"README.md": b"faces", "data/train-0.parquet": b"PAR1", "data/test-0.parquet": b"PAR1"}
FACES = "hf:datasets/me/faces"


def test_a_dataset_is_its_parquet_files(server: Hub, tmp_path: Path) -> None:
    server.repositories["datasets/me/faces"] = {**TABLES, "faces.py": b"raise SystemExit"}
    place = fetched(tmp_path, FACES)
    assert place == tmp_path / "data/hub/datasets/me/faces"
    assert files_of(place) == set(TABLES)
    (place / "data/test-0.parquet").unlink()
    assert files_of(fetched(tmp_path, FACES)) == set(TABLES)
    assert "no such repository" in refused(tmp_path, "hf:me/faces")  # which would be a network


def test_of_a_dataset_in_other_files_the_tables_that_the_hub_makes_are_taken(
    server: Hub, tmp_path: Path
) -> None:
    server.repositories["datasets/me/faces"] = {"images.zip": b"PK"}
    assert "no .parquet files in it, only images.zip" in refused(tmp_path, FACES)
    made = {"default/train/0000.parquet": b"PAR1", "default/test/0000.parquet": b"PAR1"}
    server.repositories["datasets/me/faces@refs/convert/parquet"] = made
    assert files_of(fetched(tmp_path, FACES)) == set(made)


def test_configurations_of_a_dataset_are_not_joined(server: Hub, tmp_path: Path) -> None:
    server.repositories["datasets/me/faces"] = {f"{c}/train/0.parquet": b"PAR1" for c in ("big", "small")}
    assert "several configurations in it, of which one has to be taken: big, small" in refused(
        tmp_path, FACES
    )
    server.repositories["datasets/me/faces"] = {f"{c}/0.parquet": b"PAR1" for c in ("train", "test")}
    assert len(files_of(fetched(tmp_path, FACES))) == 2


def by_hand(tmp_path: Path, files: dict[str, bytes]) -> Path:
    place = tmp_path / "data/hub/somebody/ddpm"
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


@pytest.mark.parametrize("half", ["config.json", "diffusion_pytorch_model.safetensors", "model_index.json"])
def test_half_of_a_folder_is_completed(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: str
) -> None:
    files = server.repositories[NAME] = {**FILES, "model_index.json": b"{}"}
    place = by_hand(tmp_path, {half: files[half]})
    with monkeypatch.context() as without:
        without.setenv(hub.ENDPOINT, "http://127.0.0.1:9")
        line = refused(tmp_path)
    lacks = "config.json" if half.startswith("diffusion") else "weights"
    assert f"{lacks}: hf:" in line.replace("; ", ": ")
    assert "its folder lacks" in line
    assert "out of reach" in line
    assert not records.place_of(place).exists()
    assert fetched(tmp_path) == place
    assert {f.name for f in place.iterdir()} == {*WANTED, "model_index.json"}
    assert layouts.diffusers_config(place) == place / "config.json"  # Google's pipelines are flat


def test_a_file_that_went_and_a_record_of_half_a_folder_are_mended(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fetched(tmp_path)
    (place / "scheduler_config.json").unlink()
    with monkeypatch.context() as without:
        without.setenv(hub.ENDPOINT, "http://127.0.0.1:9")
        assert "its folder lacks scheduler_config.json; hf:" in refused(tmp_path)
    assert (fetched(tmp_path) / "scheduler_config.json").is_file()
    record = records.place_of(place)
    content = json.loads(record.read_text())
    content["sha256"] = {"config.json": content["sha256"]["config.json"]}
    record.write_text(json.dumps(content))
    (place / "diffusion_pytorch_model.safetensors").unlink()
    fetched(tmp_path)
    assert set(json.loads(record.read_text())["sha256"]) == WANTED


@pytest.mark.parametrize(
    "files",
    [
        ["model.safetensors"],
        ["latest.pt"],
        ["config.json", "diffusion_pytorch_model.bin"],
        [
            "model_index.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.bin",
            "scheduler/scheduler_config.json",
        ],
        ["model_index.json", "config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"],
    ],
)
def test_a_complete_folder_of_ones_own_needs_no_hub(server: Hub, tmp_path: Path, files: list[str]) -> None:
    place = by_hand(tmp_path, dict.fromkeys(files, b"mine"))
    assert fetched(tmp_path) == place
    assert not server.asked


def test_half_of_a_mirror_is_not_taken(server: Hub, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror/hub/somebody/ddpm"
    mirror.mkdir(parents=True)
    (mirror / "config.json").write_bytes(FILES["config.json"])
    place = fetch.fetch(f"hf:{NAME}", tmp_path / "data", mirrors=[str(tmp_path / "mirror")], progress=False)
    assert {f.name for f in place.iterdir()} == WANTED


@pytest.mark.filterwarnings("ignore:Use 'content")  # the library's own call of its client
def test_a_push_that_was_killed_goes_on(server: Hub, tmp_path: Path) -> None:
    folder = weights.in_shards(tmp_path / "mine", weights.drawn(3))
    (folder / "README.md").write_text("mine")
    server.room = 1
    command = [sys.executable, "-m", "bridgepipe", "push", str(folder), "me/mine"]
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as killed:
        try:
            assert server.held.wait(PATIENCE)
        finally:
            killed.kill()
            server.leave.set()
    assert server.repositories["me/mine"] == {}  # a commit is whole or not there
    (there,) = server.sent
    server.room, before = 1000, len(server.asked)
    run("push", folder, "me/mine")
    sent = [line for line in server.asked[before:] if line.startswith("PUT")]
    assert len(sent) == 1
    assert there not in sent[0]
    files = {f.name: f.read_bytes() for f in folder.iterdir()}
    assert server.repositories["me/mine"] == files


@pytest.mark.filterwarnings("ignore:Use 'content")  # the library's own call of its client
def test_a_folder_is_pushed_once(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in WANTED:
        (folder / name).write_bytes(FILES[name])
    (folder / ".lock").write_text("")
    server.token = "secret"
    with pytest.raises(UserError, match="HF_TOKEN"):
        hub.upload(folder, "me/mine", private=False)
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert hub.upload(folder, "me/mine", private=False).endswith(COMMIT)
    assert server.repositories["me/mine"] == {name: FILES[name] for name in WANTED}
    place = fetched(tmp_path, "hf:me/mine")
    assert {f.name: f.read_bytes() for f in place.iterdir()} == server.repositories["me/mine"]
    uploads = [line for line in server.asked if line.startswith("PUT")]
    hub.upload(folder, "me/mine", private=False)
    assert [line for line in server.asked if line.startswith("PUT")] == uploads
