"""The page of `bridgepipe serve` in a browser: a real file is dropped, its result compared, downloaded."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import chromium
import numpy as np
import pytest
from devtools import Tab, tab
from PIL import Image
from sklearn.datasets import load_sample_image

BRIDGEPIPE = [sys.executable, "-m", "bridgepipe"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real photographs as JPEG files of quality 10."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("china", "flower"):
        Image.fromarray(load_sample_image(f"{name}.jpg")).save(folder / f"{name}.jpg", quality=10)
    return folder


@pytest.fixture(scope="module")
def address(photos: Path) -> Iterator[str]:
    if chromium.binary() is None:
        pytest.skip("needs Chromium: not here (make system-setup installs it)")
    command = [*BRIDGEPIPE, "serve", "--port", "0", "--folder", "pictures", "--megabytes", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, cwd=photos, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.kill()
    server.communicate()


@pytest.fixture
def page(address: str) -> Iterator[Tab]:
    with tab() as opened:
        opened.look(1400, dark=False)
        opened.open(f"{address}/")
        yield opened
        assert opened.complaints == []
        assert {url.split("/")[2] for url in opened.requests if not url.startswith("blob:")} == {address[7:]}


def shown(page: Tab) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def text(page: Tab, selector: str) -> str:
    return page.value(f"document.querySelector('{selector}').innerText.trim()")


def give(page: Tab, field: str, photo: Path) -> None:
    """Drop a photograph and wait until the page shows it: what follows it has its place only then."""
    zone = f".drop[data-picture={field}]"
    page.drop(zone, photo)
    image = f"document.querySelector('{zone} img')"
    page.wait(f"{image}.naturalWidth && !{image}.hidden")


def restored(page: Tab, photo: Path) -> str:
    """Drop a photograph and restore it with the keyboard; the address of the result."""
    give(page, "photograph", photo)
    page.value("document.querySelector('#start').focus()")
    page.press("Enter", 13)
    page.wait("!document.querySelector('#result').hidden", seconds=120)
    return page.value("document.querySelector('#download').href")


def test_a_dropped_photograph_is_restored_as_by_the_command_line(page: Tab, photos: Path) -> None:
    result = restored(page, photos / "flower.jpg")
    assert (
        text(page, "#photograph-remarks") == "flower.jpg, 640 x 427 pixels, JPEG of quality about 10, 4:2:0"
    )
    assert text(page, "#download") == "Download flower.jpg"
    assert page.value("document.activeElement.id") == "result-title"
    content = page.value(
        f"fetch('{result}').then(a => a.arrayBuffer()).then(b => Array.from(new Uint8Array(b)))"
    )
    subprocess.run([*BRIDGEPIPE, "restore", "flower.jpg"], cwd=photos, check=True, capture_output=True)
    assert bytes(content) == (photos / "restored/flower.jpg").read_bytes()


def test_the_slider_shows_before_and_after(page: Tab, photos: Path) -> None:
    restored(page, photos / "flower.jpg")
    page.value("document.querySelector('#slider').focus()")
    page.press("Home", 36)
    after = shown(page)
    page.press("End", 35)
    before = shown(page)
    x, y = map(int, page.middle(".both"))
    box = np.s_[y - 100 : y + 100, x - 200 : x + 200]
    assert 1 < np.abs(after[box] - before[box]).mean() < 20
    page.click(".both")  # the mouse drags it, too
    assert page.value("document.querySelector('#slider').value") == "50"
    half = shown(page)
    left, right = np.s_[y - 100 : y + 100, x - 200 : x - 5], np.s_[y - 100 : y + 100, x + 5 : x + 200]
    assert (half[left] == before[left]).all()
    assert (half[right] == after[right]).all()


def test_colours_are_translated_to_those_of_a_second_photograph(page: Tab, photos: Path) -> None:
    page.click("input[value=colours]")
    give(page, "photograph", photos / "china.jpg")
    page.click("#start")
    page.wait("document.querySelector('#error').innerText")
    assert text(page, "#error") == "Choose the photograph with the colours first."
    give(page, "palette", photos / "flower.jpg")
    page.click("#start")
    page.wait("!document.querySelector('#result').hidden", seconds=120)
    assert text(page, "#state") == "Done"


def test_without_a_trained_boundary_the_page_says_what_to_train(page: Tab) -> None:
    page.click("input[value=edit]")
    assert "train one, such as snakemake results/boundary/loop/edit.json" in text(page, "#untrained")
    assert page.value("document.querySelector('#start').disabled")
    page.click("input[value=restore]")
    assert not page.value("document.querySelector('#start').disabled")


def test_errors_are_told_in_the_page(page: Tab, photos: Path) -> None:
    (photos / "notes.jpg").write_text("no picture")
    page.drop(".drop[data-picture=photograph]", photos / "notes.jpg")
    page.wait("document.querySelector('#error').innerText")
    assert text(page, "#error").startswith("cannot be read as an image: its format is unknown (notes.jpg)")
    assert page.complaints.pop().startswith(
        "Failed to load resource: the server responded with a status of 400"
    )
    Image.effect_noise((2000, 1200), 100).save(photos / "large.png")
    page.drop(".drop[data-picture=photograph]", photos / "large.png")
    page.wait("document.querySelector('#error').innerText.startsWith('the file')")
    assert text(page, "#error") == "the file is larger than 1 MB (limit of this page): give a smaller one"
    page.click("#start")
    page.wait("document.querySelector('#error').innerText.startsWith('Choose')")


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_screens_and_is_readable(page: Tab, width: int, dark: bool, photos: Path) -> None:
    page.look(width, dark)
    restored(page, photos / "flower.jpg")
    if folder := os.environ.get("BRIDGEPIPE_SCREENSHOTS"):
        page.value("scrollTo(0, 0)")
        page.screenshot(Path(folder) / f"serve-{width}-{'dark' if dark else 'light'}.png")
    assert page.value("document.documentElement.scrollWidth") <= width
    colours = "getComputedStyle(document.body)"
    ink, ground = (
        np.mean([int(v) for v in page.value(f"{colours}.{name}")[4:-1].split(",")])
        for name in ("color", "backgroundColor")
    )
    assert (ground - ink) * (-1 if dark else 1) > 150


def test_every_field_has_a_name_and_can_be_reached_with_the_keyboard(page: Tab) -> None:
    fields = "[...document.querySelectorAll('input, select, button, progress')]"
    named = "f.labels?.length || f.ariaLabel || f.innerText.trim()"
    nameless = page.value(f"{fields}.filter(f => !({named})).map(f => f.outerHTML)")
    assert nameless == []
    page.value("document.body.focus()")
    reached = []
    for _ in range(6):
        page.press("Tab", 9)
        reached.append(page.value("document.activeElement.id || document.activeElement.value"))
    assert reached[:5] == ["photograph", "restore", "quality", "auto", "start"]
