"""Every row of docs/coming-from.md about translating and editing says what an experiment here does."""

from __future__ import annotations

import io
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import run
from PIL import Image
from sklearn.svm import SVC

from bridgepipe import artifacts, datasets
from bridgepipe.config import Resolved, read_yaml, yaml_reader
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import images
from bridgepipe.names import origins
from bridgepipe.names.timesteps import truncated
from tests.unit import test_shards as shards
from tests.unit import test_sharing as sharing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/coming-from.md").read_text()
SECTION = PAGE.partition("## Translating and editing\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (.*) \| `(.*)` \|$", SECTION.replace("| there | here |", ""), flags=re.MULTILINE)
# targets are made by tests/workflow/test_point_pipeline.py
EXPERIMENTS = [row for row in ROWS if not row[1].startswith(("bridgepipe ", "snakemake "))]

DATASETS = [ours for _, ours in EXPERIMENTS if ours.startswith("datasets:")]
SHARDS = [ours for ours in DATASETS if "source: hf" in ours or "source: webdataset" in ours]


def test_every_row_is_run() -> None:
    rows = [line for line in SECTION.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(ROWS) == len([row for row in rows if row != "| there | here |"]) >= 6


def resolved(row: str, folder: Path) -> Resolved:
    """The experiments of a row at the scale of the papers."""
    (folder / "row.yaml").write_text(row)
    values = read_yaml(ROOT / "params.yaml") | {"scale": "paper"}
    for method, own in yaml_reader.read(folder / "row.yaml").values.items():
        values["experiments"][method] |= {name: {"scales": ["paper"], **how} for name, how in own.items()}
    return Resolved(values)


def test_pairs_of_the_page_are_those_of_the_published_command(tmp_path: Path) -> None:
    theirs, ours = next(row for row in EXPERIMENTS if "--source" in row[0])
    sources, targets = (
        [int(n) for n in re.search(rf"--{end} ([0-9,]+)", theirs)[1].split(",")]
        for end in ("source", "target")
    )
    made = resolved(ours, tmp_path)
    (pairs,) = made.groups.values()
    found = [(made.experiments[name].source, made.experiments[name].target) for name in pairs]
    assert found == [*zip(sources, targets, strict=True)]
    how = made.stages(pairs[0])["sample"]["sample"]
    published = {
        "solver": "ddim",
        "grid": "ddib",
        "guidance": "classifier",
        "variant": "published",
        "eta": 0.0,
    }
    assert published.items() <= how.items()


def prepared(row: str, **other: Any) -> dict[str, Any]:
    """The settings of the row's dataset, which lies in made/."""
    Path("row.yaml").write_text(row)
    ((name, how),) = yaml_reader.read(Path("row.yaml")).values["datasets"].items()
    how |= other
    values = read_yaml(ROOT / "params.yaml")
    settings = Resolved({**values, "datasets": {**values["datasets"], name: how}}).params.datasets[name]
    datasets.SOURCES[how["source"]](Path("made"), **settings.model_dump(exclude={"source"}), progress=False)
    return how


@pytest.mark.parametrize("row", [ours for ours in DATASETS if "source: imagenet" in ours])
def test_a_dataset_of_the_page_is_prepared_from_files_of_the_published_names(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = {39905: "n01440764", 1: "n01751748"}  # published images and their classes
    files = {}
    for number in numbers:
        picture, file = np.full((256, 256, 3), number % 251, np.uint8), io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG")
        files[f"ILSVRC2012_val_{number:08d}.JPEG"] = file.getvalue()
    Path("their/val").mkdir(parents=True)
    for name, content in files.items():
        Path("their/val", name).write_bytes(content)
    Path("list.txt").write_text("/fast2/data/imagenet/val/n01751748/ILSVRC2012_val_00000001.JPEG\n")
    how = prepared(row)
    store = ImageStore(tmp_path / "made/val.lmdb")
    assert store.image_size == (256, 256)
    wanted = {1: numbers[1]} if "subset" in how else numbers
    assert {name.partition("/")[0] for name in store.names or []} == {*wanted.values()}
    kept = [store.encoded(i) for i in range(len(store))]
    assert ({*kept} == {*files.values()}) == (how.get("codec") == "source")


def of_faces(row: str) -> bool:
    return "source: imagenet" not in row and row not in SHARDS


@pytest.mark.parametrize("row", [*filter(of_faces, DATASETS)])
def test_faces_of_the_page_are_prepared_from_files_of_the_published_names(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for k in range(15):
        file = Path(f"their/raw_images/{'test' if k < 5 else 'train'}/images/{k}.jpg")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), k, np.uint8)).save(file)
    rows = [f"{k}.jpg  {1 - k % 2 * 2} -1" for k in range(15)]
    Path("their/CelebAMask-HQ-attribute-anno.txt").write_text("\n".join(["15", "Smiling Young", *rows]))
    prepared(row, size=8)
    assert {*Path("made").iterdir()} == {Path(f"made/{split}.lmdb") for split in ("train", "val", "test")}
    store = ImageStore(tmp_path / "made/test.lmdb")
    assert [Path(name).name for name in store.names or []] == [f"{k}.jpg" for k in range(5)]
    assert store.array("Smiling").tolist() == [1, 0, 1, 0, 1]
    assert store.classes is None


@pytest.mark.parametrize("row", SHARDS)
def test_shards_of_the_page_are_prepared(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a hub lie where they are fetched to, as tests/unit/test_hub.py does."""
    monkeypatch.chdir(tmp_path)
    if "webdataset" in row:
        for k in range(2):
            members = {name: data for i in range(5) for name, data in shards.sample(5 * k + i).items()}
            shards.shard(Path(f"their/shards/train-00{k}.tar"), members)
    else:
        folder = origins.dataset_at("hf:datasets/me/faces") if "hf:" in row else Path("their/parquet")
        for split in ("train", "test"):
            shards.table(folder / f"data/{split}-0.parquet", shards.rows(), shards.HUB)
    prepared(row, size=8)
    store = ImageStore(tmp_path / "made/train.lmdb")
    assert store.classes == (["0", "1"] if "webdataset" in row else ["cat", "dog"])
    assert len(store) >= 7


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two oblong photographs, a class-conditional model, and boundaries of the published layouts."""
    monkeypatch.chdir(tmp_path)
    sharing.trained(sharing.KINDS["adm with classes"])
    Path("photos").mkdir()
    for k, size in enumerate(((24, 16), (16, 40))):
        pixels = np.random.default_rng(k).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{k}.png")
    artifacts.save_tensors("results/model/ffhq/model.safetensors", {"w": torch.zeros(1)}, {})
    Path("their").mkdir()
    latents = np.random.default_rng(0).standard_normal((20, 12))
    fitted = SVC(kernel="linear").fit(latents, np.arange(20) % 2)
    Path("their/smile_h.sav").write_bytes(pickle.dumps(fitted))
    np.save("their/smile_z.npy", fitted.coef_)


def commands(verb: str) -> list[str]:
    return [ours.removeprefix("bridgepipe ") for _, ours in ROWS if ours.startswith(f"bridgepipe {verb} ")]


@pytest.mark.usefixtures("photographs")
def test_folders_of_the_page_are_translated() -> None:
    def translated(command: str) -> list[np.ndarray]:
        run(*command.split(), "--threads", 1)
        made = [images.read_photo(Path("out", f"{k}.png")) for k in range(2)]
        shutil.rmtree("out")
        return made

    stretching, cutting = commands("translate")
    stretched, cut = translated(stretching), translated(cutting)
    assert not any(map(np.array_equal, stretched, cut))
    for file in Path("photos").iterdir():
        Image.fromarray(images.fit(images.decode(file), 16, "stretch")).save(file)
    assert all(map(np.array_equal, stretched, translated(cutting)))


@pytest.mark.usefixtures("photographs")
def test_boundaries_of_the_page_come_in_and_go_out() -> None:
    for words in (*commands("boundary import"), *commands("boundary export")):
        run(*words.split())
    coef = np.load("their/smile_z.npy").ravel()
    with np.load("smile_h.npz") as arrays:
        assert set(arrays.files) == {"coef", "intercept"}
        np.testing.assert_allclose(arrays["coef"].ravel(), coef, rtol=1e-6)
    np.testing.assert_allclose(np.load("smile_z.npy").ravel(), coef, rtol=1e-6)


def test_edits_of_samples_are_those_of_the_published_command(tmp_path: Path) -> None:
    theirs, ours = next(row for row in EXPERIMENTS if "--unconditional" in row[0])
    edited = resolved(ours, tmp_path).experiment("boundary/mine")
    how, said = edited.edit, dict(re.findall(r"--(\w+) (\d+)", theirs))
    assert (edited.t, how.count) == (int(said["t_0"]), int(said["n_inv_step"]))
    assert (how.source, how.variant, how.eta, how.relative, how.raw_h) == (
        "samples",
        "published",
        1,
        False,
        True,
    )
    assert len({*truncated(999, how.generate)}) == 999
    assert 998 not in truncated(999, how.generate)
