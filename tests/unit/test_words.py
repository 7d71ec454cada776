"""Names in the code are the field's words, and shapes that are known have types."""

from __future__ import annotations

import ast
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
