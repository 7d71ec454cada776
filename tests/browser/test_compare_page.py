"""The page of `bridgepipe restore --compare`: its knob is at the edge that it moves, in light and in dark."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from devtools import Tab, tab
from PIL import Image

from bridgepipe.photographs.comparison import Pair, write_page

KNOB = 20
MEASURED = """[...document.querySelectorAll("figure")].flatMap(figure => [0, 30, 100].map(value => {
  const slider = figure.querySelector("input"), pictures = figure.querySelector(".pictures");
  slider.value = value;
  slider.dispatchEvent(new Event("input"));
  const track = slider.getBoundingClientRect();
  const picture = pictures.querySelector("img").getBoundingClientRect();
  const line = getComputedStyle(pictures, "::after");
  const middle = parseFloat(line.marginLeft) + parseFloat(line.width) / 2;
  return {
    knob: track.left + KNOB / 2 + value / 100 * (track.width - KNOB),
    edge: picture.left + value / 100 * picture.width,
    line: pictures.getBoundingClientRect().left + parseFloat(line.left) + middle,
  };
}))"""


def png(colour: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "png")
    return file.getvalue()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Tab]:
    """A picture wider than the window, and one that is narrower than its name."""
    if chromium.binary() is None:
        pytest.skip("needs Chromium: not here (make system-setup installs it)")
    sizes = {"wide.png": (2000, 300), "a-name-that-is-longer-than-its-picture.png": (64, 64)}
    pairs = [Pair(name, png("red", size), png("blue", size)) for name, size in sizes.items()]
    write_page(tmp_path / "page.html", pairs)
    with tab() as opened:
        opened.open((tmp_path / "page.html").as_uri())
        yield opened


def test_the_knob_is_at_the_edge_that_it_moves_and_a_line_marks_it(page: Tab) -> None:
    for width in (1400, 400):
        page.look(width, dark=False)
        found = page.value(MEASURED.replace("KNOB", str(KNOB)))
        assert len(found) == 6
        for at in found:
            assert at["knob"] == pytest.approx(at["edge"], abs=0.5)
            assert at["line"] == pytest.approx(at["edge"], abs=0.5)
        assert page.value("document.documentElement.scrollWidth") <= width


def test_the_page_is_as_light_as_the_reader_likes_it(page: Tab) -> None:
    corners = []
    for dark in (False, True):
        page.look(1400, dark)
        picture = Image.open(io.BytesIO(page.screenshot()))
        corners.append(picture.convert("L").getpixel((1, 1)))
    assert corners[0] == 255
    assert corners[1] < 64
