"""Attributes of a store: stored ones, those of digits, and where they are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridgepipe.data import store
from bridgepipe.datasets import attributes, digits
from bridgepipe.errors import UserError


@pytest.fixture(scope="module")
def test_split(tmp_path_factory: pytest.TempPathFactory) -> store.ImageStore:
    folder = tmp_path_factory.mktemp("digits")
    digits.prepare(folder, size=16, progress=False)
    return store.ImageStore(folder / "test.lmdb")


def bare(path: Path, source: store.ImageStore, count: int = 60) -> store.ImageStore:
    """The same images and labels without stored attributes."""
    with store.writer(path, {}, classes=digits.CLASSES, progress=False) as w:
        for i in range(count):
            w.put(source[i])
        w.set_labels(source.array("labels")[:count])
    return store.ImageStore(path)


def test_computed_attributes_are_those_of_the_digits(tmp_path: Path, test_split: store.ImageStore) -> None:
    images = bare(tmp_path / "bare.lmdb", test_split)
    n = len(images)
    labels = images.array("labels")
    assert attributes.names(images) == [*digits.CLASSES, "even", "ink", "loop", "slant"]
    assert attributes.attribute(images, "7").tolist() == [int(y == 7) for y in labels]
    assert attributes.with_it(digits.CLASSES, "loop").nonzero()[0].tolist() == [0, 6, 8, 9]
    assert attributes.with_it(["cat", "dog"], "dog").tolist() == [False, True]
    assert attributes.with_it(["cat", "dog"], "loop") is attributes.with_it(None, "dog") is None
    assert attributes.attribute(images, "even").tolist() == [int(y % 2 == 0) for y in labels]
    assert attributes.attribute(images, "loop").tolist() == test_split.array("has_loop")[:n].tolist()
    # measured on enlarged images, stored from the small ones
    for name, agreement in (("ink", 0.99), ("slant", 0.95)):
        computed, stored = attributes.attribute(images, name), test_split.array(name)[:n]
        assert np.corrcoef(computed, stored)[0, 1] > agreement


def test_stored_attributes_come_first(test_split: store.ImageStore) -> None:
    assert np.array_equal(attributes.attribute(test_split, "ink"), test_split.array("ink"))
    assert set(attributes.names(test_split)) == {*digits.CLASSES, "even", "has_loop", "ink", "loop", "slant"}


def test_measures_of_known_images() -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    assert attributes.ink(black) == 0
    assert attributes.slant(black) == 0
    leaning = black.copy()
    for y in range(2, 14):
        leaning[y, 14 - y] = 255  # one pixel to the right for each upwards
    assert attributes.slant(leaning) == pytest.approx(1)
    assert attributes.slant(leaning[:, ::-1]) == pytest.approx(-1)
    assert attributes.ink(leaning) == pytest.approx(12 / 256)


def test_colours_of_other_images_are_measured(tmp_path: Path) -> None:
    red, grey = np.zeros((2, 8, 8, 3), np.uint8)
    red[..., 0], grey[:] = 255, 102
    assert attributes.warmth(red) == 1
    assert attributes.brightness(red) == pytest.approx(0.299)
    assert attributes.warmth(grey) == 0
    assert attributes.brightness(grey) == pytest.approx(0.4)
    with store.writer(tmp_path / "two.lmdb", {}, classes=["warmth", "b"], progress=False) as w:
        w.put(red)
        w.put(grey)
        w.set_labels([1, 0])
    two = store.ImageStore(tmp_path / "two.lmdb")
    assert attributes.names(two) == ["b", "brightness", "warmth"]
    assert attributes.attribute(two, "brightness").tolist() == pytest.approx([0.299, 0.4])
    assert attributes.attribute(two, "warmth").tolist() == [0, 1]  # the class, not the measure
    assert list(attributes.measures(two)) == ["brightness"]


def test_unknown_name_says_the_nearest(tmp_path: Path, test_split: store.ImageStore) -> None:
    with pytest.raises(UserError, match=r"unknown attribute 'slent' .*did you mean slant\?"):
        attributes.attribute(test_split, "slent")
    with store.writer(tmp_path / "plain.lmdb", {}, progress=False) as w:
        w.put(test_split[0])
    with pytest.raises(UserError, match="choose from brightness, warmth"):
        attributes.attribute(store.ImageStore(tmp_path / "plain.lmdb"), "ink")


def test_cut() -> None:
    continuous = np.array([0.1, 0.5, 0.2, 0.9, 0.4])
    assert attributes.threshold(continuous) == 0.4
    assert attributes.binary(continuous, 0.4).tolist() == [0, 1, 0, 1, 0]
    assert attributes.clear(continuous, 0.4, 0.4).tolist() == [0, 2, 3]
    assert attributes.clear(continuous, 0.4, 0).tolist() == [0, 1, 2, 3, 4]
    assert attributes.threshold(np.array([-1, 1, 1, 1])) == 0
    assert attributes.binary(np.array([-1, 1, 1]), 0).tolist() == [0, 1, 1]
    with pytest.raises(UserError, match="same value"):
        attributes.threshold(np.ones(4))
