"""The badges of the README tell what is so."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    """Name of each badge and its content, drawn now."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import badges
    finally:
        sys.path.pop(0)
    return {name: badges.drawn(name, value) for name, value in badges.badges().items()}


def test_they_are_drawn_from_what_is_installed(drawn: dict[str, str]) -> None:
    """To mend it: python docs/badges.py"""
    lying = {file.stem: file.read_text(encoding="utf8") for file in (ROOT / "docs/badges").iterdir()}
    assert lying == drawn
    for name in ("snakemake", "dvc", "torch"):
        assert f"{name}: {metadata.version(name).partition('+')[0]}<" in drawn[name]
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"license: {about['license']}<" in drawn["license"]
    assert (ROOT / "LICENSE").read_text().startswith(f"{about['license']} License")


def test_the_readme_shows_all_of_them(drawn: dict[str, str]) -> None:
    shown = re.findall(r"^!\[.+\]\(docs/badges/(\w+)\.svg\)$", (ROOT / "README.md").read_text(), re.M)
    assert {*shown} == drawn.keys()
