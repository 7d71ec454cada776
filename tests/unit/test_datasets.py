"""Datasets: every kind of file, the published resize rules, splits, and one line for all that is bad."""

from __future__ import annotations

import io
import logging
import pickle
import random
import resource
import shutil
import sys
import types
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image
from vectors import assert_close, case

from bridgepipe import datasets
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import colors, digits, i2sb_lmdb, items, photos
from bridgepipe.datasets.images import decode, fit
from bridgepipe.datasets.items import Item, divide
from bridgepipe.datasets.patches import Patches, Picture, by_picture
from bridgepipe.errors import UserError
from bridgepipe.names import ilsvrc
from bridgepipe.photographs import samples

SPLITS = ("train", "val", "test")
PAIR_FILES = {f"{split}{suffix}.lmdb" for split in SPLITS for suffix in ("", "-source")}


def picture(seed: int = 0, width: int = 12, height: int = 10, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def put(path: Path, image: Image.Image | bytes | None = None, seed: int = 0, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        (image or picture(seed)).save(path, **options)
    return path


def prepare(source: str, out: Path, **arguments) -> dict[str, ImageStore]:
    datasets.prepare(source, out, progress=False, **arguments)
    return {file.stem: ImageStore(file) for file in sorted(out.iterdir())}


def refusal(source: str, out: Path, **arguments) -> str:
    with pytest.raises(UserError) as error:
        datasets.prepare(source, out, progress=False, **arguments)
    assert not out.exists() or list(out.iterdir()) == []
    text = str(error.value)
    assert "\n" not in text
    return text


# Resize rules


@pytest.mark.parametrize(
    ("key", "size", "crop", "seen"),
    [
        ("adm_center_crop_64", 64, "adm", 64),
        ("adm_center_crop_128", 128, "adm", 64),
        ("i2sb_resize_crop_64", 64, "torchvision", 64),
    ],
)
def test_published_preprocessing(key, size, crop, seen):
    reference = case("10_fid/preprocessing")
    image = Image.fromarray(reference.arrays["in.photo_u8"])
    assert_close(reference, key, fit(image, size, crop)[:seen, :seen])


@pytest.mark.parametrize("crop", ["adm", "torchvision", "stretch"])
@pytest.mark.parametrize("size", [1, 7, 8, 33, (5, 9), [40, 8]])
@pytest.mark.parametrize("source", [(1, 1), (3, 50), (61, 17), (64, 64), (100, 99)])
def test_any_size_from_any_size(crop, size, source):
    expected = (size, size, 3) if isinstance(size, int) else (*size, 3)
    assert fit(picture(0, *source), size, crop).shape == expected


def test_an_image_of_the_right_size_is_not_changed():
    image = picture(0, 9, 6)
    for crop in ("adm", "torchvision", "stretch"):
        assert np.array_equal(fit(image, (6, 9), crop), np.asarray(image))


# Every kind of file


def ramp(mode: str, top: int) -> np.ndarray:
    return np.linspace(0, top, 120).reshape(10, 12).astype(mode)


GREY = np.repeat(ramp("f8", 255).round()[..., None], 3, 2)


@pytest.mark.parametrize(
    ("name", "image", "expected", "tolerance"),
    [
        ("rgb.png", picture(), np.asarray(picture()), 0),
        ("grey.png", Image.fromarray(ramp("u1", 255)), np.repeat(ramp("u1", 255)[..., None], 3, 2), 0),
        ("grey16.png", Image.fromarray(ramp("u2", 65535)), GREY, 1),
        ("grey16.tif", Image.fromarray(ramp("u2", 65535)), GREY, 1),
        ("grey32.tif", Image.fromarray(ramp("i4", 65535)), GREY, 1),
        ("one.png", picture(mode="1"), np.asarray(picture(mode="1").convert("RGB")), 0),
        ("palette.png", picture(mode="P"), np.asarray(picture(mode="P").convert("RGB")), 0),
        ("palette.gif", picture(mode="P"), np.asarray(picture(mode="P").convert("RGB")), 0),
        ("cmyk.tif", picture(mode="CMYK"), np.asarray(picture(mode="CMYK").convert("RGB")), 0),
        ("cmyk.jpg", Image.new("CMYK", (12, 10), (0, 255, 255, 0)), np.full((10, 12, 3), [255, 0, 0]), 4),
        ("photo.JPEG", Image.new("RGB", (12, 10), (10, 200, 30)), np.full((10, 12, 3), [10, 200, 30]), 4),
        ("photo.webp", Image.new("RGB", (12, 10), (10, 200, 30)), np.full((10, 12, 3), [10, 200, 30]), 6),
        ("photo.bmp", picture(), np.asarray(picture()), 0),
    ],
)
def test_kinds_of_files(tmp_path, name, image, expected, tolerance):
    decoded = decode(put(tmp_path / name, image))
    assert decoded.mode == "RGB"
    assert np.abs(np.asarray(decoded).astype(int) - expected).max() <= tolerance


def test_transparency_is_laid_on_white(tmp_path):
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert np.asarray(decode(put(tmp_path / "half.png", half)))[0, 0].tolist() == [255, 127, 127]
    clear = Image.new("LA", (4, 4), (0, 0))
    assert np.asarray(decode(put(tmp_path / "clear.png", clear))).min() == 255
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9, 200, 200, 200])
    assert np.asarray(decode(put(tmp_path / "hole.png", palette, transparency=0))).min() == 255
    grey = Image.new("L", (4, 4), 7)
    assert np.asarray(decode(put(tmp_path / "grey.png", grey, transparency=7))).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path, orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that stores it like that
    upright = picture(0, 12, 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    decoded = decode(put(tmp_path / "a.png", stored, exif=exif))
    assert np.array_equal(np.asarray(decoded), np.asarray(upright))


def test_pixels_without_a_range_are_refused(tmp_path):
    for image in (Image.fromarray(ramp("f4", 1)), Image.fromarray(ramp("i4", 1 << 20))):
        with pytest.raises(ValueError, match="no defined range"):
            decode(put(tmp_path / "a.tif", image))


# Division


def numbered(n: int, classes: int | None) -> list[Item]:
    return [Item(f"{i}.png", tuple, None if classes is None else i % classes) for i in range(n)]


@pytest.mark.parametrize("classes", [None, 1, 3, 40])
def test_division_is_exact_stratified_and_disjoint(classes):
    source = numbered(200, classes)
    splits = divide(source, {"train": 0.7, "val": 0.1, "test": 0.2}, seed=1)
    assert {k: len(v) for k, v in splits.items()} == {"train": 140, "val": 20, "test": 40}
    names = [item.name for split in splits.values() for item in split]
    assert sorted(names) == sorted(item.name for item in source)
    for label in range(classes or 0):
        members = [item for item in splits["test"] if item.label == label]
        assert abs(len(members) - 40 / (classes or 1)) <= 1
    place = {item.name: i for i, item in enumerate(source)}
    assert all([place[i.name] for i in s] == sorted(place[i.name] for i in s) for s in splits.values())


def test_division_depends_on_seed_and_names_only():
    source = numbered(100, 4)
    shares = {"train": 0.8, "val": 0.2}
    shuffled = random.Random(0).sample(source, 100)
    one, two = divide(source, shares, 0), divide(shuffled, shares, 0)
    assert {i.name for i in one["val"]} == {i.name for i in two["val"]}
    assert one["val"] != divide(source, shares, 1)["val"]
    grown = {i.name for i in divide([*source, Item("new.png", tuple, 0)], shares, 0)["val"]}
    assert len(grown ^ {i.name for i in one["val"]}) <= 2


def test_a_share_of_zero_leaves_a_split_out():
    assert set(divide(numbered(9, None), {"train": 1.0, "val": 0, "test": 0}, 0)) == {"train"}
    assert len(divide(numbered(9, None), {"test": 1.0}, 0)["test"]) == 9
    with pytest.raises(UserError, match=r"0\.9 in sum"):
        divide(numbered(9, None), {"train": 0.8, "val": 0.1}, 0)


# Embedded sources


def test_digits(tmp_path):
    stores = prepare("digits", tmp_path / "a", size=32, seed=0)
    assert {k: len(s) for k, s in stores.items()} == {"train": 1258, "val": 180, "test": 359}
    test = stores["test"]
    assert test[0].shape == (32, 32, 3)
    assert test[0].max() == 255
    assert np.array_equal(test[0][..., 0], test[0][..., 2])
    assert test.labels is not None
    assert np.bincount(test.labels).min() >= 34
    assert test.classes == [str(i) for i in range(10)]
    assert sorted(test.attributes) == ["even", "has_loop", "ink", "slant"]
    assert np.array_equal(test.attributes["even"], test.labels % 2 == 0)
    assert set(test.labels[test.attributes["has_loop"] == 1]) == {0, 6, 8, 9}
    names = [name for s in stores.values() for name in s.names or []]
    assert sorted(names) == [f"{i:04d}" for i in range(1797)]
    again = prepare("digits", tmp_path / "b", size=32, seed=0)
    other = prepare("digits", tmp_path / "c", size=(16, 24), seed=1)
    assert (tmp_path / "a/val.lmdb").read_bytes() == (tmp_path / "b/val.lmdb").read_bytes()
    assert again["test"].digest == test.digest
    assert other["test"][0].shape == (16, 24, 3)
    assert other["test"].names != test.names


def test_what_is_read_from_the_package_is_what_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits, load_sample_image

    data, read = load_digits(), digits.digit_items((8, 8))
    (images,) = zip(*(item.load.args[:1] for item in read), strict=True)  # type: ignore[attr-defined]
    assert np.array_equal(images, data.images)
    assert [item.label for item in read] == data.target.tolist()
    for name in colors.EMBEDDED:
        assert np.array_equal(colors.load(name), load_sample_image(f"{name}.jpg"))


def test_slant_is_positive_when_a_digit_leans_to_the_right():
    upright, right = np.zeros((8, 8)), np.fliplr(np.eye(8))
    upright[:, 4] = 1
    assert digits.slant(upright) == pytest.approx(0)
    assert digits.slant(right) == pytest.approx(1)


@pytest.mark.parametrize("size", [32, 256])
def test_each_photograph_is_in_one_split(tmp_path, size):
    from sklearn.datasets import load_sample_image

    stores = prepare("sample-photos", tmp_path, patches={"size": size, "stride": 100, "scales": [1, 0.5]})
    used = {split: {name.split("-")[0] for name in s.names or []} for split, s in stores.items()}
    assert used["val"] == {"coffee"}
    assert used["test"] == {"china", "flower", "motorcycle"}
    assert len(used["train"]) == 10
    assert not used["train"] & (used["val"] | used["test"])
    photo, test = load_sample_image("china.jpg"), stores["test"]
    cut = (test.names or []).index("china-1-0100-0200")
    assert np.array_equal(test[cut], photo[100 : 100 + size, 200 : 200 + size])
    assert test.classes is not None
    assert test.classes[test.labels[cut]] == "buildings"


def test_classes_of_photographs_leave_the_others_out(tmp_path):
    classes = {"cool": ["rocket", "china"], "warm": ["chelsea", "coffee"]}
    how = {"size": 64, "stride": 64, "scales": [0.5]}
    stores = prepare("sample-photos", tmp_path, patches=how, classes=classes)
    assert stores["train"].classes == ["cool", "warm"]
    labels = stores["train"].labels
    found = by_picture(stores["train"])
    assert found == {
        "chelsea": np.flatnonzero(labels == 1).tolist(),
        "rocket": np.flatnonzero(labels == 0).tolist(),
    }
    assert {s: list(by_picture(stores[s])) for s in ("val", "test")} == {"val": ["coffee"], "test": ["china"]}
    assert stores["test"].card["made_by"]["licences"]["test"] == {"china": "CC-BY-2.0"}


def test_what_training_sees_of_the_photographs_may_be_given_away():
    free = [photo.name for photo in samples.photographs() if photo.is_free]
    assert {photo.split for photo in samples.photographs() if photo.name in free} == {"train", "val"}
    assert len(free) == 11


def test_scales_are_smaller_pictures(tmp_path):
    stores = prepare("sample-photos", tmp_path, patches={"size": 64, "stride": 64, "scales": [1, 0.5]})
    test = stores["test"]
    whole = [test[i] for i, name in enumerate(test.names or []) if name.startswith("china-1-")]
    half = [test[i] for i, name in enumerate(test.names or []) if name.startswith("china-0.5-")]
    assert (len(whole), len(half)) == (6 * 10, 3 * 5)
    corner = np.vstack([np.hstack([whole[0], whole[1]]), np.hstack([whole[10], whole[11]])])
    means = corner.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(half[0] - means).mean() < 2.5  # Lanczos is sharper than means


def test_a_photograph_that_its_package_lacks(tmp_path, monkeypatch):
    photo = samples.photographs()[0]
    changed = {
        "skimage/data/nowhere.png": "has no file data/nowhere.png",
        "skimage/data/brick.png": "another data/brick.png",
        "skimagen/x.png": "the package scikit-image is missing",
    }
    monkeypatch.setitem(samples.PACKAGES, "skimagen", "scikit-image")
    for file, said in changed.items():
        monkeypatch.setattr(photos, "photographs", lambda file=file: (replace(photo, file=file),))
        text = refusal("sample-photos", tmp_path / "out", patches={"size": 64})
        assert said in text
        assert "install the scikit-image of requirements.lock" in text


def test_photo_edges_are_pairs(tmp_path):
    stores = prepare("photo-edges", tmp_path, patches={"size": 64, "stride": 64})
    assert {f.name for f in tmp_path.iterdir()} == PAIR_FILES
    for split in SPLITS:
        assert stores[split].names == stores[f"{split}-source"].names
    edges = stores["val-source"]
    assert edges[0].shape == (64, 64, 3)
    assert edges.batch(range(len(edges))).std() > 0.2
    flat = photos.edges(np.full((8, 8, 3), 90, np.uint8))
    assert flat.min() == 255


# Folders


def fill(root: Path, n: int = 20, classes: int = 0) -> Path:
    for i in range(n):
        put(root / (f"class{i % classes}" if classes else "") / f"{i:03d}.png", seed=i)
    return root


def test_patches_of_a_folder_of_large_images(tmp_path):
    """All patches of an image are in one split; an image that lies on its side is turned."""
    root = tmp_path / "in"
    for i in range(8):
        put(root / f"{i}.png", picture(i, 70, 90))
    lying = Image.Exif()
    lying[0x0112] = 6  # 70 wide and 90 high once it stands
    put(root / "turned.jpg", picture(9, 90, 70), exif=lying, quality=95)
    grid = {"size": 32, "stride": 20, "scales": [1, 0.5]}
    stores = prepare("folder", tmp_path / "out", path=root, patches=grid)
    of = {split: Counter(name.split("-")[0] for name in store.names or []) for split, store in stores.items()}
    assert sum(len(split) for split in of.values()) == 9
    assert not set(of["train"]) & (set(of["val"]) | set(of["test"]))
    every = of["train"] + of["val"] + of["test"]
    assert len({*every.values()}) == 1  # the turned one has as many as the others
    assert every["turned.jpg"] == every["0.png"] > 6
    made_by = stores["train"].card["made_by"]
    assert (made_by["size"], made_by["stride"], made_by["scales"]) == ([32, 32], 20, [1, 0.5])
    name = next(n for n in stores["train"].names or [] if n.endswith("png-1-0040-0020"))
    whole = np.asarray(decode(root / name.split("-")[0]))
    index = (stores["train"].names or []).index(name)
    assert np.array_equal(stores["train"][index], whole[40:72, 20:52])


def test_images_without_a_patch_are_told(tmp_path, caplog):
    root = tmp_path / "in"
    for i in range(8):
        put(root / f"{i}.png", picture(i, 70, 90))
    put(root / "small.png", picture(1, 20, 90))
    put(root / "text.jpg", b"this is not an image")
    (root / "cut.png").write_bytes((root / "0.png").read_bytes()[:-3000])
    arguments = {"path": root, "patches": {"size": 32}, "fractions": {"train": 1.0}}
    text = refusal("folder", tmp_path / "out", **arguments)
    assert "small.png-1-0000-0000 (90 x 20 pixels, smaller than a patch)" in text
    assert "text.jpg-1-0000-0000 (not an image)" in text
    assert "cut.png-1-0000-0000" in text
    stores = prepare("folder", tmp_path / "out", skip_bad=True, **arguments)
    assert {name.split("-")[0] for name in stores["train"].names or []} == {f"{i}.png" for i in range(8)}


def test_pictures_of_patches_are_decoded_once_and_few_are_held():
    decoded = []

    def load(number):
        decoded.append(number)
        return np.full((64, 64, 3), number, np.uint8)

    pictures = [Picture(f"{i}", (64, 64), partial(load, i)) for i in range(5)]
    cut = Patches(pictures, samples.Grid(16))
    values = [int(arrays[0].max()) for _, arrays in items.in_order(cut)]
    assert values == [i for i in range(5) for _ in range(49)]
    assert sorted(decoded) == list(range(5))
    assert len(cut._decoded._held) == 2


def test_folder_without_classes(tmp_path):
    stores = prepare("folder", tmp_path / "out", path=fill(tmp_path / "in"), size=8, seed=0)
    assert {k: len(s) for k, s in stores.items()} == {"train": 14, "val": 2, "test": 4}
    test = stores["test"]
    assert test.labels is None
    assert test.classes is None
    for i, name in enumerate(test.names or []):
        assert np.array_equal(test[i], fit(picture(int(name[:3])), 8, "adm"))


def test_folder_with_classes_and_size_not_square(tmp_path):
    stores = prepare("folder", tmp_path / "out", path=fill(tmp_path / "in", 30, 3), size=(6, 10))
    assert stores["train"].classes == ["class0", "class1", "class2"]
    assert stores["train"][0].shape == (6, 10, 3)
    for s in stores.values():
        assert s.labels is not None
        assert [f"class{k}" for k in s.labels] == [name.split("/")[0] for name in s.names or []]


def test_stores_depend_on_neither_place_nor_order_nor_threads(tmp_path, monkeypatch):
    fill(tmp_path / "one", 24, 2)
    for file in sorted((tmp_path / "one").rglob("*.png"), reverse=True):
        target = tmp_path / "deep/er/two" / file.relative_to(tmp_path / "one")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    put(tmp_path / "one/.hidden.png")
    put(tmp_path / "one/class0/._000.png", b"resource fork")
    put(tmp_path / "one/notes.txt", b"not an image")
    prepare("folder", tmp_path / "a", path=tmp_path / "one", size=8)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(7))
    prepare("folder", tmp_path / "b", path=tmp_path / "deep/er/two", size=8)
    for split in SPLITS:
        assert (tmp_path / f"a/{split}.lmdb").read_bytes() == (tmp_path / f"b/{split}.lmdb").read_bytes()


def test_folder_with_splits(tmp_path):
    for split, n in (("train", 10), ("val", 4), ("test", 3)):
        fill(tmp_path / "in" / split, n, 2)
    stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert {k: len(s) for k, s in stores.items()} == {"train": 10, "val": 4, "test": 3}
    assert stores["val"].classes == ["class0", "class1"]


def test_a_missing_split_is_cut_from_train(tmp_path):
    fill(tmp_path / "in/train", 20)
    fill(tmp_path / "in/val", 3)
    stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert {k: len(s) for k, s in stores.items()} == {"train": 16, "val": 3, "test": 4}
    assert not set(stores["train"].names or []) & set(stores["test"].names or [])


@pytest.mark.parametrize("kind", ["none", "empty", "only others", "mixed", "beside splits", "few", "uneven"])
def test_folders_that_cannot_be_used(tmp_path, kind):
    root = tmp_path / "in"
    if kind != "none":
        root.mkdir()
    if kind == "only others":
        put(root / "notes.txt", b"text")
    if kind == "mixed":
        put(root / "a.png")
        put(root / "class/b.png")
    if kind == "beside splits":
        for folder in ("train", "val", "extra"):
            put(root / folder / "a.png")
    if kind == "few":
        put(root / "a.png")
    if kind == "uneven":
        put(root / "train/class/a.png")
        put(root / "val/b.png")
    expected = {
        "none": "no such folder",
        "empty": "no images",
        "only others": "no images, only 1 .txt",
        "mixed": "images both in the folder and in sub-folders",
        "beside splits": "beside the splits there is extra",
        "few": "has no readable images",
        "uneven": "some splits have sub-folders of classes",
    }
    assert expected[kind] in refusal("folder", tmp_path / "out", path=root, size=8)


def corrupt(root: Path) -> set[str]:
    whole = io.BytesIO()
    picture(1, 200, 200).save(whole, "JPEG")
    png = io.BytesIO()
    picture(1, 200, 200).save(png, "PNG")
    bad = {
        "cut.jpg": whole.getvalue()[:3000],
        "cut.png": png.getvalue()[:-5000],
        "empty.png": b"",
        "text.jpg": b"this is not an image",
        "wiped.png": png.getvalue()[:60] + bytes(200),
        "float.tif": b"",
    }
    for name, data in bad.items():
        put(root / name, data)
    put(root / "float.tif", Image.fromarray(ramp("f4", 1)))
    return set(bad)


def test_all_unreadable_images_are_named_at_once(tmp_path):
    bad = corrupt(fill(tmp_path / "in"))
    text = refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert f"cannot use {len(bad)} images" in text
    assert all(name in text for name in bad)
    assert "skip_bad: true" in text


def test_a_long_list_is_counted(tmp_path):
    fill(tmp_path / "in")
    for i in range(30):
        put(tmp_path / f"in/bad-{i:02d}.png", b"bad")
    text = refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    assert "cannot use 30 images" in text
    assert text.count("not an image") == items.LISTED
    assert "and 10 more" in text


def test_of_many_suffixes_the_most_frequent_are_named(tmp_path, caplog):
    fill(tmp_path / "in")
    for i in range(12):
        (tmp_path / f"in/one.x{i:02d}").touch()
    for i in range(2):
        (tmp_path / f"in/{i}.zzz").touch()
    with caplog.at_level(logging.WARNING):
        prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8)
    named = ", ".join(f"1 .x{i:02d}" for i in range(7))
    assert f"passed over {named}, 2 .zzz and 5 with 5 other suffixes" in caplog.text


def test_skip_bad_says_how_many_and_which(tmp_path, caplog):
    bad = corrupt(fill(tmp_path / "in", 30))
    with caplog.at_level(logging.WARNING):
        stores = prepare("folder", tmp_path / "out", path=tmp_path / "in", size=8, skip_bad=True)
    assert sum(len(s) for s in stores.values()) == 30
    assert {name for s in stores.values() for name in s.card["made_by"]["skipped"]} == bad
    assert all(name in caplog.text for name in bad)
    for s in stores.values():
        s.verify()


def test_nothing_but_bad_images(tmp_path):
    corrupt(tmp_path / "in")
    shares = {"train": 1.0}
    text = refusal("folder", tmp_path / "out", path=tmp_path / "in", size=8, skip_bad=True, fractions=shares)
    assert "no readable images" in text


def test_a_full_disk_leaves_no_split(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # enough for val and test
    try:
        assert "cannot write" in refusal("sample-photos", tmp_path / "out", patches={"size": 64})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_unknown_source_and_argument(tmp_path):
    assert "did you mean digits?" in refusal("digit", tmp_path / "out")
    with pytest.raises(TypeError):
        datasets.prepare("digits", tmp_path, path="elsewhere")


# Pairs


def fill_pairs(root: Path, n: int = 10, below: str = "") -> Path:
    for i in range(n):
        put(root / "A" / below / f"{i}.png", seed=i)
        put(root / "B" / below / f"{i}.bmp", seed=100 + i)
    return root


@pytest.mark.parametrize("reverse", [False, True])
def test_pairs_of_two_folders(tmp_path, reverse):
    fill_pairs(tmp_path / "in")
    stores = prepare("pairs", tmp_path / "out", path=tmp_path / "in", size=(10, 12), reverse=reverse)
    assert {f.name for f in (tmp_path / "out").iterdir()} == PAIR_FILES
    for split in SPLITS:
        x0, x1 = stores[split], stores[f"{split}-source"]
        assert x0.names == x1.names
        for i, name in enumerate(x0.names or []):
            a, b = (np.asarray(picture(seed + int(name[0]))) for seed in (0, 100))
            assert np.array_equal(x1[i], b if reverse else a)
            assert np.array_equal(x0[i], a if reverse else b)


def test_pairs_side_by_side_with_splits(tmp_path):
    for split in SPLITS:
        for i in range(3):
            both = Image.new("RGB", (24, 10))
            both.paste(picture(i), (0, 0))
            both.paste(picture(100 + i), (12, 0))
            put(tmp_path / "in" / split / f"{i}.png", both)
    stores = prepare("pairs", tmp_path / "out", path=tmp_path / "in", size=(10, 12), layout="side-by-side")
    assert np.array_equal(stores["val-source"][2], np.asarray(picture(2)))
    assert np.array_equal(stores["val"][2], np.asarray(picture(102)))


def test_pairs_of_two_folders_with_splits(tmp_path):
    for split in SPLITS:
        fill_pairs(tmp_path / "in", 3, split)
    stores = prepare("pairs", tmp_path / "out", path=tmp_path / "in", size=8)
    assert [len(s) for s in stores.values()] == [3] * 6


def test_pairs_that_do_not_match(tmp_path):
    root = fill_pairs(tmp_path / "in")
    put(root / "A/extra.png")
    put(root / "B/lost.png")
    text = refusal("pairs", tmp_path / "out", path=root, size=8)
    assert "no partner for 2 images: A/extra.png, B/lost.png" in text
    put(root / "A/3.jpg")
    assert "the same name with two suffixes: 1 image: 3.jpg" in refusal(
        "pairs", tmp_path / "out", path=root, size=8
    )


def test_pairs_of_different_size(tmp_path):
    root = fill_pairs(tmp_path / "in")
    put(root / "B/3.bmp", picture(0, 12, 11))
    put(root / "B/5.bmp", b"bad")
    text = refusal("pairs", tmp_path / "out", path=root, size=8)
    assert "3.png (12x10 and 12x11 pixels)" in text
    assert "5.png (not an image)" in text
    assert (
        sum(len(s) for s in prepare("pairs", tmp_path / "o", path=root, size=8, skip_bad=True).values()) == 16
    )
    odd = fill(tmp_path / "odd")
    put(odd / "odd.png", picture(0, 13, 10))
    assert "width 13 is odd" in refusal("pairs", tmp_path / "out", path=odd, size=8, layout="side-by-side")


# ImageNet and I2SB's LMDB of it

WNIDS = ["n01440764", "n01443537", "n01484850"]


def fill_imagenet(root: Path) -> Path:
    for k, wnid in enumerate(WNIDS):
        for i in range(3):
            put(root / "train" / wnid / f"{wnid}_{i}.JPEG", picture(10 * k + i, 40, 30))
        for i in range(2):
            put(
                root / "val" / wnid / f"ILSVRC2012_val_{2 * k + i:08d}.JPEG", picture(100 + 2 * k + i, 30, 44)
            )
    return root


def test_imagenet(tmp_path):
    stores = prepare("imagenet", tmp_path / "out", path=fill_imagenet(tmp_path / "in"), size=16)
    assert {k: len(s) for k, s in stores.items()} == {"train": 9, "val": 6}
    assert stores["val"].classes == ilsvrc.classes()
    assert stores["val"].labels is not None
    assert stores["val"].labels.tolist() == [0, 0, 1, 1, 2, 2]
    with Image.open(tmp_path / "in/val" / WNIDS[1] / "ILSVRC2012_val_00000003.JPEG") as image:
        assert np.array_equal(stores["val"][3], fit(image.convert("RGB"), 16, "torchvision"))


FOUR = {"n01440764": 0, "n01443537": 1, "n02085620": 151, "n02088364": 162}


@pytest.mark.parametrize("flat", [False, True])
def test_a_part_of_imagenet_is_numbered_as_ilsvrc_does(tmp_path, flat):
    root = tmp_path / "in"
    first = {
        n: next(k for k in range(1, 50001) if ilsvrc.validation_labels()[k - 1] == n) for n in FOUR.values()
    }
    for wnid, number in FOUR.items():
        put(root / "train" / wnid / f"{wnid}_1.JPEG", picture(number, 20, 20))
        folder = root / "val" if flat else root / "val" / wnid
        put(folder / f"ILSVRC2012_val_{first[number]:08d}.JPEG", picture(number, 20, 20))
    for store in prepare("imagenet", tmp_path / "out", path=root, size=8).values():
        assert store.labels is not None
        assert store.labels.tolist() == [0, 1, 151, 162]
        assert store.classes == ilsvrc.classes()
        assert [name.split("/")[0] for name in store.names or []] == list(FOUR)


def test_some_classes_of_imagenet_keep_their_numbers(tmp_path):
    root = fill_imagenet(tmp_path / "in")
    how = {"path": root, "size": 16, "crop": "adm", "classes": [2, "n01440764"]}
    stores = prepare("imagenet", tmp_path / "out", **how, codec="png")
    assert {name: store.labels.tolist() for name, store in stores.items()} == {
        "train": [0, 0, 0, 2, 2, 2],
        "val": [0, 0, 2, 2],
    }
    with Image.open(root / "val" / WNIDS[2] / "ILSVRC2012_val_00000004.JPEG") as image:
        assert np.array_equal(stores["val"][2], fit(image.convert("RGB"), 16, "adm"))
    raw = prepare("imagenet", tmp_path / "raw", **how)
    assert all(np.array_equal(raw["val"][i], stores["val"][i]) for i in range(4))
    assert "no train images of n02085620" in refusal(
        "imagenet", tmp_path / "no", path=root, size=16, classes=[0, 151]
    )
    assert "dataset.classes" in refusal("imagenet", tmp_path / "no", path=root, size=16, classes=["cat"])


def jpeg(seed: int, width: int, height: int, turned: bool = False) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6 if turned else 1
    picture(seed, width, height).save(file, "JPEG", quality=85, exif=exif)
    return file.getvalue()


def test_files_of_the_right_size_are_kept_and_all_images_are_those_of_raw(tmp_path):
    """Of a folder, and of ImageNet's val as it is published: flat, 50,000 files beside each other."""
    files = {"a": jpeg(0, 16, 16), "b": jpeg(1, 16, 16, turned=True), "c": jpeg(2, 40, 30)}
    for name, file in files.items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.jpg").write_bytes(file)
    numbers = {"a": 39905, "b": 40358, "c": 293}  # of one class
    val = tmp_path / "imagenet/val"
    val.mkdir(parents=True)
    for name, number in numbers.items():
        (val / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(files[name])
    for source, how in (
        ("folder", {"path": tmp_path / "in", "fractions": {"train": 1.0}}),
        ("imagenet", {"path": tmp_path / "imagenet", "splits": ["val"]}),
    ):
        raw, kept = (
            next(iter(prepare(source, tmp_path / f"{source}-{codec}", size=16, codec=codec, **how).values()))
            for codec in ("raw", "source")
        )
        assert kept.names == raw.names
        assert all(np.array_equal(kept[i], raw[i]) for i in range(3))
        found = {kept.encoded(i) for i in range(3)}
        # a plain loader, as ImageNet's, does not turn pictures
        assert found & {*files.values()} == {files["a"], *([files["b"]] if source == "imagenet" else [])}


def test_a_folder_that_is_no_class_of_ilsvrc(tmp_path):
    put(fill_imagenet(tmp_path / "in") / "train/dogs/1.JPEG", picture(0, 20, 20))
    assert "1 folder: dogs: no class of ILSVRC2012" in refusal(
        "imagenet", tmp_path / "o", path=tmp_path / "in"
    )


def test_published_labels_of_imagenet():
    labels, classes = ilsvrc.validation_labels(), ilsvrc.classes()
    assert np.bincount(labels).tolist() == [50] * 1000
    assert classes == sorted(classes)
    assert ilsvrc.names()[151] == "Chihuahua"
    # Lines that are printed in other places: I2SB's list of the 10,000, and the labels of Slim.
    for number, wnid in {1: "n01751748", 293: "n01440764", 39905: "n01440764", 50000: "n02437616"}.items():
        assert ilsvrc.validation_class(f"ILSVRC2012_val_{number:08d}.JPEG") == wnid
    assert labels[:10].tolist() == [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]
    for file in ("ILSVRC2012_val_00000000.JPEG", "ILSVRC2012_val_00050001.JPEG", "n01440764_1.JPEG"):
        assert ilsvrc.validation_class(file) is None


LIST = f"""/fast/imagenet/val/{WNIDS[2]}/ILSVRC2012_val_00000005.JPEG

/fast/imagenet/val/{WNIDS[0]}/ILSVRC2012_val_00000001.JPEG
"""


@pytest.mark.parametrize("flat", [False, True])
def test_imagenet_subset_keeps_the_order_of_the_list(tmp_path, flat):
    root = fill_imagenet(tmp_path / "in")
    if flat:
        for file in list((root / "val").rglob("*.JPEG")):
            file.rename(root / "val" / file.name)
        for folder in (root / "val").glob("n*"):
            folder.rmdir()
        # Number 0 is no published validation image, so nothing tells its class.
        assert "class unknown in val: 1 image" in refusal("imagenet", tmp_path / "out", path=root, size=8)
    (tmp_path / "list.txt").write_text(LIST)
    stores = prepare(
        "imagenet", tmp_path / "o", path=root, size=8, subset=tmp_path / "list.txt", splits=["val"]
    )
    assert [Path(name).name[-6:] for name in stores["val"].names or []] == ["5.JPEG", "1.JPEG"]
    assert stores["val"].labels is not None
    assert stores["val"].labels.tolist() == [2, 0]


def test_imagenet_subset_with_labels_beside_the_names(tmp_path):
    root = fill_imagenet(tmp_path / "in")
    (tmp_path / "list.txt").write_text(
        f"ILSVRC2012_val_00000005.JPEG 2\nILSVRC2012_val_00000000.JPEG {WNIDS[0]}\n"
    )
    stores = prepare("imagenet", tmp_path / "o", path=root, size=8, subset=tmp_path / "list.txt")
    assert stores["val"].labels is not None
    assert stores["val"].labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LIST + "ILSVRC2012_val_00009999.JPEG", "not among the validation images: 1 image"),
        (LIST + LIST, "come twice"),
        ("\n", "is empty"),
        (None, "cannot read the list"),
    ],
)
def test_imagenet_subsets_that_cannot_be_used(tmp_path, content, expected):
    if content is not None:
        (tmp_path / "list.txt").write_text(content)
    text = refusal(
        "imagenet",
        tmp_path / "out",
        path=fill_imagenet(tmp_path / "in"),
        size=8,
        subset=tmp_path / "list.txt",
    )
    assert expected in text


def test_missing_imagenet_says_what_to_put_where(tmp_path):
    text = refusal("imagenet", tmp_path / "out", path=tmp_path / "nowhere")
    assert "put ILSVRC2012 there as train/n01440764/*.JPEG" in text
    fill_imagenet(tmp_path / "in")
    shutil.rmtree(tmp_path / "in/val")
    assert "no ImageNet val images" in refusal("imagenet", tmp_path / "out", path=tmp_path / "in")


class ImageFolder:
    """Has the state of torchvision's ImageFolder, under whose name it is pickled."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.classes = sorted(folder.name for folder in root.iterdir())
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.imgs = [
            (str(file), i) for i, name in enumerate(self.classes) for file in sorted((root / name).iterdir())
        ]
        self.samples, self.targets = self.imgs, [label for _, label in self.imgs]
        self.loader = self.transform = self.target_transform = self.transforms = None
        self.extensions = (".jpg", ".jpeg", ".png")


@pytest.fixture
def published(tmp_path, monkeypatch):
    """I2SB's pair of files, made of a folder of images."""
    module = types.ModuleType("torchvision.datasets.folder")
    monkeypatch.setattr(ImageFolder, "__module__", module.__name__)
    module.ImageFolder = ImageFolder  # type: ignore[attr-defined]
    for name in ("torchvision", "torchvision.datasets"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    root = fill_imagenet(tmp_path / "in")
    for split in ("train", "val"):
        folder = ImageFolder(root / split)
        torch.save(
            folder,
            root / f"{split}_faster_imagefolder.lmdb.pt",
            pickle_protocol=4,
            _use_new_zipfile_serialization=split == "train",
        )
        path = str(root / f"{split}_faster_imagefolder.lmdb")
        with lmdb.open(path, map_size=1 << 26) as env, env.begin(write=True) as txn:
            for file, _ in folder.imgs:
                txn.put(file.encode("ascii"), Path(file).read_bytes())
    for name in list(sys.modules):
        if name.startswith("torchvision"):
            monkeypatch.delitem(sys.modules, name)
    return root


def test_import_gives_the_bytes_of_the_image_files(tmp_path, published):
    (tmp_path / "list.txt").write_text(LIST)
    for more in ({}, {"subset": tmp_path / "list.txt"}, {"classes": [0, 1]}):
        prepare("imagenet", tmp_path / "a", path=published, size=16, **more)
        prepare("i2sb-lmdb", tmp_path / "b", path=published, size=16, **more)
        for split in ("train", "val"):
            assert (tmp_path / f"a/{split}.lmdb").read_bytes() == (tmp_path / f"b/{split}.lmdb").read_bytes()


def test_import_of_a_plain_list(tmp_path, published):
    samples = i2sb_lmdb.read_listing(published / "val_faster_imagefolder.lmdb.pt").samples
    assert [label for _, label in samples] == [0, 0, 1, 1, 2, 2]
    torch.save(samples, published / "val_faster_imagefolder.lmdb.pt")
    stores = prepare("i2sb-lmdb", tmp_path / "o", path=published, size=16, splits=["val"])
    assert stores["val"].classes == ilsvrc.classes()


def test_import_names_images_that_are_not_in_the_lmdb(tmp_path, published):
    pt = published / "val_faster_imagefolder.lmdb.pt"
    torch.save([*i2sb_lmdb.read_listing(pt).samples, ("/x/n01440764/lost.JPEG", 0)], pt)
    text = refusal("i2sb-lmdb", tmp_path / "out", path=published, size=16, splits=["val"])
    assert "n01440764/lost.JPEG (not in the LMDB)" in text


def test_import_of_missing_and_truncated_files(tmp_path, published):
    assert "no such file" in refusal("i2sb-lmdb", tmp_path / "out", path=tmp_path / "nowhere")
    data = published / "val_faster_imagefolder.lmdb/data.mdb"
    data.write_bytes(data.read_bytes()[:-4096])
    assert "truncated" in refusal("i2sb-lmdb", tmp_path / "out", path=published, size=16)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("run-by-pickle"),))


class Eval:
    def __reduce__(self):
        return (eval, ("open('run-by-pickle', 'w')",))


@pytest.mark.parametrize("content", [Evil(), [("a.png", Eval())], {"imgs": Eval()}, torch.zeros(3)])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_wants_to_run_something_is_refused(tmp_path, monkeypatch, content, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="it asks for") as error:
        i2sb_lmdb.read_listing("a.pt")
    assert "\n" not in str(error.value)
    assert not Path("run-by-pickle").exists()


@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps([("a.png", 0)]), b"PK\x03\x04 damaged", b"\x80\x04K\x01."]
)
def test_files_that_torch_save_did_not_write(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(UserError, match="not a list of images"):
        i2sb_lmdb.read_listing(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "content", [[], {}, 3, [("a.png",)], [("a.png", "0")], [(1, 0)], [("a.png", True)], [("a.png", -1)]]
)
def test_lists_of_something_else(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match="no list of"):
        i2sb_lmdb.read_listing(tmp_path / "a.pt")
