"""Published datasets, each from a tiny copy of the layout that its publisher ships."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from bridgepipe import datasets
from bridgepipe.config import contents, data
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import celebahq, cifar10
from bridgepipe.datasets.images import fit
from bridgepipe.downloads.fetch import fetch
from bridgepipe.downloads.sources import load_sources
from bridgepipe.errors import UserError


def picture(seed: int, side: int = 12) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def encoded(seed: int, kind: str = "png", side: int = 12) -> bytes:
    file = io.BytesIO()
    picture(seed, side).save(file, kind)
    return file.getvalue()


def fill(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def zipped(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def prepare(source: str, out: Path, **arguments: Any) -> dict[str, ImageStore]:
    """The stores, made with the settings that params.yaml would give."""
    dataset = TypeAdapter(data.Dataset).validate_python({"source": source, **arguments})
    settings = {k: v for k, v in dataset.model_dump(mode="json").items() if v is not None}
    datasets.prepare(out_dir=out, **settings, progress=False)
    assert {file.stem for file in out.iterdir()} == set(contents.stores_of(dataset))
    return {split: ImageStore(out / f"{split}.lmdb") for split in contents.splits_of(dataset)}


def refusal(source: str, out: Path, **arguments: Any) -> str:
    with pytest.raises(UserError) as error:
        datasets.prepare(source, out, progress=False, **arguments)
    assert not out.exists() or list(out.iterdir()) == []
    text = str(error.value)
    assert "\n" not in text
    return text


def same_bytes(one: Path, two: Path) -> bool:
    files = sorted(file.name for file in one.iterdir())
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in files)


# CIFAR-10


def py2(value: Any) -> bytes:
    """Opcodes by which Python 2 pickled a value at protocol 2."""
    if isinstance(value, Raw):
        return value.opcodes
    if isinstance(value, dict):
        return b"}(" + b"".join(py2(k) + py2(v) for k, v in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(py2, value)) + b"e"
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, np.ndarray):
        return py2_array(value)
    return b"J" + struct.pack("<i", value)


def py2_array(array: np.ndarray) -> bytes:
    kind = b"cnumpy\ndtype\n" + py2(array.dtype.str[1:].encode()) + py2(0) + py2(1) + b"\x87R"
    kind += b"(" + py2(3) + py2(b"|") + b"NNN" + py2(-1) + py2(-1) + py2(0) + b"tb"
    shape = b"(" + b"".join(map(py2, array.shape)) + b"t"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(" + py2(0) + b"t" + py2(b"b") + b"\x87R"
    by_column = array.flags.fnc
    content = py2(array.tobytes("F" if by_column else "C"))
    return empty + b"(" + py2(1) + shape + kind + (b"\x88" if by_column else b"\x89") + content + b"tb"


class Raw:
    """Opcodes that are put into a pickle as they are."""

    def __init__(self, opcodes: bytes) -> None:
        self.opcodes = opcodes


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + py2(value) + b"."


ANIMALS = [b"airplane", b"cat", b"dog"]


def batch(seed: int, n: int) -> dict[bytes, Any]:
    return {
        b"batch_label": b"batch",
        b"labels": [i % 3 for i in range(n)],
        b"data": np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8),
        b"filenames": [b"image_%d_%d.png" % (seed, i) for i in range(n)],
    }


def cifar(**changes: bytes | None) -> dict[str, bytes]:
    contents = {f"data_batch_{k}": pickled(batch(k, 4)) for k in range(1, 6)}
    contents["test_batch"] = pickled(batch(9, 5))
    contents["batches.meta"] = pickled({b"num_vis": 3072, b"label_names": ANIMALS})
    contents |= {"readme.html": b"<html>", "._data_batch_1": b"resource fork"}
    changed = {**contents, **changes}
    return {
        f"cifar-10-batches-py/{name}": content for name, content in changed.items() if content is not None
    }


def tarred(path: Path, contents: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_cifar10_has_the_published_splits_in_the_order_of_the_batches(tmp_path):
    stores = prepare("cifar10", tmp_path / "out", path=str(tarred(tmp_path / "c.tar.gz", cifar())))
    assert {split: len(store) for split, store in stores.items()} == {"train": 20, "test": 5}
    train = stores["train"]
    assert train.classes == ["airplane", "cat", "dog"]
    assert train.labels is not None
    assert train.labels.tolist() == [0, 1, 2, 0] * 5
    assert (train.names or [])[5] == "data_batch_2/image_2_1.png"
    for i in range(20):
        row = batch(i // 4 + 1, 4)[b"data"][i % 4]
        assert np.array_equal(train[i], np.stack(np.split(row, 3), -1).reshape(32, 32, 3))
    smaller = prepare("cifar10", tmp_path / "small", path=str(tmp_path / "c.tar.gz"), size=16)["test"]
    assert np.array_equal(smaller[3], fit(Image.fromarray(stores["test"][3]), 16))


def test_cifar10_is_the_same_from_archive_and_folders(tmp_path):
    archive = tarred(tmp_path / "c.tar.gz", cifar())
    fill(tmp_path / "copy", cifar())
    for number, path in enumerate([archive, tmp_path / "copy", tmp_path / "copy/cifar-10-batches-py"]):
        prepare("cifar10", tmp_path / f"out{number}", path=str(path))
    assert same_bytes(tmp_path / "out0", tmp_path / "out1")
    assert same_bytes(tmp_path / "out0", tmp_path / "out2")


def test_cifar10_in_either_order_of_the_array(tmp_path):
    by_column = {**batch(1, 4), b"data": np.asfortranarray(batch(1, 4)[b"data"])}
    assert pickled(by_column) != pickled(batch(1, 4))
    for name, changes in {"a": {}, "b": {"data_batch_1": pickled(by_column)}}.items():
        prepare("cifar10", tmp_path / f"out-{name}", path=str(fill(tmp_path / name, cifar(**changes))))
    assert same_bytes(tmp_path / "out-a", tmp_path / "out-b")


@pytest.mark.parametrize("order", [np.ascontiguousarray, np.asfortranarray])
def test_the_tiny_batches_are_pickles_that_numpy_reads(order):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy.core is the name of the time
        content = pickle.loads(
            pickled({**batch(1, 4), b"data": order(batch(1, 4)[b"data"])}), encoding="bytes"
        )
    assert np.array_equal(content[b"data"], batch(1, 4)[b"data"])
    assert content[b"labels"] == [0, 1, 2, 0]


@pytest.fixture
def served(tmp_path, monkeypatch) -> Iterator[str]:
    """Address of a web server for the folder ``tmp_path/web``."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("BRIDGEPIPE_MIRRORS", raising=False)
    (tmp_path / "web").mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


def test_cifar10_is_fetched_with_its_published_md5(tmp_path, served):
    whole = tarred(tmp_path / "web/cifar-10-python.tar.gz", cifar()).read_bytes()
    (tmp_path / "web/other.tar.gz").write_bytes(whole + b"\0")
    published = load_sources()["cifar10/archive"]
    assert published.md5 == "c58f30108f718f92721af3b95e74349a"
    urls = [f"{served}/other.tar.gz", f"{served}/cifar-10-python.tar.gz"]
    md5 = hashlib.md5(whole, usedforsecurity=False).hexdigest()
    tiny = {"cifar10/archive": replace(published, urls=urls, md5=md5, size=None, sha256=None)}
    archive = fetch("cifar10/archive", tmp_path / "data", sources=tiny, progress=False)
    assert str(archive.relative_to(tmp_path)) == data.Cifar10(source="cifar10").path == cifar10.ARCHIVE
    assert archive.with_name(archive.name + ".bad").exists()
    assert len(prepare("cifar10", tmp_path / "out", path=str(archive))["test"]) == 5
    with pytest.raises(UserError, match=r"its md5 is .*, published is c58f30108f718f92721af3b95e74349a"):
        again = {"cifar10/archive": replace(tiny["cifar10/archive"], md5=published.md5)}
        fetch("cifar10/archive", tmp_path / "data", sources=again, progress=False)


RUN = b"cposix\nsystem\n" + py2(b"touch run-by-pickle") + b"\x85R"
EVAL = b"c__builtin__\neval\n" + py2(b"open('run-by-pickle', 'w')") + b"\x85R"


@pytest.mark.parametrize(
    ("opcodes", "name"), [(RUN, "posix.system"), (EVAL, "__builtin__.eval")], ids=["system", "eval"]
)
@pytest.mark.parametrize("key", [None, b"data", b"labels"])
@pytest.mark.parametrize("member", ["data_batch_2", "batches.meta"])
def test_a_pickle_that_wants_to_run_something_is_refused(tmp_path, monkeypatch, opcodes, name, key, member):
    monkeypatch.chdir(tmp_path)
    evil = Raw(opcodes)
    content = pickled(evil if key is None else {**batch(2, 4), key: evil})
    archive = tarred(tmp_path / "c.tar.gz", cifar(**{member: content}))
    text = refusal("cifar10", tmp_path / "out", path=archive)
    assert f"not CIFAR-10's {member}: it asks for {name}" in text
    assert not Path("run-by-pickle").exists()


def test_a_pickle_cannot_change_the_reader(tmp_path):
    before = dict(vars(cifar10._Inert))
    build = Raw(b"cnumpy\nndarray\n(N" + py2({b"state": 1}) + b"tb")
    archive = tarred(tmp_path / "c.tar.gz", cifar(data_batch_1=pickled({**batch(1, 4), b"extra": build})))
    assert "not CIFAR-10's data_batch_1" in refusal("cifar10", tmp_path / "out", path=archive)
    assert dict(vars(cifar10._Inert)) == before


FLOATS = np.zeros((4, 3072), np.float32)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({b"data": batch(1, 3)[b"data"]}, "3 images, 4 labels, 4 names"),
        ({b"data": FLOATS}, "pixels are not uint8 rows of 3072"),
        ({b"data": np.zeros((4, 768), np.uint8)}, "pixels are not uint8 rows of 3072"),
        ({b"data": [1, 2]}, "has no attribute 'state'"),
        ({b"labels": [0, 1, 2, 3]}, "labels are not numbers below 3"),
        ({b"labels": [0, 1, 2, b"1"]}, "labels are not numbers below 3"),
    ],
)
def test_batches_of_something_else(tmp_path, change, complaint):
    root = fill(tmp_path / "in", cifar(data_batch_4=pickled({**batch(4, 4), **change})))
    text = refusal("cifar10", tmp_path / "out", path=root)
    assert "not CIFAR-10's data_batch_4: " in text
    assert complaint in text


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x02K\x01.", pickled(batch(1, 4))[:-2000]])
def test_damaged_batches(tmp_path, content):
    root = fill(tmp_path / "in", cifar(test_batch=content))
    assert "not CIFAR-10's test_batch: " in refusal("cifar10", tmp_path / "out", path=root)


def test_archives_that_cannot_be_used(tmp_path):
    out = tmp_path / "out"
    whole = tarred(tmp_path / "c.tar.gz", cifar()).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    bad = [whole[: len(whole) * k // 5] for k in range(5)]
    for content in [*bad, whole[:-6], bytes(flipped), b"text", gzip.compress(b"text" * 999)]:
        (tmp_path / "bad.tar.gz").write_bytes(content)
        assert "not a .tar.gz archive, or cut short" in refusal("cifar10", out, path=tmp_path / "bad.tar.gz")
    missing = refusal("cifar10", out, path=tmp_path / "nowhere.tar.gz")
    assert "no such archive or folder" in missing
    assert "bridgepipe fetch cifar10/archive" in missing
    tarred(tmp_path / "less.tar.gz", cifar(data_batch_3=None))
    assert "no data_batch_3 in it" in refusal("cifar10", out, path=tmp_path / "less.tar.gz")
    (tmp_path / "empty").mkdir()
    assert "no batches.meta in it" in refusal("cifar10", out, path=tmp_path / "empty")


# CelebA-HQ

NAMES = ["Smiling", "Eyeglasses", "Young"]


def annotation(n: int) -> str:
    rows = [f"{i}.jpg  {' '.join('1' if i >> k & 1 else '-1' for k in range(3))}" for i in range(n)]
    return "\n".join([str(n), " ".join(NAMES) + " ", *rows, ""])


def celeba(n: int = 12, text: str | None = None) -> dict[str, bytes]:
    images = {f"CelebAMask-HQ/CelebA-HQ-img/{i}.jpg": encoded(i, "jpeg", 20) for i in range(n)}
    return {
        **images,
        f"CelebAMask-HQ/{celebahq.ANNOTATION}": (annotation(n) if text is None else text).encode(),
        "CelebAMask-HQ/CelebA-HQ-to-CelebA-mapping.txt": b"idx orig_idx orig_file",
        "CelebAMask-HQ/CelebAMask-HQ-mask-anno/0/00000_hair.png": encoded(0),
        "__MACOSX/CelebAMask-HQ/CelebA-HQ-img/._0.jpg": b"resource fork",
    }


def test_celebahq_attributes_and_seeded_splits(tmp_path):
    archive = str(zipped(tmp_path / "c.zip", celeba(20)))
    stores = prepare("celebahq", tmp_path / "out", path=archive, size=16)
    assert {split: len(store) for split, store in stores.items()} == {"train": 14, "val": 2, "test": 4}
    for store in stores.values():
        assert sorted(store.attributes) == sorted(NAMES)
        for i, name in enumerate(store.names or []):
            number = int(name.removesuffix(".jpg"))
            assert [store.attributes[a][i] for a in NAMES] == [number >> k & 1 for k in range(3)]
            image = Image.open(io.BytesIO(encoded(number, "jpeg", 20)))
            assert np.array_equal(store[i], fit(image, 16))
    prepare("celebahq", tmp_path / "again", path=archive, size=16)
    other = prepare("celebahq", tmp_path / "other", path=archive, size=16, seed=1)
    assert same_bytes(tmp_path / "out", tmp_path / "again")
    assert other["test"].names != stores["test"].names


def test_celebahq_is_the_same_from_archive_and_folder(tmp_path):
    prepare("celebahq", tmp_path / "a", path=str(zipped(tmp_path / "c.zip", celeba())), size=16)
    prepare("celebahq", tmp_path / "b", path=str(fill(tmp_path / "c", celeba())), size=16)
    assert same_bytes(tmp_path / "a", tmp_path / "b")


def test_celebahq_images_of_other_names_belong_to_the_same_lines(tmp_path):
    images = {f"{i:05d}.png": encoded(i) for i in range(12)}
    fill(tmp_path / "c", images | {celebahq.ANNOTATION: annotation(40).encode()})
    val = prepare("celebahq", tmp_path / "a", path=str(tmp_path / "c"), size=12)["test"]
    numbers = [int(name.removesuffix(".png")) for name in val.names or []]
    assert val.attributes["Young"].tolist() == [number >> 2 & 1 for number in numbers]


ROWS = annotation(12).splitlines()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1 is not the number of images"),
        ("\n".join(ROWS[1:]), "line 1 is not the number of images"),
        ("\n".join([ROWS[0], "Young Young", *ROWS[2:]]), "columns of one name: Young, Young"),
        ("\n".join(ROWS[:-3]), "9 images, line 1 says 12"),
        ("\n".join([*ROWS[:5], "3.jpg 1 1", *ROWS[6:]]), "line 6 is not the name of an image and 3 values"),
        ("\n".join([*ROWS[:5], "3.jpg 1 1 0", *ROWS[6:]]), "line 6 is not the name of an image and 3 values"),
        (
            "\n".join([*ROWS[:5], "x.jpg 1 1 1", *ROWS[6:]]),
            "line 6 does not begin with the number of an image",
        ),
        (
            "\n".join([*ROWS[:5], "1.jpg 1 1 1", *ROWS[6:]]),
            "line 6 does not begin with the number of an image",
        ),
    ],
)
def test_wrong_annotations(tmp_path, text, complaint):
    refused = refusal("celebahq", tmp_path / "out", path=fill(tmp_path / "in", celeba(12, text)))
    assert f"not CelebA-HQ's attributes: {complaint}" in refused
    assert celebahq.ANNOTATION in refused


def test_celebahq_that_cannot_be_used(tmp_path):
    out, contents = tmp_path / "out", celeba()
    missing = refusal("celebahq", out, path=tmp_path / "nowhere")
    assert "no such folder or archive" in missing
    assert "bridgepipe fetch celebahq/archive" in missing
    whole = zipped(tmp_path / "c.zip", contents).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-900])
    assert "not a zip archive, or cut short" in refusal("celebahq", out, path=tmp_path / "cut.zip")
    texts = {name: content for name, content in contents.items() if "img" not in name}
    assert "no images" in refusal("celebahq", out, path=zipped(tmp_path / "texts.zip", texts))
    plain = {name: content for name, content in contents.items() if "anno.txt" not in name}
    assert "no annotation of attributes" in refusal("celebahq", out, path=fill(tmp_path / "plain", plain))
    lonely = zipped(tmp_path / "lonely.zip", contents | {"b/face.png": encoded(1), "b/99.png": encoded(1)})
    assert "no attributes for 2 images: " in refusal("celebahq", out, path=lonely)
    twice = zipped(tmp_path / "twice.zip", contents | {"b/0003.png": encoded(1)})
    assert "two images have one number" in refusal("celebahq", out, path=twice)


def test_bad_images_are_named_in_one_line_or_skipped(tmp_path):
    contents = celeba() | {"CelebAMask-HQ/CelebA-HQ-img/3.jpg": b"bad"}
    whole = zipped(tmp_path / "c.zip", contents).read_bytes()
    at = whole.index(encoded(5, "jpeg", 20)) + 200
    damaged = whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    (tmp_path / "d.zip").write_bytes(damaged)
    text = refusal("celebahq", tmp_path / "out", path=tmp_path / "d.zip", size=16)
    assert "cannot use 2 images" in text
    assert "3.jpg (not an image)" in text
    assert "5.jpg (Bad CRC-32" in text
    stores = prepare("celebahq", tmp_path / "o", path=str(tmp_path / "d.zip"), size=16, skip_bad=True)
    assert sum(map(len, stores.values())) == 10


# AFHQ

PARTS = {"train": 3, "val": 2}
DOMAINS = ["cat", "dog", "wild"]


def animals(held_out: str = "val", prefix: str = "afhq/") -> dict[str, bytes]:
    return {
        f"{prefix}{held_out if split == 'val' else split}/{domain}/{i}.png": encoded(100 * k + i)
        for split, n in PARTS.items()
        for k, domain in enumerate(DOMAINS)
        for i in range(n)
    }


def test_afhq_of_all_domains_and_of_one(tmp_path):
    archive = str(zipped(tmp_path / "a.zip", animals()))
    stores = prepare("afhq", tmp_path / "all", path=archive, size=12)
    assert {split: len(store) for split, store in stores.items()} == {"train": 9, "val": 6}
    assert stores["val"].classes == DOMAINS
    assert stores["val"].labels is not None
    assert stores["val"].labels.tolist() == [0, 0, 1, 1, 2, 2]
    dogs = prepare("afhq", tmp_path / "dogs", path=archive, size=12, domain="dog")["val"]
    assert dogs.labels is None
    assert dogs.classes is None
    assert dogs.names == ["dog/0.png", "dog/1.png"]
    assert np.array_equal(dogs[1], np.asarray(picture(101)))


def test_afhq_v2_and_folders(tmp_path):
    prepare("afhq", tmp_path / "a", path=str(fill(tmp_path / "one", animals())), size=12)
    prepare("afhq", tmp_path / "b", path=str(fill(tmp_path / "two", animals("test", ""))), size=12)
    assert same_bytes(tmp_path / "a", tmp_path / "b")


def test_afhq_that_cannot_be_used(tmp_path):
    out = tmp_path / "out"
    missing = refusal("afhq", out, path=tmp_path / "nowhere.zip")
    assert "no such folder or archive" in missing
    assert "bridgepipe fetch afhq/archive" in missing
    root = fill(tmp_path / "in", animals(prefix=""))
    fill(root, {"test/dog/a.png": encoded(0)})
    assert "both val and test beside train" in refusal("afhq", out, path=root)
    shutil.rmtree(root / "test")
    shutil.rmtree(root / "val/wild")
    assert "no images in val/wild" in refusal("afhq", out, path=root)
    shutil.rmtree(root / "val")
    assert "neither val nor test beside train" in refusal("afhq", out, path=root, domain="dog")


# LSUN


def scenes(root: Path, split: str, n: int, bad: int | None = None) -> Path:
    folder = root / f"church_outdoor_{split}_lmdb"
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=1 << 22) as env, env.begin(write=True) as txn:
        for i in range(n):
            image = Image.new("RGB", (30, 20), (10 * i, 200, 30))
            file = io.BytesIO()
            image.save(file, "webp" if i % 2 else "jpeg")
            txn.put(hashlib.sha1(b"%d" % i).hexdigest().encode(), b"bad" if i == bad else file.getvalue())
    (folder / "lock.mdb").unlink()
    return root


def by_key(n: int) -> list[str]:
    return sorted(hashlib.sha1(b"%d" % i).hexdigest() for i in range(n))


def test_lsun(tmp_path):
    root = scenes(scenes(tmp_path / "in", "train", 9), "val", 4)
    stores = prepare("lsun", tmp_path / "out", path=str(root), category="church_outdoor", size=16)
    assert stores["train"].names == by_key(9)
    assert stores["val"].names == by_key(4)
    for i, name in enumerate(by_key(9)):
        number = next(k for k in range(9) if hashlib.sha1(b"%d" % k).hexdigest() == name)
        assert np.abs(stores["train"][i].astype(int) - [10 * number, 200, 30]).max() <= 6
    few = prepare("lsun", tmp_path / "few", path=str(root), category="church_outdoor", size=16, limit=5)
    assert few["train"].names == by_key(9)[:5]
    assert few["val"].names == by_key(4)
    assert {file.name for file in root.rglob("*") if file.is_file()} == {"data.mdb"}


def test_lsun_that_cannot_be_used(tmp_path):
    out, root = tmp_path / "out", scenes(tmp_path / "in", "train", 4, bad=2)
    text = refusal("lsun", out, path=root, category="church_outdoor")
    assert "no such file" in text
    assert "get church_outdoor_val_lmdb.zip" in text
    scenes(root, "val", 4)
    key = hashlib.sha1(b"2").hexdigest()
    text = refusal("lsun", out, path=root, category="church_outdoor", size=16)
    assert f"cannot use 1 image: {key} (not an image)" in text
    arguments = {"path": str(root), "category": "church_outdoor", "size": 16, "skip_bad": True}
    assert len(prepare("lsun", tmp_path / "o", **arguments)["train"]) == 3
    data = root / "church_outdoor_val_lmdb/data.mdb"
    data.write_bytes(data.read_bytes()[:-4096])
    assert "truncated" in refusal("lsun", out, path=root, category="church_outdoor")


# params.yaml


def section(**values: Any) -> data.Strict:
    return TypeAdapter(data.Dataset).validate_python(values)


def test_what_every_source_is_made_from():
    church = section(source="lsun", path="data/raw/lsun", category="church_outdoor")
    assert contents.paths_of(church) == [
        "data/raw/lsun/church_outdoor_train_lmdb/data.mdb",
        "data/raw/lsun/church_outdoor_val_lmdb/data.mdb",
    ]
    published = {f"data/{source.path}" for source in load_sources().values()}
    for source in ("cifar10", "celebahq", "afhq"):
        assert set(contents.paths_of(section(source=source))) <= published
    assert contents.paths_of(section(source="colors", image="china")) == []
    assert contents.paths_of(section(source="colors", image="mine.jpg")) == ["mine.jpg"]
    assert contents.paths_of(section(source="points", domain="moons")) == []


def test_points_have_splits_and_no_stores():
    for dataset in (section(source="points", domain="moons"), section(source="colors", image="flower")):
        assert contents.is_points(dataset)
        assert contents.splits_of(dataset) == ("train", "test")
        assert contents.stores_of(dataset) == ()
    assert not contents.is_points(section(source="cifar10"))


def test_every_source_of_the_params_can_be_prepared():
    assert set(datasets.SOURCES) == set(data.SOURCES)


@pytest.mark.parametrize(
    "values", [{"source": "points", "domain": "moons", "count": 50}, {"source": "colors", "image": "china"}]
)
def test_points_are_prepared_from_their_section(tmp_path, values):
    settings = section(**values).model_dump(mode="json")
    datasets.prepare(out_dir=tmp_path, **{k: v for k, v in settings.items() if v is not None})
    assert {file.name for file in tmp_path.iterdir()} == {"train.safetensors", "test.safetensors"}


def test_two_folders_with_and_without_an_attribute_are_two_classes(tmp_path):
    for kind, first in (("with", 0), ("without", 50)):
        images = {f"{i}.png": encoded(first + i) for i in range(10)}
        fill(tmp_path / f"made/{kind}-a-hat", images)
        (tmp_path / "hats").mkdir(exist_ok=True)
        (tmp_path / "hats" / kind).symlink_to(tmp_path / f"made/{kind}-a-hat")
    stores = prepare("folder", tmp_path / "out", path=str(tmp_path / "hats"), size=12)
    assert {split: len(store) for split, store in stores.items()} == {"train": 14, "val": 2, "test": 4}
    for store in stores.values():
        assert store.classes == ["with", "without"]
        assert store.labels is not None
        assert 0 < store.labels.mean() < 1
        for i, name in enumerate(store.names or []):
            number = int(Path(name).stem) + 50 * int(store.labels[i])
            assert np.array_equal(store[i], np.asarray(picture(number)))
