"""JPEG files that are decoded smaller: the crop of whole ones, nearly the same pixels, and only on demand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from sklearn.datasets import load_sample_image

from bridgepipe import datasets
from bridgepipe.config.data import Dataset
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets.images import CROPS, decode, decode_plain, fit, whole_size

CHINA = Image.fromarray(load_sample_image("china.jpg"))
ORIENTATION = 0x0112


def jpeg(width: int, height: int, orientation: int = 1, **options: Any) -> bytes:
    file, exif = io.BytesIO(), Image.Exif()
    exif[ORIENTATION] = orientation
    CHINA.resize((width, height), Image.Resampling.BICUBIC).save(
        file, "jpeg", quality=90, exif=exif, **options
    )
    return file.getvalue()


def difference(file: bytes, size: Any, crop: str, decoder: Any = decode) -> np.ndarray:
    drafted = decoder(file, size)
    whole = decoder(file)
    assert drafted.width < whole.width
    assert whole_size(drafted) == whole.size == whole_size(whole)
    return fit(drafted, size, crop).astype(int) - fit(whole, size, crop)


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("size", [64, 48, (40, 64), (64, 40)])
@pytest.mark.parametrize("source", [(1024, 768), (1023, 767), (517, 777), (265, 1031)])
def test_the_crop_is_that_of_the_whole_photograph(source: tuple[int, int], size: Any, crop: str) -> None:
    """ADM's halvings of odd sizes leave pixels out, and a draft none, so they differ more."""
    found = difference(jpeg(*source), size, crop)
    assert abs(found).mean() < (2.5 if crop == "adm" else 1.5)


def test_a_shift_by_a_pixel_would_be_seen() -> None:
    whole = fit(decode(jpeg(1024, 768)), 64).astype(int)
    assert abs(whole[:, 1:] - whole[:, :-1]).mean() > 8


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_that_is_turned_is_drafted_alike(orientation: int) -> None:
    file = jpeg(1023, 767, orientation)
    assert abs(difference(file, (40, 64), "torchvision")).mean() < 1
    plain = difference(file, (40, 64), "torchvision", decode_plain)
    assert abs(plain).mean() < 1


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}])
def test_other_jpeg_files_too(options: dict[str, Any]) -> None:
    assert abs(difference(jpeg(1024, 768, **options), 64, "torchvision")).mean() < 0.5


@pytest.mark.parametrize("size", [64, (64, 20)])
def test_what_is_no_twice_as_large_is_decoded_whole(size: Any) -> None:
    file = jpeg(255, 255)  # a half would be 128, the twofold of 64
    assert np.array_equal(decode(file, size), decode(file))
    assert decode(jpeg(256, 256), size).size == (128, 128)


def fill(root: Path, kind: str) -> Path:
    root.mkdir()
    for number in range(3):
        Image.open(io.BytesIO(jpeg(400 + number, 300))).save(root / f"{number}.{kind}")
    return root


def prepared(out: Path, source: Path, **how: Any) -> ImageStore:
    datasets.prepare("folder", out, path=source, size=32, fractions={"train": 1.0}, progress=False, **how)
    return ImageStore(out / "train.lmdb")


def test_stores_tell_it_and_those_of_exact_are_as_ever(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "jpg")
    plain = prepared(tmp_path / "plain", source)
    exact = prepared(tmp_path / "exact", source, decode="exact")
    draft = prepared(tmp_path / "draft", source, decode="draft")
    assert plain.path.read_bytes() == exact.path.read_bytes()
    assert "decode" not in exact.card["made_by"]
    assert draft.card["made_by"] == {**exact.card["made_by"], "decode": "draft"}
    changed = [draft[i].astype(int) - exact[i] for i in range(3)]
    assert 0 < np.mean(np.abs(changed)) < 2


def test_other_files_are_the_same_in_either_way(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "png")
    exact, draft = (prepared(tmp_path / how, source, decode=how) for how in ("exact", "draft"))
    assert all(np.array_equal(exact[i], draft[i]) for i in range(3))


@pytest.mark.parametrize("source", ["folder", "imagenet", "i2sb-lmdb"])
def test_sources_of_jpeg_files_take_it(source: str) -> None:
    read = TypeAdapter(Dataset).validate_python
    given = {"source": source, "path": "photos", "decode": "draft"}
    assert read(given).decode == "draft"
    assert read({"source": source, "path": "photos"}).decode == "exact"


def test_where_nothing_is_shrunk_it_is_refused() -> None:
    given = {"source": "folder", "path": "photos", "patches": {"size": 64}, "decode": "draft"}
    with pytest.raises(ValidationError, match="decode is not read: patches are cut"):
        TypeAdapter(Dataset).validate_python(given)
