"""Names in the code are the field's words, and shapes that are known have types."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import bridgepipe

PACKAGE = Path(bridgepipe.__file__).parent
PRIVATE = {"told", "untold", "walks", "helps"}  # words of ours where the field has one: docs/architecture.md


def test_names_are_of_the_field() -> None:
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        words = {word for name in names for word in name.lower().split("_")}
        assert not words & PRIVATE, (file, words & PRIVATE)


def test_shapes_that_are_known_have_types() -> None:
    """Free JSON is `names.Json`; what stays a dict of anything holds objects of Python."""
    lines = [line for file in PACKAGE.rglob("*.py") for line in file.read_text().splitlines()]
    assert sum("dict[str, Any]" in line for line in lines) <= 40


# what a line of Args or Attributes must not begin with: it would name nothing ("seed: of the noise")
ELLIPTIC = re.compile(
    r"(of|in|from|for|by|at|with|to|that|which|whose|how|as|also|is|are|has|it|its|they|their|called)\b.*"
)
ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.+)")


def entries(docstring: str) -> Iterator[tuple[str, str, str]]:
    """Section, name and text of what Args, Attributes and Raises list."""
    for section, block in re.findall(
        r"^(Args|Attributes|Raises):\n((?:    .*\n?|\n)*)", docstring, re.MULTILINE
    ):
        for lines in re.split(r"\n+(?=    \S)", block.rstrip()):
            if found := ENTRY.fullmatch(" ".join(lines.split())):
                yield section, found[1], found[2]


def documented() -> Iterator[tuple[Path, str]]:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                yield file, text


def test_lines_of_docstrings_are_phrases() -> None:
    """``seed: seed of the noise.``: a noun phrase or a condition, with a full stop."""
    found = [(file, *entry) for file, text in documented() for entry in entries(text)]
    assert len(found) > 1000
    for file, section, name, text in found:
        assert text.endswith("."), (file, name, text)
        elliptic = ("they ", "it ") if section == "Raises" else ()
        assert not text.startswith(elliptic), (file, name, text)
        assert section == "Raises" or not ELLIPTIC.fullmatch(text), (file, name, text)
