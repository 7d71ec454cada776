"""The verb that writes what every stage reads, for DVC."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.cli import groups
from bridgepipe.cli.options import File


@groups.people.verb()
def plan(
    output: Annotated[Path, typer.Option(help="folder for copies of all configurations")] = Path(
        configuration.PLAN
    ),
    params: File = Path("params.yaml"),
) -> None:
    """Write the resolved configuration of every stage.

    A run of the workflow writes the same files when it starts, which is too
    late for DVC: it decides before that which stages are stale.
    """
    for path, content in configuration.load(params).plan(output).items():
        artifacts.keep_json(path, content)
