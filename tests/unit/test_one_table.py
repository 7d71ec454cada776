"""The one table: what stands in one row, under one heading, in bold, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_comparable import as_published

from bridgepipe import artifacts
from bridgepipe.evaluation import one_table, protocol
from bridgepipe.evaluation.measures import MEASURES, decimals
from bridgepipe.evaluation.one_table import Block


def fid(value: float, n: int = 400, reference: str = "train", **more: float) -> dict[str, Any]:
    values = {"fid": value, "fid_low": value - 0.4, "fid_high": value + 0.4, "fid_real": 1.0, **more}
    described = protocol.protocol(
        "fid", n=n, settings={"reference": reference}, inputs={"reference": reference}
    )
    return dict(protocol.metric(values, described, {"settings": {"sample": {"nfe": 10}}}))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three experiments of one protocol, one of another, one of few images."""
    metrics = {
        "a": fid(3.0, fid_corrupted=9.0),
        "b": fid(2.25),
        "c": fid(1.25),
        "other": fid(0.5, reference="test"),
        "small": fid(4.0, n=40),
    }
    found = [tmp_path / f"results/i2sb/{name}/fid.json" for name in metrics]
    for file, metric in zip(found, metrics.values(), strict=True):
        artifacts.write_json(file, metric)
    return found


def blocks(files: list[Path]) -> list[Block]:
    return one_table.blocks(one_table.read(files))


def test_only_one_protocol_stands_under_a_heading_and_its_best_is_bold(files: list[Path]) -> None:
    found = blocks(files)
    assert [len(block.readings) for block in found] == [3, 1, 1]
    assert [block.best for block in found] == [{"i2sb/c"}, set(), set()]
    assert all(len({reading.protocol for reading in block.readings}) == 1 for block in found)
    text = one_table.markdown(found)
    assert text.count("## FID ↓") == 3
    assert text.count("**") == 2
    assert "| i2sb/c | 10 | **1.25** | 0.85 to 1.65 | 1.00 | — | 400 |" in text
    assert "| i2sb/a | 10 | 3.00 | 2.60 to 3.40 | 1.00 | 9.00 | 400 |" in text


def test_restorations_of_one_corruption_alone_are_compared(tmp_path: Path) -> None:
    """The least damaged image is not the best restored one."""
    found = {"blur": ("blur-gauss", 32.5), "noise": ("noise-gauss", 25.0), "noise-ode": ("noise-gauss", 26.0)}
    files = [tmp_path / f"results/i2sb/{name}/restoration.json" for name in found]
    described = protocol.protocol("psnr", n=400, settings={}, inputs={"originals": "one"})
    for file, (corruption, psnr) in zip(files, found.values(), strict=True):
        made_with = {"settings": {"corruption": corruption}, "data": "one"}
        artifacts.write_json(file, protocol.metric({"psnr": psnr}, described, made_with))
    assert [block.best for block in blocks(files)] == [set(), {"i2sb/noise-ode"}]
    assert [block.about.split("; ")[0] for block in blocks(files)] == [
        "restored from blur-gauss",
        "restored from noise-gauss",
    ]
    assert len({reading.protocol for reading in one_table.read(files)}) == 1


def restored(folder: Path, psnr: float, gain: float, seed: int | None = None) -> Path:
    """The metric file of a restoration whose input has 26 dB; the gain is known to half a decibel."""
    values = {"psnr": psnr, "psnr_low": psnr - 1, "psnr_high": psnr + 1, "psnr_corrupted": 26.0}
    values |= {"psnr_gain": gain, "psnr_gain_low": gain - 0.5, "psnr_gain_high": gain + 0.5}
    described = protocol.protocol("psnr", n=400, settings={}, inputs={"originals": "one"})
    settings = {"sample": {"nfe": 5}, "train": {"seed": seed or 0}}
    file = folder / f"restoration{'' if seed is None else f'.seed-{seed}'}/restoration.json"
    artifacts.write_json(file, protocol.metric(values, described, {"settings": settings}))
    return file


@pytest.mark.parametrize(
    ("gain", "cell", "note"),
    [(0.6, "26.0", ""), (0.4, "26.0 (alike)", "alike"), (-0.4, "26.0 (alike)", "alike"),
     (-0.6, "26.0 (better)", "better")],
)  # fmt: skip
def test_a_restoration_that_is_not_better_than_its_input_says_so(
    tmp_path: Path, gain: float, cell: str, note: str
) -> None:
    found = blocks([restored(tmp_path / "results/i2sb", 26 + gain, gain)])
    assert [row["input"] for block in found for row in block.rows()] == [cell]
    said = {name for name in ("better", "alike") if one_table.NOTES[name] in one_table.notes_of(found)}
    assert said == ({note} if note else set())


def test_of_several_seeds_the_interval_of_their_mean_decides(tmp_path: Path) -> None:
    """The seeds restore the same images, so that the input is one number for all."""
    psnr = (26.3, 26.35, 26.4)  # each by itself within half a decibel of the input
    files = [
        restored(tmp_path / "results/i2sb", value, value - 26, seed or None)
        for seed, value in enumerate(psnr)
    ]
    (block,) = blocks(files)
    (reading,) = block.readings
    assert (len(reading.members), reading.like_input, reading.worse_than_input) == (3, False, False)
    assert all(member.like_input for member in reading.members)
    assert reading.gain == pytest.approx((0.35 - 0.1242, 0.35 + 0.1242), abs=1e-3)


def test_few_images_are_said_to_be_few(files: list[Path]) -> None:
    assert "40 (few)" in one_table.markdown(blocks(files))
    assert one_table.FEW_IMAGES in one_table.notes_of(blocks(files))
    assert one_table.FEW_IMAGES not in one_table.notes_of(blocks(files[:3]))


def test_a_value_whose_interval_reaches_the_floor_is_like_real_images(files: list[Path]) -> None:
    assert [reading.like_real for reading in one_table.read(files)] == [False, False, True, True, False]


def test_a_published_number_stands_only_beside_one_of_its_protocol(tmp_path: Path) -> None:
    file = tmp_path / "results/i2sb/jpeg-5/fid.json"
    same = as_published()
    artifacts.write_json(file, same)
    assert [r.published for r in one_table.read([file]) if r.measure.key == "fid"] == [4.6]
    same["made_with"]["settings"]["sample"]["nfe"] = 10
    artifacts.write_json(file, same)
    assert [r.published for r in one_table.read([file]) if r.measure.key == "fid"] == [None]


def test_a_terminal_shows_eight_columns_at_most(files: list[Path]) -> None:
    assert len(one_table.COLUMNS) == 8
    plain, styled = (one_table.terminal(blocks(files), bold) for bold in (False, True))
    assert "1.25*" in plain
    assert "\033" not in plain
    assert "\033[1m 1.25 \033[0m" in styled or "\033[1m1.25 \033[0m" in styled
    rows = [line for line in plain.splitlines() if line.startswith("  i2sb/")]
    assert len(rows) == 5


def test_csv_has_every_digit(files: list[Path], tmp_path: Path) -> None:
    one_table.write_csv(tmp_path / "summary.csv", blocks(files))
    rows = pd.read_csv(tmp_path / "summary.csv").set_index("experiment")
    assert rows.loc["i2sb/b", "value"] == 2.25
    assert rows.loc["i2sb/c", "best"]
    assert rows.loc["i2sb/small", "few"]
    assert rows["nfe"].tolist() == [10] * 5


def test_parts_of_a_metric_file_are_rows_and_their_points_may_differ(tmp_path: Path) -> None:
    files = []
    for pair in ("a-b", "b-a"):
        described = protocol.protocol(
            "cycle", n=1000, settings={"source": pair[0], "target": pair[2]}, inputs={"data": pair}
        )
        values = {"ddim: mean": 0.02, "obelm: mean": 0.01, "ddim: calls": 40, "obelm: calls": 20}
        files.append(tmp_path / f"results/ddib/points/{pair}/cycle.json")
        artifacts.write_json(files[-1], protocol.metric(values, described))
    (block,) = blocks(files)
    assert [row["experiment"] for row in block.rows()] == [
        f"ddib/points/{pair} {solver}" for pair in ("a-b", "b-a") for solver in ("ddim", "obelm")
    ]
    assert block.best == {"ddib/points/a-b obelm", "ddib/points/b-a obelm"}
    assert block.about == "each on its own points"
    assert [row["NFE"] for row in block.rows()] == ["40", "20"] * 2


def test_decimals_follow_the_interval(files: list[Path]) -> None:
    assert {decimals(reading) for reading in one_table.read(files)} == {2}
    assert len({(m.metric, m.key) for m in MEASURES}) == len(MEASURES)
