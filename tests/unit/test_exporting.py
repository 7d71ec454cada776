"""Stores as files for other programs: names, resuming, and what is refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bridgepipe import cli
from bridgepipe.artifacts import atomic
from bridgepipe.data import store
from bridgepipe.datasets import images
from bridgepipe.errors import UserError
from bridgepipe.evaluation.fid import Statistics
from bridgepipe.stages import exporting

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def written(path: Path, made_by: dict, names: list[str] | None = None, **arrays: np.ndarray) -> Path:
    classes = ["tabby cat", "dog"] if "labels" in arrays else None
    with store.writer(path, made_by, classes=classes, progress=False) as out:
        for i, image in enumerate(PIXELS):
            out.put(image, names[i]) if names else out.put(image)
        for name, values in arrays.items():
            out.set_labels(values) if name == "labels" else out.set_array(name, values)
    return path


def export(source: Path, output: Path, *options: str, monkeypatch: pytest.MonkeyPatch) -> int | None:
    words = ["bridgepipe", "export", str(source), "--output", str(output), *options]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def shown(folder: Path) -> dict[str, np.ndarray]:
    return {str(f.relative_to(folder)): np.array(Image.open(f)) for f in sorted(folder.rglob("*.png"))}


def test_an_npz_has_the_bytes_of_numpy_and_adm_s_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.array([0, 1, 0, 1, 0, 1])
    source = written(tmp_path / "a.lmdb", {}, labels=labels)
    assert not export(source, tmp_path / "a.npz", monkeypatch=monkeypatch)
    expected = io.BytesIO()
    np.savez(expected, PIXELS, labels)
    assert (tmp_path / "a.npz").read_bytes() == expected.getvalue()


@pytest.mark.parametrize(
    ("made_by", "arrays", "expected"),
    [
        ({}, {}, ["00000.png", "00001.png"]),
        ({"images": "samples"}, {"labels": [0, 1] * 3}, ["00000_tabby-cat.png", "00001_dog.png"]),
        ({"images": "translations", "target_class": "a/b"}, {}, ["00000_a-b.png", "00001_a-b.png"]),
        (
            {"images": "edited"},
            {"distance": np.tile([-1.5, 0, 2], 2)},
            ["00000_+0.png", "00000_+2.png", "00000_-1.5.png", "00001_+0.png"],
        ),
    ],
)
def test_a_name_tells_what_the_image_is(
    tmp_path: Path, made_by: dict, arrays: dict, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = written(tmp_path / "a.lmdb", made_by, **{k: np.array(v) for k, v in arrays.items()})
    assert not export(source, tmp_path / "out", monkeypatch=monkeypatch)
    found = shown(tmp_path / "out")
    assert list(found)[: len(expected)] == expected
    assert {p.tobytes() for p in found.values()} == {p.tobytes() for p in PIXELS}


def test_names_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of prepared images, of what was restored from them, and of their translations."""
    names = ["n1/a.JPEG", "n1/b.c.png", "n2/../../x", "n2/d", "e.jpg", "f é.png"]
    plain = ["n1/a", "n1/b.c", "n2/x", "n2/d", "e", "f-é"]
    data = written(tmp_path / "data/set/val.lmdb", {"source": "folder"}, names)
    made = {"data": store.ImageStore(data).digest, "origin": {"name": "set/val"}}
    options = ("--names", "source", "--data", str(tmp_path / "data"))
    items = np.array([5, 4, 3, 2, 1, 0])
    restored = written(tmp_path / "restored.lmdb", made, item=items)
    translated = written(
        tmp_path / "t.lmdb", {**made, "images": "translations", "target_class": "dog"},
        [f"cat-to-dog/{name}" for name in names], item=items,
    )  # fmt: skip
    for source, expected in {
        data: plain,
        restored: [plain[i] for i in items],
        translated: [f"{name}_dog" for name in plain],
    }.items():
        output = tmp_path / "out" / source.stem
        assert not export(source, output, *options, monkeypatch=monkeypatch)
        found = shown(output)
        assert len(found) == 6
        for name, pixels in zip(expected, PIXELS, strict=True):
            assert np.array_equal(found[f"{name}.png"], pixels)
    other = written(tmp_path / "other.lmdb", {**made, "data": "abc"}, item=items)
    with pytest.raises(UserError, match="source images of other images"):
        exporting.export(other, tmp_path / "x", "source", tmp_path / "data")
    with pytest.raises(UserError, match="were made from none that have a name"):
        exporting.export(written(tmp_path / "n.lmdb", {}), tmp_path / "x", "source", tmp_path)
    assert not (tmp_path / "x").exists()


def test_an_interrupted_export_goes_on_and_never_mixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = written(tmp_path / "a.lmdb", {}), tmp_path / "out"
    real, seen = images.write_png, []

    def stops(path: Path, *about: object) -> None:
        if len(seen) == 3:
            with atomic(path) as temporary:
                temporary.write_bytes(b"half")
                raise KeyboardInterrupt
        seen.append(path.name)
        real(path, *about)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "write_png", stops)
    with pytest.raises(KeyboardInterrupt):
        exporting.export(source, out, "number", tmp_path)
    assert sorted(p.name for p in out.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    monkeypatch.setattr(images, "write_png", real)
    before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
    assert not export(source, out, monkeypatch=monkeypatch)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(shown(out)) == 6

    other = written(tmp_path / "b.lmdb", {"other": 1})
    capsys.readouterr()
    assert export(other, out, monkeypatch=monkeypatch) == 2
    assert "the folder holds 6 other files: 00000.png" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/note.txt").touch()
    assert export(source, tmp_path / "mine", monkeypatch=monkeypatch) == 2
    assert "holds 1 other file: note.txt" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["note.txt"]


def test_other_outputs_are_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "a.lmdb", {})
    for name in ("a.png", "a.zip", "a.npy"):
        with pytest.raises(UserError, match="give --output a folder, for PNG files, or a name that ends in"):
            exporting.export(source, tmp_path / name, "number", tmp_path)
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(UserError, match="a folder is here"):
        exporting.export(source, tmp_path / "d.npz", "number", tmp_path)
    exporting.export(source, tmp_path / "v1.5", "number", tmp_path)
    assert len(shown(tmp_path / "v1.5")) == 6


def test_statistics_are_written_as_mu_and_sigma(tmp_path: Path) -> None:
    x = torch.randn(9, 4, dtype=torch.float64)
    found = Statistics(x.mean(0), torch.cov(x.T), 9, x.float(), {"name": "e"}, "d", torch.arange(9))
    found.save(tmp_path / "s.safetensors")
    exporting.export(tmp_path / "s.safetensors", tmp_path / "s.npz", "number", tmp_path)
    with np.load(tmp_path / "s.npz", allow_pickle=False) as made:
        assert set(made) == {"mu", "sigma"}
        assert np.array_equal(made["sigma"], found.sigma.numpy())
