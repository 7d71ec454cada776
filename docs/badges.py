"""Draws the badges of the README from pyproject.toml and requirements.lock: python docs/badges.py"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/badges"
LOGO_BLUE = "#0a5d8f"  # 7:1 against the white text
CHARACTER = 6.6  # width at 11 px; the text is fitted to it
PADDING = 12


def badges() -> dict[str, str]:
    """Name of a badge, which is its left side, and what it tells."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    return {
        "license": about["license"],
        "python": about["requires-python"].replace(">=", "≥ "),
        **{name: _locked(name) for name in ("snakemake", "dvc", "torch")},
    }


def _locked(package: str) -> str:
    """The exact version that `make setup` installs."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf8")
    return re.search(rf"^{package}==([\d.]+)", lock, flags=re.MULTILINE)[1]


def drawn(name: str, value: str) -> str:
    """A badge as SVG."""
    texts = [(text, len(text) * CHARACTER) for text in (name, value)]
    left, right = (round(width + PADDING) for _, width in texts)
    words = "".join(
        f'<text x="{x + PADDING / 2:g}" y="14" textLength="{width:.0f}">{text}</text>'
        for x, (text, width) in zip((0, left), texts, strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img">'
        f"<title>{name}: {value}</title>"
        f'<clipPath id="{name}"><rect width="{left + right}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#{name})"><rect width="{left}" height="20" fill="#444"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{LOGO_BLUE}"/></g>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{words}</g></svg>\n'
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, value in badges().items():
        (FOLDER / f"{name}.svg").write_text(drawn(name, value), encoding="utf8")


if __name__ == "__main__":
    main()
