"""All verbs of the command line, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from bridgepipe import cli


def _below(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, f"{before}{name} ")
        else:
            yield before + name, command


def called(words: list[str]) -> str:
    """Name of the verb that a command calls."""
    return next(name for name in VERBS if words[: len(name.split())] == name.split())


VERBS: dict[str, Any] = dict(_below(typer.main.get_command(cli.app)))
