"""The verb that writes what every stage reads, for DVC."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.cli.common import RUNTIME, File

app = typer.Typer()


@app.command()
def plan(
    output: Annotated[Path, typer.Option(help="folder for copies of all configurations")] = Path(
        "results/plan"
    ),
    params: File = Path("params.yaml"),
) -> None:
    """Write the resolved configuration of every stage.

    The workflow writes the same files when it is read, which is too late for
    DVC: it decides before that which stages are stale.
    """
    resolved = configuration.load(params)
    for path, content in {**resolved.stage_files(), **resolved.asked_files()}.items():
        if Path(path) != RUNTIME:  # speed makes nothing stale
            artifacts.write_json(output / path, content)
