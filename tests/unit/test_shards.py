"""Parquet files and tar shards: what is read of them, and that nothing is dropped in silence."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import prepare, shards
from bridgepipe.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


IMAGES = [png(p) for p in PIXELS]
CLASS = {"_type": "ClassLabel", "names": ["cat", "dog"]}
HUB = {"image": {"_type": "Image"}, "label": CLASS}


def table(file: Path, columns: Mapping[str, Any], features: Mapping[str, Any] | None = None) -> Path:
    """A parquet file as the library `datasets` writes it, three rows a group."""
    made = pyarrow.table(columns)
    if features is not None:
        made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(made, file, row_group_size=3)
    return file


def rows(some: slice = slice(None), **more: Any) -> dict[str, Any]:
    images = [{"bytes": b, "path": None} for b in IMAGES[some]]
    return {"image": images, "label": [k % 2 for k in range(10)][some], **more}


def prepared(source: str, path: Path, out: Path, **more: Any) -> dict[str, ImageStore]:
    prepare(source, out, path=path, size=8, progress=False, **more)
    return {file.stem: ImageStore(file) for file in out.glob("*.lmdb")}


def contents(stores: Mapping[str, ImageStore]) -> set[tuple[bytes, str]]:
    """Every image with its class."""
    found = []
    for store in stores.values():
        assert store.labels is not None
        assert store.classes
        found += [(store[i].tobytes(), store.classes[store.labels[i]]) for i in range(len(store))]
    assert len(found) == len(set(found))
    return set(found)


EVERY = {(p.tobytes(), ["cat", "dog"][k % 2]) for k, p in enumerate(PIXELS)}


def test_parquet_of_the_hub(tmp_path: Path) -> None:
    """Its splits, its classes by name, columns of numbers; images are read by row group in any order."""
    features = {"image": {"_type": "Image"}, "label": CLASS}
    age = {"age": [20.5 + k for k in range(7)], "text": ["words"] * 7}
    table(tmp_path / "in/data/train-00000-of-00001.parquet", rows(slice(7), **age), features)
    test = {"age": [1.0, 2.0, 3.0], "text": ["words"] * 3}
    table(tmp_path / "in/data/test-00000-of-00001.parquet", rows(slice(7, 10), **test), features)
    stores = prepared("hf", tmp_path / "in", tmp_path / "out")
    assert {split: len(s) for split, s in stores.items()} == {"train": 6, "val": 1, "test": 3}
    assert contents(stores) == EVERY
    assert stores["test"].array("age").tolist() == [1, 2, 3]
    assert stores["test"].card["attributes"] == ["age"]
    whole = prepared("hf", table(tmp_path / "one.parquet", rows(), features), tmp_path / "one")
    assert contents(whole) == EVERY
    assert {split: len(s) for split, s in whole.items()} == {"train": 7, "val": 1, "test": 2}


def test_parquet_of_others(tmp_path: Path) -> None:
    """A column of bytes, and a column of classes that is named."""
    file = table(tmp_path / "a.parquet", {"img": IMAGES, "kind": ["cat", "dog"] * 5, "k": list(range(10))})
    assert contents(prepared("hf", file, tmp_path / "out", label="kind")) == EVERY


@pytest.mark.parametrize(
    ("columns", "features", "more", "expected"),
    [
        (rows(other=IMAGES), None, {}, "several columns of images: image, other"),
        ({"x": [1]}, None, {}, "no column of images"),
        (rows(), None, {"label": "lable"}, "no column 'lable'"),
        (rows(coarse=[0] * 10), {**HUB, "coarse": CLASS}, {}, "columns of labels: label, coarse"),
        (rows() | {"label": [0] * 9 + [None]}, None, {"label": "label"}, "no class of 1 image: a/00000009"),
        (rows() | {"label": [0] * 9 + [-1]}, HUB, {}, "class -1 of a/00000009"),
        (rows() | {"image": [{"bytes": b} for b in [*IMAGES[:9], b""]]}, None, {}, r"a/00000009 \(no bytes"),
        (rows(age=[1] * 9 + [None]), None, {}, r"no value of age for 1 image: a/00000009 \(None\)"),
    ],
)  # fmt: skip
def test_rows_of_parquet_that_do_not_fit_are_named(
    tmp_path: Path, columns: dict, features: dict | None, more: dict, expected: str
) -> None:
    file = table(tmp_path / "a.parquet", columns, features)
    with pytest.raises(UserError, match=expected):
        prepared("hf", file, tmp_path / "out", **more)
    assert not list(tmp_path.glob("out/*.lmdb"))


def test_files_of_unknown_splits_are_named(tmp_path: Path) -> None:
    """`datasets` drops a third folder in silence."""
    for name in ("train-0.parquet", "extra/0.parquet"):
        table(tmp_path / "in" / name, rows())
    with pytest.raises(UserError, match=r"of no known split: 1 file: extra/0.parquet"):
        prepared("hf", tmp_path / "in", tmp_path / "out")
    table(tmp_path / "c/test-0.parquet", rows())
    with pytest.raises(UserError, match="test there, but no train"):
        prepared("hf", tmp_path / "c", tmp_path / "out")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="cannot be read as parquet"):
        prepared("hf", tmp_path / "d.parquet", tmp_path / "out")


def touched(folder: Path, files: list[str]) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("imagenet1k-train-0000.tar imagenet1k-validation-00.tar", ["train", "val"]),
        ("mnist_train.tar mnist_test.tar", ["train", "test"]),
        ("a/my.Training.set.tar a/my.dev.set.tar", ["train", "val"]),
        ("faces_train/0.tar faces_eval/0.tar", ["train", "test"]),
        ("cifarTrain.tar cifarTest.tar", ["train", "test"]),
        ("train0.tar MNISTTrain/1.tar held_out.tar", ["train", "train", "test"]),
        ("trainer-0.tar latest-1.tar valley.tar", [None, None, None]),
    ],
)
def test_a_word_of_a_name_is_the_split(tmp_path: Path, names: str, splits: list[str | None]) -> None:
    """Wherever it stands, as on the hub: else a model would be trained on images of the test split."""
    files = names.split()
    assert shards._files(touched(tmp_path, files), ".tar") == dict(zip(files, splits, strict=True))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("x/train/mnist_test.tar x/train/0.tar", "of several splits by name: 1 file: x/train/mnist_test.tar"),
        ("train_val.tar train.tar", "of several splits by name: 1 file: train_val.tar"),
        ("mnist_train.tar mnist_0.tar", "of no known split: 1 file: mnist_0.tar"),
        ("my_test_4.tar", "test there, but no train"),
    ],
)
def test_names_of_no_one_split_are_refused(tmp_path: Path, names: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        shards._files(touched(tmp_path, names.split()), ".tar")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = table(tmp_path / "a.parquet", rows())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UserError, match=r"needs the package pyarrow .*: install it: pip install 'bridgepipe\[hf\]'"
    ):
        prepared("hf", file, tmp_path / "out")


def shard(file: Path, members: Mapping[str, bytes]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as out:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            out.addfile(about, io.BytesIO(data))
    return file


def sample(k: int) -> dict[str, bytes]:
    told = json.dumps({"age": 20 + k, "caption": "words"}).encode()
    return {f"{k:04d}.png": IMAGES[k], f"{k:04d}.cls": str(k % 2).encode(), f"{k:04d}.json": told}


def test_tar_shards(tmp_path: Path) -> None:
    """Two shards of train and one of test; members of a key need not lie side by side."""
    first = {name: data for k in range(4) for name, data in sample(k).items()}
    shard(tmp_path / "in/train-000.tar", dict(sorted(first.items(), key=lambda m: m[0][::-1])))
    shard(tmp_path / "in/train-001.tar", {n: d for k in range(4, 7) for n, d in sample(k).items()})
    shard(tmp_path / "in/test-000.tar", {n: d for k in range(7, 10) for n, d in sample(k).items()})
    stores = prepared("webdataset", tmp_path / "in", tmp_path / "out")
    found = {(pixels, {"0": "cat", "1": "dog"}[kind]) for pixels, kind in contents(stores)}
    assert found == EVERY
    assert {split: len(s) for split, s in stores.items()} == {"train": 6, "val": 1, "test": 3}
    assert stores["test"].array("age").tolist() == [27, 28, 29]
    named = {f"{k}.left.png": IMAGES[k] for k in range(10)} | {f"{k}.right.png": IMAGES[0] for k in range(10)}
    stores = prepared("webdataset", shard(tmp_path / "b.tar", named), tmp_path / "b", image="left.png")
    assert {s[i].tobytes() for s in stores.values() for i in range(len(s))} == {p.tobytes() for p in PIXELS}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"a.b.png": IMAGES[0], "a.c.png": IMAGES[1]}, r"several images in 1 sample: a \(b.png, c.png\)"),
        ({"a.png": IMAGES[0], "b.cls": b"1"}, r"no image in 1 sample: b \(cls\)"),
        ({**sample(0), "x.png": IMAGES[1], "x.json": b'{"age": 1}'}, "no class of 1 image: a/x"),
        ({**sample(0), "x.png": IMAGES[1], "x.cls": b"1"}, r"no value of age for 1 image: a/x \(None\)"),
        ({"../a.png": IMAGES[0]}, "lies outside"),
        ({}, "it has no members"),
    ],
)
def test_members_that_do_not_fit_are_named(tmp_path: Path, members: dict[str, bytes], expected: str) -> None:
    file = shard(tmp_path / "a.tar", members)
    with pytest.raises(UserError, match=expected):
        prepared("webdataset", file, tmp_path / "out")


def test_shards_that_are_cut_or_packed_are_named(tmp_path: Path) -> None:
    file = shard(tmp_path / "in/a.tar", sample(0))
    file.write_bytes(file.read_bytes()[:700])
    with pytest.raises(UserError, match="no whole tar file"):
        prepared("webdataset", tmp_path / "in", tmp_path / "out")
    (tmp_path / "in/b.tar.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"compressed: 1 file: b.tar.gz"):
        prepared("webdataset", tmp_path / "in", tmp_path / "out")
