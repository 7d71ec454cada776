"""Subsets: by chance, as many of every class, the same wherever they are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridgepipe.data.store import ImageStore, writer
from bridgepipe.data.subset import Subset, choose, choose_from, describe, items_of, items_of_class
from bridgepipe.datasets import photos
from bridgepipe.datasets.attributes import chosen
from bridgepipe.evaluation.strips import Strips
from bridgepipe.figures import boundary as figures_boundary
from bridgepipe.stages import pictures


def folder_store(path: Path, sizes: tuple[int, ...] = (50, 50, 50, 50)) -> ImageStore:
    """Images class by class, as folders lie; the first pixel is the number of the image."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    with writer(path, {"source": "folder"}, classes=[f"class {k}" for k in range(len(sizes))]) as out:
        for number in range(len(labels)):
            out.put(np.full((2, 2, 3), number, np.uint8))
        out.set_labels(labels)
    return ImageStore(path)


def test_twelve_of_four_classes_are_three_of_each(tmp_path: Path) -> None:
    store = folder_store(tmp_path / "s.lmdb")
    items = choose_from(store, 12)
    assert np.bincount(store.labels[items]).tolist() == [3, 3, 3, 3]
    assert items.tolist() == sorted(set(items.tolist()))
    assert items.tolist() == choose_from(store, 12).tolist()
    # not the first of each class either
    assert not {0, 1, 2, 50, 51, 52} <= set(items.tolist())


def test_a_class_that_runs_out_leaves_its_turns_to_the_others() -> None:
    labels = np.repeat([0, 1, 2], [2, 30, 30])
    assert np.bincount(labels[choose(22, 62, labels)]).tolist() == [2, 10, 10]
    assert len(choose(60, 62, labels)) == 60


def test_a_smaller_subset_is_part_of_a_larger_one() -> None:
    labels = np.repeat([3, 1, 7], 40)
    small, large = choose(10, 120, labels), choose(40, 120, labels)
    assert set(small.tolist()) <= set(large.tolist())
    assert choose(None, 5).tolist() == choose(9, 5).tolist() == [0, 1, 2, 3, 4]
    assert choose(10, 120, labels, seed=1).tolist() != small.tolist()


@pytest.mark.parametrize("labels", [None, np.zeros(1000, int)])
def test_without_classes_every_item_is_as_likely(labels: np.ndarray | None) -> None:
    times = sum(np.isin(np.arange(1000), choose(300, 1000, labels, seed=s)).astype(int) for s in range(50))
    assert times.mean() == 15
    assert 2 < times.min() < times.max() < 29  # 15 +- 4 standard deviations


def test_photographs_whose_patches_lie_together(tmp_path: Path) -> None:
    """The first 100 patches are all of one photograph."""
    photos.prepare_edges(tmp_path, patches={"size": 64, "stride": 40}, progress=False)
    store = ImageStore(tmp_path / "train.lmdb")
    assert np.bincount(store.labels[:100], minlength=5).tolist() == [100, 0, 0, 0, 0]
    assert np.bincount(store.labels[choose_from(store, 100)]).tolist() == [20] * 5


def test_a_class_alone_and_all_classes_of_a_translation(tmp_path: Path) -> None:
    store = folder_store(tmp_path / "s.lmdb")
    eights = items_of_class(store, "class 2", 10)
    assert set(store.labels[eights]) == {2}
    assert eights != list(range(100, 110))
    assert np.bincount(store.labels[items_of_class(store, None, 8)]).tolist() == [2, 2, 2, 2]


def test_images_of_a_boundary_are_half_of_each_kind(tmp_path: Path) -> None:
    store = folder_store(tmp_path / "s.lmdb", (30, 90))
    values = store.labels.astype(float)
    items = chosen(store, values, 0.5, 0, 40)
    assert np.bincount(values[items].astype(int)).tolist() == [20, 20]
    assert np.bincount(values[chosen(store, values, 0.5, 0, 100)].astype(int)).tolist() == [30, 70]


def test_rows_of_strips_are_of_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images lie class by class, and a figure shows ten of them."""
    kinds = np.repeat(np.arange(5), 20)
    images = np.zeros((100, 4, 4, 3), np.uint8) + kinds[:, None, None, None].astype(np.uint8)
    strips = Strips(images[:, None], np.array([0.0]), images, images, images, kinds)
    monkeypatch.setattr(pictures, "open_strips", lambda *stores: strips)
    monkeypatch.setattr(pictures, "edits_and_data", lambda *paths: ())
    drawn: dict[str, np.ndarray] = {}

    def grid(path: Path, edited: np.ndarray, distances: list[float], beside: dict, title: str) -> None:
        drawn.update(beside, edited=edited[:, 0])

    monkeypatch.setattr(figures_boundary, "strip_grid", grid)
    pictures.figure_strip(*[tmp_path] * 5, "")
    assert set(drawn) == {"image", "no move", "edited"}
    for shown in drawn.values():
        assert np.bincount(shown[:, 0, 0, 0]).tolist() == [2] * 5


def test_a_view_reads_the_items_in_their_order(tmp_path: Path) -> None:
    store = folder_store(tmp_path / "s.lmdb")
    view = Subset(store, [7, 150])
    assert [int(view[k][0, 0, 0]) for k in range(len(view))] == [7, 150]
    assert view.batch([1])[0, 0, 0, 0].item() == pytest.approx(150 / 127.5 - 1)
    assert len({view.digest, Subset(store, [7, 151]).digest, store.digest}) == 3
    assert items_of(store).tolist() == list(range(200))  # nothing else is told
    assert describe(200, 200) == {"of": 200, "chosen": "all"}
    assert describe(12, 200)["chosen"] == "by chance, as many of every class, seed 0"
