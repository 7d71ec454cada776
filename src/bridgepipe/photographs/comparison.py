"""Before and after: side by side in one picture, or under a slider in a page that needs nothing else."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from bridgepipe.artifacts import atomic
from bridgepipe.datasets.images import MARK
from bridgepipe.photographs.encoding import plain_rgb
from bridgepipe.photographs.pictures import read

SHOWN = {"JPEG": "jpeg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}  # by every browser
# The track is longer than the picture by the knob, whose middle is therefore at the edge that it moves.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="generator" content="bridgepipe">
<meta name="viewport" content="width=device-width"><title>Before and after</title>
<style>:root{color-scheme:light dark;--knob:20px}body{font:16px sans-serif;margin:1em}
figure{margin:0 0 2em}figcaption{margin-bottom:.5em}
.both{position:relative;width:max-content;max-width:100%;padding-bottom:calc(var(--knob) + .5em);--at:50%}
.pictures{position:relative}.pictures img{display:block;max-width:100%}
.pictures img+img{position:absolute;top:0;left:0;width:100%;height:100%;clip-path:inset(0 0 0 var(--at))}
.pictures::after{content:"";position:absolute;top:0;bottom:0;left:var(--at);width:2px;margin-left:-1px;
background:#fff;box-shadow:0 0 0 1px #000}
input{appearance:none;position:absolute;bottom:0;left:calc(var(--knob)/-2);margin:0;background:none;
height:var(--knob);width:calc(100% + var(--knob))}
input::-webkit-slider-runnable-track{height:4px;border-radius:2px;background:gray}
input::-moz-range-track{height:4px;border-radius:2px;background:gray}
input::-webkit-slider-thumb{appearance:none;width:var(--knob);height:var(--knob);margin-top:-8px;
border:0;border-radius:50%;background:CanvasText}
input::-moz-range-thumb{width:var(--knob);height:var(--knob);border:0;border-radius:50%;background:CanvasText}
</style>
"""
FIGURE = """<figure><figcaption>NAME: left before, right after</figcaption>
<div class="both"><div class="pictures"><img alt="before" src="BEFORE"><img alt="after" src="AFTER"></div>
<input type="range" min="0" max="100" value="50" aria-label="how much is before"
oninput="this.parentNode.style.setProperty('--at',this.value+'%')"></div></figure>
"""


class Pair(NamedTuple):
    """A picture's name, its file before, and after."""

    name: str
    before: bytes
    after: bytes


def write_page(path: Path, pairs: Iterable[Pair]) -> None:
    """A page with a slider for every pair."""
    with atomic(path) as temporary, open(temporary, "w", encoding="utf8") as page:
        page.write(PAGE)
        for pair in pairs:
            before, after = (_address(content) for content in (pair.before, pair.after))
            figure = FIGURE.replace("NAME", html.escape(pair.name))
            page.write(figure.replace("BEFORE", before).replace("AFTER", after))


def _address(content: bytes) -> str:
    """A picture inside the page itself."""
    kind, content = for_browsers(content)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def for_browsers(content: bytes) -> tuple[str, bytes]:
    """A picture in a format that every browser shows, unchanged where possible, and its ``image/KIND``."""
    image = read(content).image
    kind = SHOWN.get(image.format or "")
    if kind is not None and image.mode != "CMYK":
        return kind, content
    file = io.BytesIO()
    _upright(content).save(file, "png")
    return "png", file.getvalue()


def _upright(content: bytes) -> Image.Image:
    image = read(content)
    return ImageOps.exif_transpose(plain_rgb(image))


def write_picture(path: Path, pair: Pair) -> None:
    """Before on the left, after on the right, as PNG."""
    from PIL.PngImagePlugin import PngInfo

    left, right = (_upright(content) for content in (pair.before, pair.after))
    both = Image.new("RGB", (left.width + right.width, max(left.height, right.height)))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    text = PngInfo()
    text.add_text(MARK, "comparison")
    with atomic(path) as temporary:
        both.save(temporary, "png", pnginfo=text)
