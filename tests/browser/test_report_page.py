"""Snakemake's report in a browser: without a network it shows our figures, and looks like a page."""

from __future__ import annotations

import re
from pathlib import Path

import chromium
import numpy as np
from PIL import Image

EXPERIMENT = "results/i2sb/jpeg-5"


def links(page: str) -> list[str]:
    """Words of the entries of the menu."""
    return re.findall(r"<span>([^<]+)</span></a>", page)


def cells(page: str) -> list[str]:
    return re.findall(r"<td[^>]*>([^<]+)</td>", page)


def pixels(picture: Path) -> np.ndarray:
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB"))


def colours(picture: Path) -> int:
    return len(np.unique(pixels(picture).reshape(-1, 3), axis=0))


def test_the_menu_lists_our_categories(report: Path) -> None:
    page = chromium.document(report)
    assert links(page) == ["Workflow", "Statistics", "About", "I2SB", "Tables", "Training"]
    assert "Diffusion bridges, from raw images to tables" in page


def test_a_category_lists_its_files(report: Path) -> None:
    figures = [f"{EXPERIMENT}/figures/{name}.png" for name in ("grid", "path")]
    assert cells(chromium.document(report, "I2SB")) == figures


def test_a_figure_is_shown(report: Path, tmp_path: Path) -> None:
    clicks = ("I2SB", "[iconname=eye]")
    assert re.search('<img src="data:image/png;[^"]*filename=grid.png', chromium.document(report, *clicks))
    start = chromium.screenshot(report, tmp_path / "start.png")
    shown = chromium.screenshot(report, tmp_path / "shown.png", *clicks)
    assert pixels(start).shape == (900, 1400, 3)
    assert colours(shown) > colours(start) > 50
