"""The pages that are made from the code, and the look through a built site."""

from __future__ import annotations

import importlib.util
import pydoc
import re
from pathlib import Path
from types import ModuleType

import pytest
from every_verb import VERBS

from bridgepipe.config.methods import METHODS

DOCS = Path(__file__).parents[2] / "docs"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate, check_site = tool("generate"), tool("check_site")


def test_the_reference_holds_every_verb_key_and_module(tmp_path: Path) -> None:
    (tmp_path / "stale.md").touch()
    generate.write(tmp_path)
    pages = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert "stale.md" not in pages
    assert set(re.findall(r"^api-.*", pages["api.md"], flags=re.MULTILINE)) == {
        name.removesuffix(".rst") for name in pages if name.endswith(".rst")
    }
    headings = re.findall(r"^### bridgepipe (.*)", pages["commands.md"], flags=re.MULTILINE)
    assert VERBS.keys() <= set(headings)
    assert "| `--num-images <int range>` |" in pages["commands.md"]
    modules = [found for page in pages.values() for found in re.findall(r"automodule:: (.*)", page)]
    assert {"bridgepipe.processes.bridge", "bridgepipe.config.checks.weights"} <= set(modules)
    assert len(modules) == len(set(modules)) > 90
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    text = pages["params.md"]
    assert "| `beta_max` | number above 0 to 100 | `0.3` |" in text
    anchors = re.findall(r"^\((key-.*)\)=$", text, flags=re.MULTILINE)
    assert len(anchors) == len(set(anchors)) > 40
    assert set(re.findall(r"\(#(key-[^)]*)\)", text)) <= set(anchors)
    assert {f"experiments.{method}.NAME" for method in METHODS} <= set(re.findall(r"^## `(.*)`$", text, re.M))


def test_the_reference_links_to_the_pages_that_help_and_keys_name() -> None:
    """A terminal shows ``docs/gpu.md``; the site shows that page's title as a link, which Sphinx checks."""
    assert "(docs/gpu.md)" in generate.params()
    made = generate.pages()
    linked = {
        page
        for name in ("commands.md", "params.md")
        for page in re.findall(r"\[\]\(\.\./(.*?)\)", made[name])
    }
    assert {"gpu.md", "corruptions.md", "bridge-samplers.md", "samplers.md"} <= linked
    assert {page for page in linked if not (DOCS / page).is_file()} == set()
    assert [name for name, text in made.items() if generate.PAGE.search(text)] == []


def test_every_key_of_params_yaml_says_what_it_means() -> None:
    sections = re.split(r"^## `", generate.params(), flags=re.MULTILINE)[1:]
    keys = [
        (section.split("`")[0], *row.strip("| ").split(" | "))
        for section in sections
        for row in re.findall(r"^\| `.*$", section, flags=re.MULTILINE)
    ]
    assert len(keys) > 300
    assert [key[:2] for key in keys if len(key) != 5 or not key[4].strip()] == []


SYSTEMS = ("i2sb", "ddib", "ddib-folder", "boundarydiffusion", "spd")


@pytest.mark.parametrize("page", SYSTEMS)
def test_what_a_page_of_a_system_names_is_in_the_code(page: str) -> None:
    names = re.findall(r"`(bridgepipe\.[\w.]+)`", (DOCS / f"{page}.md").read_text())
    assert len(names) >= 3
    assert [name for name in names if pydoc.locate(name) is None] == []


def test_a_site_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#there">b</a><a href="https://example.org">out</a>')
    (tmp_path / "b.html").write_text('<p id="there"><a href="a.html">a</a><a href="#there">here</a>')
    assert check_site.faults(tmp_path) == []
    (tmp_path / "c.html").write_text(
        '<a href="b.html#gone">b</a><img src="none.png"><script src="https://example.org/x.js"></script>'
    )
    (tmp_path / "c.css").write_text("p { background: url(https://example.org/x.png) }")
    assert check_site.faults(tmp_path) == [
        "c.html fetches https://example.org/x.js",
        "c.html: b.html#gone leads nowhere",
        "c.html: none.png leads nowhere",
        "c.css fetches url(http",
    ]


def test_formulas_of_the_pages_are_drawn_as_they_are_written() -> None:
    convert = pytest.importorskip("latex2mathml.converter", reason="make docs brings it").convert
    half = convert(r"\tfrac12 \log x")
    assert "<mfrac><mn>1</mn><mn>2</mn></mfrac>" in half
    assert "<msub><mover" in convert(r"\hat x_0")
