"""What lies in a person's folder: splits by any name, links, unreadable places, other files."""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import socket
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_datasets import fill, picture, prepare, put, refusal

from bridgepipe.config import contents
from bridgepipe.config.data import Folder
from bridgepipe.corruptions.inpaint import MaskFile
from bridgepipe.data.listing import walk
from bridgepipe.datasets import celebahq, cifar10
from bridgepipe.datasets.images import DECODERS, SUFFIXES, decode
from bridgepipe.errors import UserError


def counts(out: Path, root: Path, **arguments) -> dict[str, int]:
    return {split: len(s) for split, s in prepare("folder", out, path=root, size=8, **arguments).items()}


# Splits


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("Train", "Val", "Test"),
        ("TRAINING", "validation", "testing"),
        ("training_set", "dev", "test_set"),
        ("train2017", "val2017", "test2017"),
        ("trainset", "dev-set", "eval"),
        ("train_images", "validate", "Held-Out"),
        ("entrenamiento", "validación", "prueba"),
        ("conjunto_de_entrenamiento", "conjunto_de_validacion", "conjunto_de_pruebas"),
        ("Entraînement", "validation", "jeu_de_test"),
        ("Trainingsdaten", "Validierungsdaten", "Testdaten"),
        ("treino", "validação", "teste"),
    ],
)
def test_splits_by_their_other_names(tmp_path, train, val, test):
    for folder, n in ((train, 10), (val, 4), (test, 6)):
        fill(tmp_path / "in" / folder, n, 2)
    stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert {split: len(s) for split, s in stores.items()} == {"train": 10, "val": 4, "test": 6}
    assert all(s.classes == ["class0", "class1"] for s in stores.values())


@pytest.mark.parametrize("held_out", ["valid", "Testing"])
def test_a_split_that_is_not_given_comes_from_the_training_pictures_alone(tmp_path, held_out):
    fill(tmp_path / "in/Training", 20, 2)
    fill(tmp_path / "in" / held_out, 4, 2)
    stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    given, cut = ("val", "test") if held_out == "valid" else ("test", "val")
    assert len(stores[given]) == 4
    assert len(stores["train"]) + len(stores[cut]) == 20
    assert not set(stores["train"].names or []) & set(stores[cut].names or [])


def test_training_pictures_alone_are_divided(tmp_path):
    fill(tmp_path / "in/train", 20, 2)
    assert counts(tmp_path / "out", tmp_path / "in") == {"train": 14, "val": 2, "test": 4}
    assert prepare("folder", tmp_path / "again", path=tmp_path / "in", size=8)["val"].classes == [
        "class0",
        "class1",
    ]


@pytest.mark.parametrize(
    "classes",
    [
        ("bus", "car", "train"),
        ("valid", "invalid"),
        ("dev", "prod"),
        ("a", "b", "c"),
        ("train_station", "test_tube"),
        ("hepatitis_a", "hepatitis_b"),
        ("clean", "noisy", "silent"),
        ("before", "behind"),
        ("x", "y", "z"),
        ("gallery", "museum"),
    ],
)
def test_classes_may_bear_the_name_of_a_split(tmp_path, classes):
    for name in classes:
        fill(tmp_path / "in" / name, 10)
    assert prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)["train"].classes == sorted(
        classes
    )


@pytest.mark.parametrize("around", ["images/{}/{}", "{}/images/{}", "raw_images/{}/Images/{}"])
def test_a_folder_of_all_images_is_no_class(tmp_path, around):
    for split in ("train", "val", "test"):
        for kind in ("cat", "dog"):
            fill(tmp_path / "in" / around.format(split, kind), 3)
    stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert {split: len(s) for split, s in stores.items()} == {"train": 6, "val": 6, "test": 6}
    assert all(s.classes == ["cat", "dog"] for s in stores.values())
    fill(tmp_path / "flat/images", 10)
    assert prepare("folder", tmp_path / "none", path=tmp_path / "flat", size=8)["train"].classes is None


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("trainA", "trainB", "testA", "testB"), "two sides"),
        (("A", "B"), "two sides"),
        (("domain_a", "domain_b"), "two sides"),
        (("train/A", "train/B", "test/A", "test/B"), "two sides"),
        (("input", "target"), "two sides"),
        (("images", "masks"), "two sides"),
        (("train/cat", "valid/cat", "cat"), "beside the splits there is cat"),
        (("train/cat", "cat", "dog"), "train is a split, but beside it there is cat"),
        (("val/cat", "test/cat"), "no train"),
        (("test/cat",), "no train"),
        (("Train/cat", "train/cat", "test/cat"), "two folders of one split"),
        (("train/cat", "val/cat", "validation/cat"), "two folders of one split"),
        (("cat/train", "cat/test", "dog/train", "dog/test"), "the splits test, train lie inside cat"),
        (("mine/train/cat", "mine/valid/cat"), "lie inside mine"),
        (("train/cat", "val/cat", "val/owl"), "no pictures to train on of 1 class: owl"),
        (("train/cat", "train/Cat", "val/cat"), "differ by case only"),
        (("mine/train/cat", "mine/train/dog"), "the splits train lie inside mine"),
        (("photos/cat", "photos/dog"), "the only folder is photos, which holds 2 folders"),
        (("train/x/cat", "train/x/dog", "val/x/cat", "val/x/dog"), "only folder is x"),
        (("x_train/cat", "x_test/cat"), "x_train and x_test look like splits"),
        (("cats_train", "cats_test"), "look like splits"),
        (("my-Train/cat", "my-Val/cat"), "look like splits"),
        (("80_train/cat", "20_test/cat"), "look like splits"),
        (("imagesTr", "imagesTs", "labelsTr"), "imagesTr and imagesTs look like splits"),
        (("train.zip/cat", "test.zip/cat"), "look like splits"),
        (("real_A", "real_B"), "two sides"),
        (("before", "after"), "two sides"),
        (("images_before", "images_after"), "two sides"),
        (("clean", "noisy"), "two sides"),
        (("Noisy-Images", "Clean-Images"), "two sides"),
        (("X", "Y"), "two sides"),
        (("trainX", "trainY", "testX", "testY"), "two sides"),
        (("low_res", "high_res"), "two sides"),
        (("avant", "après"), "two sides"),
        (("train", "query", "gallery"), "query|gallery beside it is no class"),
        (("bounding_box_train", "bounding_box_test", "query"), "look like splits"),
        (("train/cat", "unlabeled"), "unlabeled beside it is no class"),
        (("fotos_entrenamiento", "fotos_prueba"), "look like splits"),
    ],
)
def test_layouts_that_may_mean_two_things(tmp_path, folders, expected):
    for folder in folders:
        fill(tmp_path / "in" / folder, 6)
    assert re.search(expected, refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8))


@pytest.mark.parametrize("folder", ["dog", "val"])
@pytest.mark.parametrize("content", [None, "a.heic", "notes.txt"])
def test_a_class_or_split_without_pictures_stops(tmp_path, folder, content):
    if folder == "val":
        fill(tmp_path / "in/train", 10)
    else:
        fill(tmp_path / "in", 10, 2)
    (tmp_path / "in" / folder).mkdir()
    if content:
        put(tmp_path / "in" / folder / content, b"something")
    text = refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert "no pictures in" in text
    assert folder in text


def test_pairs_know_the_names_of_splits_and_two_sides(tmp_path):
    for side in "AB":
        for folder, n in (("Training", 8), ("valid", 3), ("eval", 2)):
            fill(tmp_path / "in" / side / folder, n)
    stores = prepare("pairs", tmp_path / "out", path=tmp_path / "in", size=8)
    assert {k: len(s) for k, s in stores.items() if "-" not in k} == {"train": 8, "val": 3, "test": 2}
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/A").symlink_to(tmp_path / "in/A")
    (tmp_path / "linked/B").symlink_to(tmp_path / "in/A")
    assert "A and B are one folder" in refusal("pairs", tmp_path / "x", path=tmp_path / "linked", size=8)
    fill(tmp_path / "unpaired/trainA", 4)
    assert "A/ and targets into B/" in refusal("pairs", tmp_path / "x", path=tmp_path / "unpaired", size=8)


def faces(root: Path, *folders: str) -> Path:
    """Four faces in every folder, numbered in turn; those of even numbers smile."""
    n = 4 * len(folders)
    for k in range(n):
        put(root / folders[k // 4] / f"{k}.jpg", picture(k))
    lines = [f"{n + 2}", "Smiling Young", *(f"{k}.jpg {1 - k % 2 * 2} -1" for k in range(n + 2))]
    put(root / celebahq.ANNOTATION, "\n".join(lines).encode())
    return root


PUBLISHED_SPLITS = [f"raw_images/{split}/images" for split in ("train", "val", "test")]


@pytest.mark.parametrize(
    "folders", [PUBLISHED_SPLITS, ["train", "val", "test"], ["Images/training", "Images/test"]]
)
@pytest.mark.parametrize("source", ["celebahq", "folder"])
def test_faces_with_splits_and_the_published_attributes(tmp_path, caplog, folders, source):
    root = faces(tmp_path / "in", *folders)
    table = {"attributes": root / celebahq.ANNOTATION} if source == "folder" else {}
    fractions = {"train": 0.5, "val": 0.25, "test": 0.25}
    stores = prepare(source, tmp_path / "out", path=root, size=8, fractions=fractions, **table)
    numbers = {split: [int(Path(name).stem) for name in s.names or []] for split, s in stores.items()}
    found = {split: sorted(of_split) for split, of_split in numbers.items()}
    if len(folders) == 3:
        assert found == {"train": [0, 1, 2, 3], "val": [4, 5, 6, 7], "test": [8, 9, 10, 11]}
    else:
        assert found["test"] == [4, 5, 6, 7]
        assert sorted(found["train"] + found["val"]) == [0, 1, 2, 3]
    for split, s in stores.items():
        assert s.classes is None
        assert s.array("Smiling").tolist() == [1 - k % 2 for k in numbers[split]]
        assert s.array("Young").tolist() == [0] * len(s)
    assert ("no image for 2 rows" in caplog.text) == (source == "folder")


@pytest.mark.parametrize("wrong", ["raw_images/5.jpg", "5.jpg", "raw_images/more/5.jpg"])
def test_faces_beside_their_splits_are_refused(tmp_path, wrong):
    root = faces(tmp_path / "in", "raw_images/train", "raw_images/test")
    (root / "raw_images/test/5.jpg").rename(put(root / wrong, b""))
    assert re.search("beside the splits.* there is", refusal("celebahq", tmp_path / "out", path=root, size=8))


def test_columns_of_the_published_attributes_are_known_beforehand(tmp_path):
    root = faces(tmp_path / "in", *PUBLISHED_SPLITS)
    settings = Folder(source="folder", path=str(root), attributes=str(root / celebahq.ANNOTATION))
    assert contents.columns_of(settings) == ("Smiling", "Young")
    assert contents.folders_of(settings) == {"train", "val", "test"}


def test_afhq_twice_below_one_path_is_refused(tmp_path):
    for version in ("afhq", "afhq_v2"):
        for split in ("train", "test"):
            for animal in ("cat", "dog", "wild"):
                put(tmp_path / "in" / version / split / animal / "1.png", picture())
    text = refusal("afhq", tmp_path / "out", path=tmp_path / "in", size=8)
    assert "splits in more than one folder: afhq, afhq_v2" in text


# Links, permissions, kinds of files


def test_links_to_folders_never_multiply_pictures(tmp_path):
    fill(tmp_path / "in", 24, 2)
    (tmp_path / "in/class0/up").symlink_to("..")
    (tmp_path / "in/self").symlink_to(".")
    (tmp_path / "in/class1/parent").symlink_to(tmp_path)
    (tmp_path / "in/alias").symlink_to("class0")
    stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert sum(map(len, stores.values())) == 24
    assert stores["train"].classes == ["class0", "class1"]


def test_links_to_files_and_hard_links_count_once(tmp_path, caplog):
    fill(tmp_path / "in", 20)
    (tmp_path / "in/linked.png").symlink_to("000.png")
    os.link(tmp_path / "in/001.png", tmp_path / "in/zz.png")
    with caplog.at_level(logging.WARNING):
        stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    names = sorted(name for s in stores.values() for name in s.names or [])
    assert names == [f"{i:03d}.png" for i in range(20)]
    assert "2 links: linked.png, zz.png" in caplog.text


def test_links_to_other_disks_are_followed(tmp_path):
    fill(tmp_path / "else/cats", 10)
    (tmp_path / "else/cats/back").symlink_to("..")
    put(tmp_path / "else/stray.png")
    fill(tmp_path / "in/dog", 10)
    (tmp_path / "in/cat").symlink_to(tmp_path / "else/cats")
    stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert sum(map(len, stores.values())) == 20
    assert stores["test"].classes == ["cat", "dog"]


def test_no_picture_is_in_two_splits_by_a_link(tmp_path):
    fill(tmp_path / "in/train", 10)
    (tmp_path / "in/val").symlink_to("train")
    assert "no pictures in the split val" in refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8)


@pytest.mark.parametrize("target", ["nowhere.png", "a.png"])
def test_dangling_links_are_bad_images(tmp_path, target):
    fill(tmp_path / "in", 20)
    (tmp_path / "in/a.png").symlink_to(target)
    text = refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert "cannot use 1 image: a.png (a link that leads nowhere)" in text
    assert sum(counts(tmp_path / "out", tmp_path / "in", skip_bad=True).values()) == 20


def test_an_unreadable_folder_stops(tmp_path, monkeypatch):
    """As root no permission is missing, so the system's answer is put in its place."""
    fill(tmp_path / "in", 24, 3)
    scandir = os.scandir

    def refused(path):
        if Path(path).name == "class1":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    text = refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert f"cannot be read: Permission denied ({tmp_path / 'in/class1'})" in text


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_an_unreadable_file_stops_even_where_bad_images_are_skipped(tmp_path, monkeypatch, skip_bad, code):
    fill(tmp_path / "in", 20)
    read = Path.read_bytes

    def refused(path):
        if path.name == "007.png":
            raise OSError(code, os.strerror(code), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    text = refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8, skip_bad=skip_bad)
    assert f"007.png cannot be read: {os.strerror(code)}" in text


def test_pipes_and_sockets_are_never_opened(tmp_path, caplog):
    fill(tmp_path / "in", 20)
    os.mkfifo(tmp_path / "in/pipe.png")
    (tmp_path / "in/linked.png").symlink_to("pipe.png")
    (tmp_path / "in/null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening, caplog.at_level(logging.WARNING):
        listening.bind(os.path.relpath(tmp_path / "in/socket.png"))
        assert sum(counts(tmp_path / "out", tmp_path / "in").values()) == 20
    assert "4 named pipe, socket or device" in caplog.text


def test_what_is_passed_over_is_named_and_in_the_card(tmp_path, caplog):
    fill(tmp_path / "in", 20)
    for i in range(15):
        put(tmp_path / f"in/{i}.HEIC", b"heic")
    for name in ("a.pdf", "b.h5", "c.eps", "d.psd", "e.mpg", "no_suffix", "notes.txt"):
        put(tmp_path / "in" / name, b"something")
    for name in ("Thumbs.db", ".DS_Store", "._001.png", "__MACOSX/001.png", "@eaDir/001.png"):
        put(tmp_path / "in" / name, b"litter")
    with caplog.at_level(logging.WARNING):
        stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert sum(map(len, stores.values())) == 20
    others = {".eps": 1, ".h5": 1, ".heic": 15, ".mpg": 1, ".pdf": 1, ".psd": 1, "no suffix": 1}
    assert stores["train"].card["made_by"]["passed_over"] == others
    assert "15 .heic" in caplog.text
    assert "1 .txt" in caplog.text


def test_only_pictures_of_another_kind(tmp_path):
    for i in range(3):
        put(tmp_path / f"in/{i}.heic", b"heic")
    assert "no images, only 3 .heic" in refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8)


SAVED_AS = {".mpo": "MPO", ".pbm": "PPM", ".pgm": "PPM", ".apng": "PNG"}


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_decoded(tmp_path, suffix):
    form = next(form for form, suffixes in DECODERS.items() if suffix in suffixes)
    image = Image.new("RGB", (16, 12), (200, 40, 10))
    file = tmp_path / f"a{suffix.upper()}"
    image.save(file, format=SAVED_AS.get(suffix, form))
    assert np.abs(np.asarray(decode(file)).astype(int) - [200, 40, 10]).max() <= 30


def test_a_document_under_the_name_of_a_picture_is_not_opened(tmp_path):
    file = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(file, format="EPS")
    with pytest.raises(OSError, match="cannot identify"):
        decode(file)


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"line\nbreak.png", b" space .png", "画.png".encode()])
def test_names_of_any_bytes(tmp_path, name):
    fill(tmp_path / "in", 20)
    os.rename(tmp_path / "in/000.png", os.fsencode(tmp_path / "in") + b"/" + name)
    stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert os.fsdecode(name) in [n for s in stores.values() for n in s.names or []]


def test_walk_tells_everything_once(tmp_path):
    put(tmp_path / "b/x.png")
    put(tmp_path / "a/y.txt", b"y")
    (tmp_path / "a/empty").mkdir()
    (tmp_path / "c").symlink_to("b")
    (tmp_path / "gone").symlink_to("nowhere")
    tree = walk(tmp_path)
    assert list(tree.files) == ["a/y.txt", "b/x.png"]
    assert tree.folders == ["a", "a/empty", "b"]
    assert (tree.dangling, tree.repeated, tree.special) == (["gone"], ["c"], [])


# Archives


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([("../train/cat/1.png", b"")], "outside the archive"),
        ([("/train/cat/1.png", b"")], "outside the archive"),
        ([("train\\..\\..\\1.png", b"")], "outside the archive"),
        ([("C:/train/cat/1.png", b"")], "outside the archive"),
        ([(link("train/cat/1.png"), b"/etc/hostname")], "a link or a device"),
        ([("train/cat/1.png", b"a"), ("train/cat/1.png", b"b")], "comes twice"),
    ],
)
def test_zip_archives_with_unsafe_members(tmp_path, members, expected):
    archive = zipped(tmp_path / "a.zip", *members)
    assert expected in refusal("afhq", tmp_path / "out", path=archive, size=8)


def test_a_member_beyond_all_measure_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("bridgepipe.datasets.files.MEMBER_BYTES", 1000)
    archive = zipped(tmp_path / "a.zip", ("train/cat/1.png", bytes(1001)))
    assert "a member of 1001 bytes" in refusal("afhq", tmp_path / "out", path=archive, size=8)


def tarred(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, target
    return info


BATCH = f"{cifar10.FOLDER}/data_batch_1"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([member(BATCH, tarfile.SYMTYPE, target="/etc/hostname")], "is no plain file"),
        ([member(BATCH, tarfile.SYMTYPE, target="nowhere")], "is no plain file"),
        ([member(BATCH, tarfile.LNKTYPE, target="nowhere")], "is no plain file"),
        ([member(BATCH, tarfile.FIFOTYPE)], "is no plain file"),
        ([member(BATCH), member(BATCH)], "comes twice"),
        ([member(f"../{BATCH}")], "outside the archive"),
        ([member(f"/{BATCH}")], "outside the archive"),
        ([member(BATCH, size=5000)], "unpacks to more than 4096 bytes"),
        ([member("padding", size=20_000)], "unpacks to more than 4096 bytes"),
    ],
)
def test_cifar_archives_with_unsafe_members(tmp_path, monkeypatch, members, expected):
    monkeypatch.setattr(cifar10, "UNPACKED_BYTES", 4096 if "4096" in expected else 1 << 20)
    archive = tarred(tmp_path / "a.tar.gz", *members)
    assert expected in refusal("cifar10", tmp_path / "out", path=archive)


def npy(shape: tuple[int, ...]) -> bytes:
    """A header that claims a shape, and no data."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


KEY = "10-20% freeform.npy"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([(KEY, npy((10**6,)))], "unreadable mask file"),
        ([(KEY, npy((10**15,)))], "unreadable mask file"),
        ([(KEY, npy((10**30,)))], "unreadable mask file"),
        ([(KEY, b"no array")], "unreadable mask file"),
        ([("other.npy", npy((0,)))], "no masks named"),
        ([(KEY, bytes(3000))], "has 3000 bytes, more than 2000"),
        (b"no archive", "unreadable mask file"),
        (b"", "unreadable mask file"),
        (b"\x93NUMPY\x01\x00", "unreadable mask file"),
        (None, "unreadable mask file"),
    ],
)
def test_mask_files_that_claim_too_much_or_are_something_else(tmp_path, monkeypatch, content, expected):
    monkeypatch.setattr("bridgepipe.corruptions.inpaint.MOST_BYTES", 2000)
    path = tmp_path / "masks.npz"
    if content is None:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        zipped(path, *content)
    with pytest.raises(UserError) as error:
        len(MaskFile(path, "freeform1020"))
    text = str(error.value)
    assert expected in text
    assert "\n" not in text
    assert "delete" not in text
