"""Pictures: right pixels, and the same bytes twice. Tables: CSV exact, Markdown readable."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from bridgepipe import config
from bridgepipe.cli.report import study_table
from bridgepipe.config import read_yaml
from bridgepipe.config.recipe import Recipe
from bridgepipe.figures import canvas
from bridgepipe.figures import images as figures
from bridgepipe.figures import points as figures_points
from bridgepipe.stages.studies import seeds_of
from bridgepipe.workflow import Pipeline

ROOT = Path(__file__).parents[2]

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
GREY = rng.integers(0, 256, (3, 28, 24, 1), dtype=np.uint8)
PHOTO = rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)
COLOURS = rng.integers(0, 256, (5000, 3), dtype=np.uint8)
POINTS = rng.normal(size=(500, 2))
CALLS = figures.table(
    [
        {"sampler": s, "nfe": n, "fid": 9 + 300 / n, "psnr": 20 + n / 100}
        for s in ("ancestral", "implicit")
        for n in (1, 10, 100)
    ]
)
DRAW = {
    "comparison": lambda p: figures.comparison_grid(p, {"a": IMAGES, "b": IMAGES}, {"b": [1, 2, 3]}, "Title"),
    "samples": lambda p: figures.sample_grid(p, GREY, 2),
    "path": lambda p: figures.path_grid(p, IMAGES[:1], IMAGES[None], IMAGES[None], [0, 500, 999]),
    "loss": lambda p: figures.loss_curve(p, range(1, 101), np.exp(rng.normal(size=100) * 0 - 1)),
    "quality": lambda p: figures.quality_against_calls(p, CALLS, "Title"),
    "spectrum": lambda p: figures.spectrum_fit(p, [0, 1, 2, 4], [9, 3, 1, 0.2], [8, 2, 1, 0.3]),
    "spectra": lambda p: figures.spectrum_fit(
        p, [0, 1, 2, 4], [9, 3, 1, 0.2], [8, 2, 1, 0.3], "Title", [([1, 2], [4, 1]), ([1, 2], [2, 1])]
    ),
    "scatter": lambda p: figures_points.scatter_map(p, {"source": POINTS, "target": -POINTS}, "Title"),
    "heat": lambda p: figures_points.heatmap(p, {"source": POINTS, "target": POINTS[:50]}),
    "rows of heat": lambda p: figures_points.heatmap(
        p, dict.fromkeys("abcde", POINTS), "Title", 20, columns=3
    ),
    "truth": lambda p: figures_points.samples_and_truth(p, POINTS, POINTS[:300] + 1, "Title"),
    "transfer": lambda p: figures_points.color_transfer(
        p,
        [{"Photograph": IMAGES[0], "DDIB": IMAGES[1]}, {"Photograph": PHOTO, "DDIB": PHOTO}],
        {"DDIB": "ab"},
    ),
    "cloud": lambda p: figures_points.color_clouds(p, {"a": IMAGES.reshape(-1, 3), "b": COLOURS}, "lab"),
}


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_is_drawn_and_has_the_same_bytes_twice(name, tmp_path):
    first, second = tmp_path / "new folder" / "1.png", tmp_path / "2.png"
    DRAW[name](first)
    DRAW[name](second)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG")
    assert b"Software" not in first.read_bytes()[:300]
    assert pixels(first).std() > 5
    assert [p.name for p in first.parent.iterdir()] == ["1.png"]


def test_drawing_leaves_the_style_alone_and_uses_no_global_figure(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    matplotlib.rcParams["font.size"] = 30
    try:
        DRAW["loss"](tmp_path / "large.png")
        assert matplotlib.rcParams["font.size"] == 30
    finally:
        matplotlib.rcParams.update(before)
    DRAW["loss"](tmp_path / "usual.png")
    assert (tmp_path / "large.png").read_bytes() == (tmp_path / "usual.png").read_bytes()


def test_images_are_enlarged_by_a_whole_factor_without_resampling(tmp_path):
    figures.sample_grid(tmp_path / "s.png", IMAGES[:1], 1)
    shown, scale = pixels(tmp_path / "s.png"), -(-canvas.CELL // 32)
    enlarged = IMAGES[0].repeat(scale, 0).repeat(scale, 1)
    top = 2 * canvas.GAP
    assert np.array_equal(shown[top : top + 32 * scale, canvas.GAP : canvas.GAP + 32 * scale], enlarged)


def test_images_that_are_large_keep_their_size(tmp_path):
    large = rng.integers(0, 256, (1, 200, 256, 3), dtype=np.uint8)
    figures.sample_grid(tmp_path / "s.png", large)
    top, left = 2 * canvas.GAP, canvas.GAP
    assert np.array_equal(pixels(tmp_path / "s.png")[top : top + 200, left : left + 256], large[0])


def test_the_path_runs_from_the_largest_step_to_the_smallest(tmp_path):
    levels = np.array([10, 120, 250], dtype=np.uint8)
    xs = np.broadcast_to(levels[None, :, None, None, None], (1, 3, 8, 8, 1))
    figures.path_grid(tmp_path / "up.png", xs[:, 0], xs, xs, [0, 500, 999])
    figures.path_grid(tmp_path / "down.png", xs[:, 0], xs[:, ::-1], xs[:, ::-1], [999, 500, 0])
    assert (tmp_path / "up.png").read_bytes() == (tmp_path / "down.png").read_bytes()
    row = pixels(tmp_path / "up.png")[130, :, 0]
    order = [level for level in dict.fromkeys(row.tolist()) if level in levels]
    assert order == [10, 250, 120]  # x_1, then n = 999, 500 (and n = 0 again as dark as x_1)


def test_long_headings_are_broken_into_even_lines():
    assert canvas._wrapped("Corrupted (JPEG 5)", 200) == "Corrupted\n(JPEG 5)"
    assert canvas._wrapped("Original", 200) == "Original"
    assert canvas._wrapped("$n = 999 + 999 + 999 + 999$", 50) == "$n = 999 + 999 + 999 + 999$"
    assert canvas._wrapped("", 200) == ""


def test_columns_of_different_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="different lengths"):
        figures.comparison_grid(tmp_path / "c.png", {"a": IMAGES, "b": IMAGES[:2]})
    assert not (tmp_path / "c.png").exists()


def test_rows_of_different_headings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="different headings"):
        figures_points.color_transfer(tmp_path / "t.png", [{"a": PHOTO}, {"b": PHOTO}])


@pytest.mark.parametrize("frame", [CALLS[["sampler", "nfe"]], CALLS[["nfe", "fid"]]])
def test_a_table_without_sampler_or_metric_is_refused(tmp_path, frame):
    with pytest.raises(ValueError, match="columns must be"):
        figures.quality_against_calls(tmp_path / "q.png", frame)


def test_studies_of_samplers_of_one_name_stay_apart(tmp_path):
    parts = []
    for name, other in (("jpeg-5", "a"), ("blur-uni", "b")):
        part = tmp_path / name / "nfe.csv"
        part.parent.mkdir()
        rows = pd.DataFrame({"sampler": ["ancestral", other], "nfe": [5, 5], "n": [8, 8], "FID": [1.0, 2.0]})
        rows.to_csv(part, index=False)
        parts.append(part)
    csv = tmp_path / "nfe.csv"
    study_table(parts, csv, tmp_path / "nfe.md", tmp_path / "nfe.png", "Restoration")
    expected = ["jpeg-5, ancestral", "a", "blur-uni, ancestral", "b"]
    assert pd.read_csv(csv)["sampler"].tolist() == expected


def test_captions_of_studies_name_the_seeds_and_numbers_of_their_curves():
    values = read_yaml(ROOT / "params.yaml")
    values["experiments"]["spd"]["ddim"]["study"]["count"] = 77
    values["scales"]["demo"]["spd"]["sample"]["seed"] = 5
    values["experiments"]["model"]["ddpm"] = {"train": {"seeds": [3, 1, 2]}}
    about = Pipeline(config.Resolved(values)).outcomes.about_studies("spd")
    assert "spd/ddim: 77 images a point, noise of seed 5, network trained with seed 3" in about
    assert "spd/spd: 359 images a point, noise of seed 5, network trained with seed 0" in about
    caption = (ROOT / "workflow/report/nfe.rst").read_text()
    assert caption.count("{{ snakemake.params.about }}") == 2  # of restorations, and of samples
    assert not re.search(r"\d", caption.replace('"i2sb"', ""))


def test_missing_values_are_skipped(tmp_path):
    frame = CALLS.copy()
    frame.loc[0, "fid"] = np.nan
    frame["ssim"] = np.nan
    figures.quality_against_calls(tmp_path / "q.png", frame)
    assert (tmp_path / "q.png").exists()


def test_studies_of_different_numbers_of_images_do_not_share_a_column(tmp_path):
    for n in (128, 256):
        study = CALLS.assign(
            n=n, **{"accuracy %": 97.0, "low of accuracy %": 93.0, "high of accuracy %": 99.0}
        )
        study.to_csv(tmp_path / f"{n}.csv", index=False)
    parts = [tmp_path / "128.csv", tmp_path / "256.csv"]
    study_table(parts, tmp_path / "t.csv", tmp_path / "t.md", tmp_path / "t.png")
    joined = pd.read_csv(tmp_path / "t.csv")
    assert {"fid (n 128)", "fid (n 256)", "low of accuracy % (n 128)"} <= set(joined)
    assert joined["fid (n 128)"].notna().tolist() == [True] * 6 + [False] * 6
    assert joined["fid (n 256)"].notna().tolist() == [False] * 6 + [True] * 6
    study_table(parts[:1], tmp_path / "t.csv", tmp_path / "t.md", tmp_path / "t.png")
    assert pd.read_csv(tmp_path / "t.csv")["n"].tolist() == [128] * 6


def test_every_curve_of_a_study_tells_its_seeds():
    assert figures._seeds(CALLS) == ""
    told = CALLS.assign(**{"noise seed": 5, "network seed": [0, 0, 0, 1, 1, np.nan]})
    seeds = {sampler: figures._seeds(rows) for sampler, rows in told.groupby("sampler", sort=False)}
    assert seeds == {
        "ancestral": "noise seed 5, network seed 0",
        "implicit": "noise seed 5, network seed 1",
    }


def test_seeds_of_a_study_are_those_that_it_was_made_with():
    trained = Recipe(steps=1, seed=3)
    assert seeds_of(5, trained) == {"noise seed": 5, "network seed": 3}
    published = Recipe(steps=1, seed=3, published="i2sb/jpeg-5")
    assert seeds_of(5, published) == {"noise seed": 5, "network seed": None}


def test_points_near_each_other_have_colours_near_each_other():
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21)), -1).reshape(-1, 2)
    colours = figures_points._colours_of(grid).reshape(21, 21, 3)
    assert colours.min() >= 0
    assert colours.max() <= 1
    assert np.abs(np.diff(colours, axis=1)).max() < 0.2
    corners = colours[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert min(np.abs(a - b).max() for i, a in enumerate(corners) for b in corners[:i]) > 0.3


def test_one_point_can_be_drawn(tmp_path):
    figures.loss_curve(tmp_path / "l.png", [1], [0.5])
    figures.quality_against_calls(tmp_path / "q.png", CALLS[:1])
    figures_points.scatter_map(tmp_path / "s.png", {"a": np.ones((1, 2))})
    figures_points.heatmap(tmp_path / "h.png", {"a": np.ones((1, 2))})
    figures_points.samples_and_truth(tmp_path / "t.png", np.ones((1, 2)), np.zeros((1, 2)))
    figures_points.color_clouds(tmp_path / "c.png", {"a": np.ones((1, 3))})


def test_a_table_keeps_the_order_in_which_columns_appear():
    frame = figures.table([{"name": "a", "fid": 1.5}, {"name": "b", "accuracy": 0.9, "fid": 2.0}])
    assert list(frame.columns) == ["name", "fid", "accuracy"]
    assert frame["accuracy"].isna().tolist() == [True, False]
    assert list(figures.table([]).columns) == []


def test_a_table_is_written_exactly_as_csv_and_readably_as_markdown(tmp_path):
    frame = figures.table(
        [
            {
                "name": "a|b",
                "nfe": 100,
                "fid": 1 / 3 + 3,
                "error": 7.123e-6,
                "accuracy": 0.67891,
                "steps": 5.0,
            },
            {"name": "c", "nfe": 5, "fid": 266.754, "error": 0.2213, "steps": None},
        ]
    )
    figures.write_table(tmp_path / "t.csv", tmp_path / "t.md", frame)
    again = pd.read_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(again, frame, check_exact=True, check_dtype=False)
    assert (tmp_path / "t.md").read_text() == (
        "| name | nfe | fid | error | accuracy | steps |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| a\\|b | 100 | 3.33 | 7.12e-06 | 0.679 | 5 |\n"
        "| c | 5 | 266.75 | 2.21e-01 | — | — |\n"
    )


def test_neither_legend_nor_labels_of_a_loss_touch_what_is_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    @contextmanager
    def keeping(*how: Any) -> Iterator[Figure]:
        with canvas.canvas(*how) as figure:
            yield figure
        drawn.append(figure)

    monkeypatch.setattr("bridgepipe.figures.images.canvas", keeping)
    found = pd.DataFrame({"step": [1, 9], "loss": [0.5, 0.4], "psnr": [20, 21], "fid": [0.00312, 0.00105]})
    figures.loss_curve(tmp_path / "l.png", range(1, 10), [0.5] * 9, "i2sb/jpeg-5", found)
    [figure] = drawn
    panels = [axes.get_tightbbox() for axes in figure.axes]
    [legend] = [legend.get_window_extent() for legend in figure.legends]
    assert not any(legend.overlaps(panel) for panel in panels)
    assert all(right.x0 - left.x1 > 0.1 * figure.dpi for left, right in itertools.pairwise(panels))
