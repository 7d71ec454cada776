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


VERBS: dict[str, Any] = dict(_below(typer.main.get_command(cli.app)))
