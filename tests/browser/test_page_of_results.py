"""Our report in headless Chromium: complete, usable by keyboard, and without a request that leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import chromium
import pytest
from devtools import Tab, tab
from PIL import Image
from project import Project

from benchmarks import report as invented

TABLE = "section.table table"
ROWS = f"[...document.querySelectorAll('{TABLE} tr[data-experiment]')]"
EVERY_IMAGE = """
Promise.all([...document.images].map(image => {
  image.loading = "eager";
  return image.decode().then(() => image.naturalWidth > 0);
})).then(all => [all.length, all.every(Boolean)])
"""
LEVELS = "[...document.querySelectorAll('h1, h2, h3, h4')].map(heading => Number(heading.tagName[1]))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    if chromium.binary() is None:
        pytest.skip("needs Chromium: not here (make system-setup installs it)")
    with tab() as opened:
        yield opened


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return invented.made(tmp_path_factory.mktemp("many") / "project", invented.MANY)


@pytest.fixture
def page(browser: Tab, many: Path) -> Iterator[Tab]:
    """The report of many experiments; nothing may leave it, and nothing may be complained of."""
    browser.requests.clear()
    browser.look(1400, dark=False)
    browser.open("about:blank")
    browser.open(many.as_uri())
    yield browser
    left = [address for address in browser.requests if not address.startswith(("file:", "data:", "about:"))]
    assert left == []
    assert browser.complaints == []


def test_a_tall_figure_leaves_no_hole_beside_it(browser: Tab, tmp_path: Path) -> None:
    """Others stand right beside it, from its top on, and below it on a narrow screen."""
    invented.project(tmp_path / "project", 1)
    with Image.open(tmp_path / "project/results/i2sb/made-000/figures/grid.png") as wide:
        wide.resize((600, 1700)).save(wide.filename)
    browser.look(1400, dark=False)
    browser.open(invented.written(tmp_path / "project").as_uri())
    places = (
        "[...document.querySelectorAll('.figures img')].map(image => image.getBoundingClientRect())"
        ".map(({left, right, top, bottom, width}) => ({left, right, top, bottom, width}))"
    )
    tall, other = browser.value(places)
    assert 0 < other["left"] - tall["right"] < 40
    assert other["top"] == tall["top"]
    assert other["width"] > 2 * tall["width"]
    browser.look(400, dark=True)
    tall, other = browser.value(places)
    assert other["top"] > tall["bottom"]
    assert browser.value("document.documentElement.scrollWidth") <= 400


def values(page: Tab) -> list[float]:
    """Numbers of the column ``value`` under the first heading."""
    body = f"document.querySelector('{TABLE}').tBodies[0]"
    cells = f"[...{body}.querySelectorAll('td[data-label=value]')]"
    return page.value(f"{cells}.map(cell => parseFloat(cell.textContent))")


def test_every_section_and_every_image_of_many_experiments(page: Tab) -> None:
    assert page.value("document.querySelectorAll('article').length") == invented.MANY
    assert page.value("document.querySelectorAll('nav ul ul a').length") == invented.MANY
    assert page.value(f"{ROWS}.length") == 2 * invented.MANY
    assert page.value("document.querySelectorAll('article .cost').length") == invented.MANY
    shown, sound = page.value(EVERY_IMAGE)
    assert shown == 12 + invented.MANY * (12 + 2)  # the picture at the top; pairs and figures of each
    assert sound
    assert page.value("getComputedStyle(document.querySelector('article')).contentVisibility") == "auto"


def test_a_reader_of_the_screen_finds_the_way(page: Tab) -> None:
    levels = page.value(LEVELS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for landmark in ("header", "nav[aria-label]", "main"):
        assert page.value(f"document.querySelectorAll('{landmark}').length") == 1
    assert page.value("[...document.images].every(image => image.alt)")
    assert page.value("[...document.querySelectorAll('table')].every(table => table.caption)")
    unnamed = "input:not([aria-label]), select:not([aria-label])"
    assert page.value(f"[...document.querySelectorAll('{unnamed}')].every(field => field.labels.length)")
    page.press("Tab", 9)
    assert page.value("document.activeElement.className") == "skip"
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_column_sorts_both_ways_under_its_own_heading(page: Tab) -> None:
    assert page.value("document.querySelectorAll('section.table tbody').length") == 4  # measures, protocols
    before = values(page)
    header = f"document.querySelector('{TABLE} th:nth-child(3)')"
    page.value(f"{header}.querySelector('button').focus()")
    page.press("Enter", 13)
    assert page.value(f"{header}.getAttribute('aria-sort')") == "ascending"
    assert values(page) == sorted(before)
    page.press("Enter", 13)
    assert page.value(f"{header}.getAttribute('aria-sort')") == "descending"
    assert values(page) == sorted(before, reverse=True)


def test_the_filter_shows_what_it_says(page: Tab) -> None:
    visible = f"{ROWS}.filter(row => row.offsetParent).length"
    assert page.value(visible) == 4 * 8  # until all rows are asked for
    page.value("document.querySelector('.filter').focus()")
    page.ask("Input.insertText", text="made-01")
    assert page.value(visible) == 2 * 10
    assert page.value("document.querySelector('.count').textContent") == f"20 of {2 * invented.MANY} rows"
    choose = (
        "const s = document.querySelector('.measure'); s.value = 'PSNR'; s.dispatchEvent(new Event('input'))"
    )
    page.value(f"(() => {{ {choose} }})()")
    assert page.value(visible) == 10
    page.value("document.querySelector('.find').focus()")
    page.ask("Input.insertText", text="made-29")
    links = "[...document.querySelectorAll('nav ul ul a')].filter(link => link.offsetParent)"
    assert page.value(f"{links}.length") == 10


def test_more_rows_come_when_they_are_asked_for(page: Tab) -> None:
    page.click(".more-rows button")
    visible = f"[...document.querySelector('{TABLE}').tBodies[0].querySelectorAll('tr[data-experiment]')]"
    assert page.value(f"{visible}.filter(row => row.offsetParent).length") == invented.MANY / 2


def test_the_slider_works_by_keyboard_and_by_pointer(page: Tab) -> None:
    seam = "getComputedStyle(document.querySelector('.compare')).getPropertyValue('--at')"
    page.value("document.querySelector('.compare input').focus()")
    page.press("Home", 36)
    assert page.value(seam) == "0%"
    page.press("ArrowRight", 39)
    assert page.value(seam) == "1%"
    page.press("End", 35)
    assert page.value(seam) == "100%"
    page.click(".compare .tile")
    assert 45 <= float(page.value(seam).rstrip("%")) <= 55


def test_small_screens_and_dark_ones(page: Tab) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.value(ground)
    page.look(400, dark=True)
    assert page.value(ground) != light
    assert page.value("document.documentElement.scrollWidth") <= 400
    assert page.value(f"document.querySelector('{TABLE}').scrollWidth") <= 400


def test_a_real_project(browser: Tab, made: Project) -> None:
    made.bridgepipe("report", "--output", "results.html")
    browser.open((made.folder / "results.html").as_uri())
    text = browser.value("document.querySelector('main').textContent")
    for words in ("What was found", "All numbers", "i2sb/jpeg-5", "Published, under other protocols", "Cost"):
        assert words in text
    assert browser.value(EVERY_IMAGE) == [12 + 12 + 3, True]
    assert browser.value("[...document.querySelectorAll('h4')].map(h => h.textContent)") == [
        "Before and after",
        "Metrics",
        "Figures and curves",
        "Settings",
    ]
    closed = "[...document.querySelectorAll('article summary')].map(s => s.textContent)"
    named = ("All settings", "Protocol of fid", "Protocol of accuracy", "Protocol of restoration")
    said = browser.value(closed)
    for words in (*named, "Provenance", "Time, memory and energy"):
        assert any(entry.startswith(words) for entry in said), words
    assert browser.complaints == []
