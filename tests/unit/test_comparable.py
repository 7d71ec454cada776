"""Published numbers: beside ours only what was measured alike, and weights that are what they are called."""

from __future__ import annotations

import copy
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bridgepipe import artifacts
from bridgepipe.datasets.items import Item, listing
from bridgepipe.downloads import fetch, sources
from bridgepipe.errors import UserError
from bridgepipe.evaluation import extractors, published_table, summary
from bridgepipe.evaluation.accuracy import Share
from bridgepipe.evaluation.protocol import TRUNCATION, Estimate, errors
from bridgepipe.evaluation.published_numbers import load_published
from bridgepipe.names import QUANTISATION, ilsvrc

VAL = {"source": "imagenet", "size": [256, 256], "crop": "torchvision", "split": "val"}


@cache
def published_listing() -> str:
    """Digest of all validation images as a store of them tells it."""
    wnids = [ilsvrc.classes()[label] for label in ilsvrc.validation_labels()]
    names = sorted(f"{wnid}/ILSVRC2012_val_{k:08d}.JPEG" for k, wnid in enumerate(wnids, 1))
    number = {wnid: k for k, wnid in enumerate(ilsvrc.classes())}
    return listing([Item(name, tuple, number[name[:9]]) for name in names])


def as_published() -> dict[str, Any]:
    """A fid.json of jpeg-5 that was measured as the paper did."""
    numbers = {(n.experiment, n.metric, n.nfe): n for n in load_published()}
    ten = numbers["jpeg-5", "fid", 999].same["split"]["listing"]
    extractor = {
        "name": "inception-2015-12-05 legacy_pytorch",
        "digest": "0123456789abcdef",
        "resize": extractors.INCEPTION_INPUT["legacy_pytorch"],
        "sha256": sources.load_sources()["extractor/inception"].sha256,
    }
    origin = {"name": "imagenet256/val", **VAL, "listing": published_listing()}
    return {
        "values": {"fid": 4.7},
        "protocol": {
            "n": 10000,
            "extractor": extractor,
            "reference": {"name": "val", "digest": "ab", "origin": origin},
            "quantisation": TRUNCATION,
        },
        "protocol_hash": "0" * 16,
        "made_with": {
            "settings": {"dataset": "imagenet256", "sample": {"nfe": 999}},
            "origin": {"name": "imagenet256-10k/val", **VAL, "listing": ten},
        },
    }


def same(folder: Path, metric: dict[str, Any], experiment: str = "i2sb/jpeg-5") -> str:
    """What the table of published numbers says of ours; ``yes`` where the number stands beside ours."""
    file = folder / "results" / experiment / "fid.json"
    artifacts.write_json(file, metric)
    beside = [name for name in summary.collect([file]) if str(name).startswith("FID pub.")]
    told = [sentence for place in published_table.read([file]) for sentence in place.differs]
    assert len(told) + len(beside) == 1
    return told[0].removeprefix(f"Ours ({experiment}): ") if told else "yes"


def test_what_was_measured_as_published(tmp_path: Path) -> None:
    assert same(tmp_path, as_published()) == "yes"


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("made_with", "settings", "sample", "nfe"), 10, "nfe 10 (published 999)"),
        (("protocol", "n"), 9999, "n 9999 (published 10000)"),
        (("protocol", "extractor", "sha256"), "f" * 64, "extractor inception-2015-12-05 legacy_pytorch"),
        (("protocol", "extractor", "resize"), "antialiased", "resize antialiased (published bilinear"),
        (("protocol", "quantisation"), "rounded", "quantisation rounded (published uint8 by truncation"),
        (("protocol", "reference", "origin", "split"), "train", "reference imagenet256/val (published"),
        (("protocol", "reference", "origin", "listing"), "0", "reference imagenet256/val (published"),
        (("made_with", "origin", "source"), "digits", "dataset imagenet256-10k/val (published imagenet)"),
        (("made_with", "origin", "size"), [64, 64], "dataset imagenet256-10k/val (published imagenet)"),
        (("made_with", "origin", "listing"), "0", "split imagenet256-10k/val (published val)"),
        (("made_with", "origin"), None, "unknown: dataset, split"),
        (("protocol", "reference"), {"name": "val"}, "unknown: reference"),
        (("protocol", "extractor"), None, "unknown: extractor, resize"),
    ],
)
def test_one_entry_that_differs(tmp_path: Path, place: tuple[str, ...], value: Any, said: str) -> None:
    metric = as_published()
    inner = metric
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    found = same(tmp_path, metric)
    assert found.startswith(said)
    assert ";" not in found  # nothing else


def test_how_pixels_were_stored_stands_beside_the_values(tmp_path: Path) -> None:
    for variant, word in (("published", "truncated"), ("exact", "rounded")):
        metric = as_published()
        metric["protocol"]["quantisation"] = QUANTISATION[variant]
        file = tmp_path / "results/i2sb/jpeg-5/fid.json"
        artifacts.write_json(file, metric)
        table = summary.collect([file])
        assert table.loc[0, "8 bits"] == word
        assert any("54 dB" in note for note in summary.notes_of(table))


def test_a_doctored_file(tmp_path: Path) -> None:
    """The name and the number of images of the published protocol, and nothing else of it."""
    extractor = {"name": "inception-2015-12-05 legacy_pytorch", "digest": "0", "resize": "?"}
    metric = {
        "values": {"fid": 1.0},
        "protocol": {"n": 10000, "extractor": extractor, "reference": {"name": "test", "digest": "x"}},
        "protocol_hash": "0" * 16,
        "made_with": {"settings": {"dataset": "digits", "sample": {"nfe": 2}}},
    }
    found = same(tmp_path, metric)
    assert found.startswith(
        "nfe 2 (published 999), extractor inception-2015-12-05 legacy_pytorch (published "
    )
    assert found.endswith("; unknown: dataset, split, reference, quantisation")


def test_a_number_whose_protocol_is_not_all_written_is_never_the_same(tmp_path: Path) -> None:
    """The CIFAR-10 numbers don't say how samples became 8 bits; ours are resized in another way."""
    metric = copy.deepcopy(as_published())
    metric["protocol"] |= {
        "n": 50000,
        "reference": {
            "name": "train",
            "digest": "d",
            "origin": {"name": "cifar10/train", "source": "cifar10", "size": [32, 32], "split": "train"},
        },
    }
    settings = {"method": "spd", "dataset": "cifar10", "sample": {"nfe": 100, "sampler": "ddim"}}
    settings["process"] = {"schedule": "linear", "variance": "fixed_large"}
    metric["made_with"] = {"settings": settings, "data": "d"}
    found = same(tmp_path, metric, "spd/ddim")
    assert found.startswith("resize bilinear to 299 without antialias")
    assert found.endswith("; unknown: quantisation")
    metric["made_with"]["data"] = "another training set"
    assert "unknown: dataset, split" in same(tmp_path, metric, "spd/ddim")


def test_an_exact_cycle_is_not_nothing_where_numbers_are_rounded() -> None:
    found = errors([0.3e-9, 0.39e-9, 2.1e-9])
    assert (round(found["mean"] or 0, 5), round(found["log10_mean"] or 0, 5)) == (0.0, -9.03152)
    assert found["log10_max"] == pytest.approx(-8.67778, abs=1e-5)
    assert (found["mean_low"], found["mean_high"]) == (0, pytest.approx(2.0771e-9, rel=1e-4))
    assert errors([0.0]) == {"mean": 0.0, "max": 0.0, "log10_mean": None, "log10_max": None}


def test_the_digest_of_a_file_is_kept_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "inception.pth"
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert fetch.cached_digest(file) == digest
    monkeypatch.setattr(fetch, "digest_file", lambda path: pytest.fail("hashed again"))
    assert fetch.cached_digest(file) == digest
    monkeypatch.undo()
    file.write_bytes(b"others!")
    assert fetch.cached_digest(file) == hashlib.sha256(b"others!").hexdigest()
    (tmp_path / ".inception.pth.sha256.json").write_text("[]")
    assert fetch.cached_digest(file) == hashlib.sha256(b"others!").hexdigest()


@pytest.mark.parametrize("name", ["adm/256x256_diffusion_uncond", "extractor/resnet50", "sdedit/church"])
def test_a_file_in_the_place_of_published_weights(tmp_path: Path, name: str) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"not these")
    with pytest.raises(UserError, match=rf"not the {name} that was expected"):
        fetch.check(name, file)


def test_a_source_is_known_by_its_place() -> None:
    assert (
        sources.source_at("data/checkpoints/adm/256x256_diffusion_uncond.pt")
        == "adm/256x256_diffusion_uncond"
    )
    assert sources.source_at("mine/256x256_diffusion_uncond.pt") is None


def test_the_table_of_edits_tells_how_it_is_read(tmp_path: Path) -> None:
    """What flips stands beside what no move flips, and a FID beside its floor, each with its interval."""
    values = Share(62, 64).values("flipped") | Share(0, 64).values("baseline_flipped") | {"best_distance": 20}
    for name, fid in (("fid_with", 25.1), ("fid_with_real", 6.9)):
        values |= Estimate(fid, 2.0).values(name)
    file = tmp_path / "results/boundary/loop/edit.json"
    artifacts.write_json(file, as_published() | {"values": values | {"fid_with_n": 31}})
    table = summary.collect([file])
    row = table.loc[0]
    assert (row["flipped 95 %"], row["no move 95 %"]) == ("89.3 to 99.1, n 64", "0.0 to 5.7, n 64")
    assert (row["FID with 95 %"], row["FID with, real 95 %"]) == ("21.2 to 29.0", "3.0 to 10.8")
    assert row["FID with, n"] == 31
    notes = " ".join(summary.notes_of(table))
    for told in ("95 %: interval", "chosen on one half", "flips by itself", "as many (n) real images"):
        assert told in notes


def test_shares_stand_beside_their_interval_and_number(tmp_path: Path) -> None:
    metric = as_published() | {"values": Share(34, 37).values("accuracy") | {"t": 480}}
    file = tmp_path / "results/ddib/classes/3-8/accuracy.json"
    artifacts.write_json(file, metric)
    row = summary.collect([file]).loc[0]
    assert row["acc. %"] == pytest.approx(91.89, abs=0.01)
    assert row["acc. 95 %"] == "78.7 to 97.2, n 37"
    assert not [name for name in row.index if name.startswith("t ")]
    assert [note[:5] for note in summary.notes_of(summary.collect([file]))] == ["Numbe", "95 %:", "8 bit"]
    artifacts.write_json(file, metric | {"values": Share(0, 0).values("accuracy")})
    assert "acc. %" not in summary.collect([file])
