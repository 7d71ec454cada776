"""A dataset's content: what is listed again after an edit, and what a dry run costs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridgepipe import artifacts, config, datasets, workflow
from bridgepipe.cli import train as verbs
from bridgepipe.data import listing
from bridgepipe.errors import UserError

START = {"cat/1.png": b"first", "cat/2.png": b"second", "dog/1.png": b"third!", "notes.txt": b"a"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in START.items():
        put(tmp_path / "in" / name, content)
    return tmp_path / "in"


def put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def later(file: Path, seconds: int = 5) -> None:
    os.utime(file, (time.time() + seconds,) * 2)


def overwrite_keeping_size_and_time(root: Path) -> None:
    file = root / "cat/1.png"
    before = file.stat()
    file.write_bytes(b"FIRST")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(root: Path) -> None:
    (root / "cat/1.png").rename(root / "x")
    (root / "dog/1.png").rename(root / "cat/1.png")
    (root / "x").rename(root / "dog/1.png")


EDITS: dict[str, Callable[[Path], object]] = {
    "overwritten": lambda root: put(root / "cat/1.png", b"other content"),
    "overwritten at the same size": lambda root: put(root / "cat/1.png", b"FIRST"),
    "overwritten at the same size and time": overwrite_keeping_size_and_time,
    "an older file put over it": lambda root: (
        put(root / "cat/1.png", b"FIRST"),
        later(root / "cat/1.png", -9999),
    ),
    "added": lambda root: put(root / "dog/2.png", b"new"),
    "removed": lambda root: (root / "cat/2.png").unlink(),
    "renamed": lambda root: (root / "cat/2.png").rename(root / "cat/3.png"),
    "moved to another class": lambda root: (root / "cat/2.png").rename(root / "dog/2.png"),
    "exchanged": swap,
    "a link put for it": lambda root: (
        (root / "cat/2.png").unlink(),
        (root / "cat/2.png").symlink_to("gone"),
    ),
    "notes": lambda root: put(root / "notes.txt", b"attributes"),
}
NOTHING: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "a new time": lambda root: later(root / "cat/1.png"),
    "a new time of the folder": lambda root: later(root),
    "other permissions": lambda root: (root / "cat/1.png").chmod(0o600),
    "written again as it was": lambda root: put(root / "cat/1.png", START["cat/1.png"]),
    "hidden files": lambda root: put(root / "cat/.cache", b"x"),
    "copied as a whole": lambda root: (
        shutil.copytree(root, f"{root}2"),
        shutil.rmtree(root),
        os.rename(f"{root}2", root),
    ),
}


@pytest.mark.parametrize("name", [*EDITS, *NOTHING])
def test_content_decides(folder, name):
    first = listing.listed([str(folder)], {})
    (EDITS | NOTHING)[name](folder)
    again = listing.listed([str(folder)], first.known)
    assert (again.summary != first.summary) == (name in EDITS)
    fresh = listing.listed([str(folder)], {})
    assert fresh.summary == again.summary  # a clone with the same files finds the same
    assert listing.listed([str(folder)], again.known) == again


def test_nothing_is_read_twice_and_a_large_source_only_where_it_changed(folder, monkeypatch):
    read: list[str] = []
    digest = listing._digest
    monkeypatch.setattr(listing, "_digest", lambda path: (read.append(path.name), digest(path))[1])
    first = listing.listed([str(folder)], {})
    assert len(read) == 4
    listing.listed([str(folder)], first.known)
    assert len(read) == 4
    monkeypatch.setattr(listing, "READ_AT_ONCE", 10)
    read.clear()
    large = listing.listed([str(folder)], {})
    assert read == []
    put(folder / "cat/2.png", b"SECOND")
    changed = listing.listed([str(folder)], large.known)
    assert read == ["2.png"]
    assert changed.summary != large.summary
    later(folder / "cat/2.png")
    assert listing.listed([str(folder)], changed.known).summary == changed.summary


def test_listing_again_takes_a_second_for_20_000_files(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "READ_AT_ONCE", 0)
    (tmp_path / "in").mkdir()
    for number in range(2000):
        os.mknod(tmp_path / f"in/{number}.png")
    first = listing.listed([str(tmp_path / "in")], {})
    artifacts.write_json(tmp_path / listing.KNOWN, first.known)
    seconds = []
    for _ in range(3):
        started = time.process_time()
        known = listing.known_of(tmp_path / listing.SUMMARY)
        assert listing.listed([str(tmp_path / "in")], known) == first
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.1  # 2,000 files


def test_links_are_listed_by_what_they_lead_to(folder, tmp_path):
    put(tmp_path / "else/3.png", b"linked")
    (folder / "cat/3.png").symlink_to(tmp_path / "else/3.png")
    (folder / "owl").symlink_to(tmp_path / "else")
    (folder / "cat/up").symlink_to("..")
    first = listing.listed([str(folder)], {})
    assert first.summary["files"] == 5
    put(tmp_path / "else/3.png", b"LINKED")
    assert listing.listed([str(folder)], first.known).summary != first.summary


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 3}', b'{"a": [1]}', b"no JSON"])
def test_a_damaged_memory_costs_reading_and_no_more(folder, tmp_path, content):
    put(tmp_path / listing.KNOWN, content)
    known = listing.known_of(tmp_path / listing.SUMMARY)
    assert known == {}


# The workflow


def pipeline(dataset: dict[str, object]) -> workflow.Pipeline:
    values = {"scale": "demo", "datasets": {"mine": dataset}, "extractors": {}, "scales": {"demo": {}}}
    return workflow.Pipeline(config.Resolved({**values, "experiments": {}}))


def summary(dataset: dict[str, object]) -> dict[str, object]:
    (file,) = pipeline(dataset).sources.listing_of("mine")
    return artifacts.read_json(file)


SOURCES = {
    "folder": ({"path": "in"}, ["a/1.png"]),
    "pairs": ({"path": "in"}, ["A/1.png", "B/1.png"]),
    "imagenet": (
        {"path": "in", "subset": "list.txt"},
        ["train/n01440764/1.JPEG", "val/1.JPEG", "../list.txt"],
    ),
    "i2sb-lmdb": (
        {"path": "in", "splits": ["val"]},
        ["val_faster_imagefolder.lmdb/data.mdb", "val_faster_imagefolder.lmdb.pt"],
    ),
    "afhq": ({"path": "in"}, ["train/cat/1.png"]),
    "celebahq": ({"path": "in"}, ["1.jpg", "CelebAMask-HQ-attribute-anno.txt"]),
    "cifar10": ({"path": "in"}, ["cifar-10-batches-py/data_batch_1"]),
    "lsun": (
        {"path": "in", "category": "tower"},
        ["tower_train_lmdb/data.mdb", "tower_val_lmdb/data.mdb"],
    ),
    "hf": ({"path": "in"}, ["data/train-00000-of-00001.parquet"]),
    "webdataset": ({"path": "in"}, ["train-000.tar"]),
    "colors": ({"image": "in/a.png"}, ["a.png"]),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_of_a_person_is_listed(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    settings, names = SOURCES[source]
    for name in names:
        put(Path("in") / name, b"before")
    first = summary({"source": source, **settings})
    assert summary({"source": source, **settings}) == first
    for name in names:
        put(Path("in") / name, b"after!")
        now = summary({"source": source, **settings})
        assert now != first, name
        first = now


def test_of_imagenet_only_the_splits_in_use_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train/n01440764/1.JPEG", "val/1.JPEG"):
        put(Path("in") / name, b"before")
    dataset = {"source": "imagenet", "path": "in", "splits": ["val"]}
    first = summary(dataset)
    put(Path("in/train/n01440764/1.JPEG"), b"after")
    assert summary(dataset) == first
    assert first["files"] == 1


def test_what_is_embedded_or_fetched_has_no_listing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pipeline({"source": "digits"}).sources.listing_of("mine") == []
    put(tmp_path / "data/raw/afhq.zip", b"")
    assert pipeline({"source": "afhq"}).sources.listing_of("mine") == []
    archive, seen = pipeline({"source": "afhq"}).sources.source_of("mine")
    assert archive == "data/raw/afhq.zip"
    assert artifacts.read_json(seen)["paths"] == [archive]


# single files: what is replaced by an older file has another content and no newer time
WATCHED = {
    "archive": lambda: pipeline({"source": "afhq"}).sources.source_of("mine"),
    "weights": lambda: pipeline({"source": "afhq"}).sources.watched("data/raw/afhq.zip"),
    "masks": lambda: pipeline({"source": "afhq"}).sources.mask_files("i2sb/a"),
    "start": lambda: pipeline({"source": "afhq"}).sources.start_files("i2sb/a"),
}


@pytest.mark.parametrize("what", WATCHED)
def test_a_file_that_is_replaced_by_an_older_one_is_noticed(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    named = {"mask_file": "data/raw/afhq.zip"}
    monkeypatch.setattr(workflow.sources.Sources, "_named_files", lambda *_: named)
    file, read = Path("data/raw/afhq.zip"), WATCHED[what]
    assert read() == [str(file)]  # not fetched yet
    put(file, b"before")
    later(file, -1000)
    told, seen = read()
    assert told == str(file)
    assert Path(seen).stat().st_mtime_ns == file.stat().st_mtime_ns  # nothing is stale by looking at it
    finished = time.time()
    later(file, -500)
    assert read() == [told, seen]
    assert Path(seen).stat().st_mtime < finished  # another time, the same content
    put(file, b"after!")
    later(file, -2000)
    assert read() == [told, seen]
    assert Path(seen).stat().st_mtime >= finished - 1
    os.remove(file)
    put(file, b"inode!")
    later(file, -2000)
    before = artifacts.read_json(seen)
    read()
    assert artifacts.read_json(seen) != before


def test_a_job_writes_no_listing_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(Path("a.pt"), b"a")
    values = pipeline({"source": "afhq"}).resolved
    told = workflow.Pipeline(values, plans=False).sources
    assert told.watched("a.pt") == ["a.pt"]
    assert pipeline({"source": "afhq"}).sources.watched("a.pt") == told.watched("a.pt")


@pytest.mark.parametrize("path", [".", "data", "data/prepared", "data/prepared/mine/.."])
def test_a_folder_that_holds_its_own_stores_is_refused(tmp_path, monkeypatch, capsys, path):
    monkeypatch.chdir(tmp_path)
    Path("data/prepared/mine").mkdir(parents=True)
    with pytest.raises(SystemExit):
        pipeline({"source": "folder", "path": path}).sources.listing_of("mine")
    assert "dataset 'mine' is a folder with" in capsys.readouterr().err


@pytest.mark.parametrize("litter", [[], [".hidden"], ["lost+found"], ["Thumbs.db"]])
def test_the_empty_folder_of_an_unmounted_disk_stops_a_dry_run(tmp_path, monkeypatch, capsys, litter):
    """Preparation would run again, and Snakemake removes the stores before it begins."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "in/1.png", b"x")
    dataset = {"source": "folder", "path": "in"}
    first = summary(dataset)
    Path("in/1.png").unlink()
    for name in litter:
        put(tmp_path / "in" / name, b"x")
    with pytest.raises(SystemExit):
        pipeline(dataset).sources.listing_of("mine")
    assert "dataset 'mine' is an empty folder" in capsys.readouterr().err
    put(tmp_path / "in/1.png", b"x")
    assert summary(dataset) == first


def test_an_unlisted_dataset_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "in/1.png", b"x")
    monkeypatch.setattr(listing, "walk", lambda root: pytest.fail("nobody asked for it"))
    pipeline({"source": "folder", "path": "in"}).outcomes.results()


# Preparation reads what was listed


def test_prepare_refuses_what_changed_since_it_was_listed(tmp_path, monkeypatch):
    from test_datasets import fill

    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "in", 20)
    dataset = {"source": "folder", "path": "in", "size": 8}
    (file,) = pipeline(dataset).sources.listing_of("mine")
    artifacts.write_json("config.json", dataset)
    verbs.prepare(Path("config.json"), Path("one"), Path(file))
    later(Path("in/001.png"))
    verbs.prepare(Path("config.json"), Path("two"), Path(file))
    assert Path("one/train.lmdb").read_bytes() == Path("two/train.lmdb").read_bytes()
    put(Path("in/001.png"), Path("in/002.png").read_bytes())
    put(Path("in/new.png"), Path("in/002.png").read_bytes())
    with pytest.raises(UserError, match=r"2 files changed after they were listed: 001\.png, new\.png"):
        verbs.prepare(Path("config.json"), Path("three"), Path(file))
    assert not Path("three").exists()
    (file,) = pipeline(dataset).sources.listing_of("mine")
    monkeypatch.setattr(datasets, "prepare", lambda **_: put(Path("in/003.png"), b"while it was at work"))
    with pytest.raises(UserError, match=r"1 files changed after they were listed: 003\.png"):
        verbs.prepare(Path("config.json"), Path("three"), Path(file))
