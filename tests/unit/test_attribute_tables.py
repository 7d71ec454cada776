"""Tables of attributes beside image folders: what they tell, and that nothing is dropped in silence."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridgepipe import config
from bridgepipe.config import contents
from bridgepipe.config.data import Folder
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import folder, prepare
from bridgepipe.datasets.attribute_tables import number_of
from bridgepipe.datasets.attributes import attribute, with_it
from bridgepipe.errors import UserError

NAMES = [f"{k}.png" for k in range(8)]
SMILING = {name: k % 2 for k, name in enumerate(NAMES)}


def pictures(root: Path, names: list[str] = NAMES) -> Path:
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 10 * k, np.uint8)).save(root / name)
    return root


def told(out: Path) -> dict[str, dict[str, float]]:
    """Attributes of every image by its name, of all splits."""
    found: dict[str, dict[str, float]] = {}
    for file in out.glob("*.lmdb"):
        store = ImageStore(file)
        for i, name in enumerate(store.names or []):
            found[name] = {key: values[i] for key, values in store.attributes.items()}
    return found


def prepared(root: Path, out: Path, **more: object) -> dict[str, dict[str, float]]:
    fractions = {"train": 0.5, "val": 0.25, "test": 0.25}
    prepare("folder", out, path=root, size=8, progress=False, fractions=fractions, **more)
    return told(out)


def csv(rows: dict[str, list[object]], header: str = "file_name,Smiling,age,Young,caption") -> str:
    return "\n".join([header, *(",".join([name, *map(str, row)]) for name, row in rows.items())]) + "\n"


ROWS: dict[str, list[object]] = {
    name: [2 * SMILING[name] - 1, 20 + k / 4, ["False", "true"][k < 3], f"a face {k}"]
    for k, name in enumerate(NAMES)
}


@pytest.mark.parametrize("form", ["metadata.csv", "metadata.jsonl", "given.csv", "given.tsv"])
def test_every_form_of_a_table_tells_the_same(
    tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """-1 and 1, true and false, real values; a caption is no attribute; rows in any order."""
    root = pictures(tmp_path / "images")
    shuffled = {name: ROWS[name] for name in sorted(NAMES, key=lambda n: int(n[0]) * 5 % 8)}
    text = csv(shuffled)
    if form.endswith("jsonl"):
        keys = ["Smiling", "age", "Young", "caption"]
        lines = [{"file_name": n, **dict(zip(keys, row, strict=True))} for n, row in shuffled.items()]
        text = "\n".join(map(json.dumps, lines))
    place = root / form if form.startswith("metadata") else tmp_path / form
    place.write_text(text.replace(",", "\t") if form.endswith("tsv") else text, encoding="utf-8-sig")
    more = {} if form.startswith("metadata") else {"attributes": place}
    with caplog.at_level(logging.WARNING):
        found = prepared(root, tmp_path / "out", **more)
    assert found == {
        name: {"Smiling": SMILING[name], "age": 20 + k / 4, "Young": float(k < 3)}
        for k, name in enumerate(NAMES)
    }
    assert "no attributes, as they hold no numbers: caption" in caplog.text


def test_classes_and_splits_keep_their_tables(tmp_path: Path) -> None:
    """Folders of classes stay classes beside a table, and each split has its own."""
    names = [
        f"{split}/{kind}/{k}.png" for split in ("train", "test", "val") for kind in "pq" for k in range(2)
    ]
    root = pictures(tmp_path / "images", names)
    for split in ("train", "test", "val"):
        rows = {f"{kind}/{k}.png": [k] for kind in "pq" for k in range(2)}
        (root / split / "metadata.csv").write_text(csv(rows, "file_name,tall"))
    assert prepared(root, tmp_path / "out") == {
        f"{kind}/{k}.png": {"tall": k} for kind in "pq" for k in range(2)
    }
    assert ImageStore(tmp_path / "out/train.lmdb").classes == ["p", "q"]
    (root / "val/metadata.csv").write_text(
        csv({f"{kind}/{k}.png": [k] for kind in "pq" for k in range(2)}, "file_name,x")
    )
    with pytest.raises(UserError, match=r"other columns than .*: 2 columns: tall, x"):
        prepared(root, tmp_path / "out2")


def changed(**rows: list[object] | None) -> dict[str, list[object]]:
    made = ROWS | {name.replace("_", ".").removeprefix("x"): row for name, row in rows.items() if row}
    return {
        n: row
        for n, row in made.items()
        if f"x{n}".replace(".", "_") not in {k for k, r in rows.items() if not r}
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (csv(changed(x3_png=None)), "no row for 1 image: 3.png"),
        (csv(changed(x9_png=[1, 2, "true", ""])), "no image for 1 row: 9.png"),
        (csv(ROWS) + csv(ROWS).splitlines()[3] + "\n", "two rows for 1 image: 2.png"),
        (csv(changed(x3_png=[0, "old", "true", ""])), r"no value of age for 1 image: 3.png \(old\)"),
        (csv(changed(x3_png=["", 1, "true", ""])), r"no value of Smiling for 1 image: 3.png \(nothing\)"),
        (csv(changed(x3_png=[1, "nan", "true", ""])), r"no value of age for 1 image: 3.png \(nan\)"),
        (csv(changed(x3_png=[1, 2])), "line 5 has 3 values for 5 columns"),
        (csv(ROWS, "file_name,Smiling,smiling,Young,caption"), "columns of one name: Smiling, smiling"),
        (csv(ROWS, "file_name,,age,Young,caption"), "a column has no name"),
        (csv(ROWS, "file_name,labels,age,Young,caption"), "may not be called labels"),
        (csv(ROWS, "face,Smiling,age,Young,caption"), "no column that names files, it has face, Smiling"),
        ("file_name,age\n", "a table without rows"),
        ("", "a table without rows|a column has no name"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_before_anything_is_written(
    tmp_path: Path, text: str, expected: str
) -> None:
    root = pictures(tmp_path / "images")
    (root / "metadata.csv").write_text(text)
    with pytest.raises(UserError, match=expected) as e:
        prepared(root, tmp_path / "out")
    assert "\n" not in str(e.value)
    assert not list(tmp_path.glob("out/*"))


def test_numbers() -> None:
    given = [True, "TRUE", "no", " -1 ", "0", "1e-3", 2.5, None, "", "inf", "x", [1]]
    assert [number_of(v) for v in given] == [1, 1, 0, -1, 0, 1e-3, 2.5, None, None, None, None, None]


def test_an_attribute_is_found_in_any_case(tmp_path: Path) -> None:
    root = pictures(tmp_path / "images")
    (root / "metadata.csv").write_text(csv(ROWS))
    prepared(root, tmp_path / "out")
    store = ImageStore(tmp_path / "out/train.lmdb")
    assert np.array_equal(attribute(store, "smiling"), store.array("Smiling"))
    assert with_it(["Cat", "dog"], "cat").tolist() == [True, False]
    with pytest.raises(UserError, match="unknown attribute 'smilling'"):
        attribute(store, "smilling")
    settings = Folder(source="folder", path=str(root))
    assert contents.columns_of(settings) == ("file_name", "Smiling", "age", "Young", "caption")
    other = tmp_path / "t.jsonl"
    other.write_text('{"file_name": "0.png", "tall": 1}\n')
    settings = Folder(source="folder", path=str(root), attributes=str(other))
    assert contents.columns_of(settings) == ("file_name", "tall")
    assert config.paths_of(settings) == [str(root), str(other)]
    assert not folder.find(root).passed_over
