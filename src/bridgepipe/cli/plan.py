"""The verb that writes what DVC reads beside dvc.yaml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from bridgepipe import artifacts, workflow
from bridgepipe import config as configuration
from bridgepipe.cli import groups
from bridgepipe.errors import UserError

SCRIPT = Path("workflow/stages.py")  # reads the graph of jobs
NAMES = Path("stages/names.yaml")


@groups.people.verb()
def plan(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(help="experiments that DVC records, or all; default: those of the last time"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="stop where stages/names.yaml would be another")
    ] = False,
) -> None:
    """Write which stages DVC has, to stages/names.yaml, and what each depends on, to results/plan.

    Plain Snakemake does not need it, and removes results/plan when it runs under other parameters, sources or
    code.
    """
    if not SCRIPT.is_file():
        raise UserError("no workflow here", Path.cwd(), "run it in the folder of a project")
    _run(*(experiments or ()), *(["--check"] if check else ()))


def refresh(resolved: configuration.Resolved) -> None:
    """Write what DVC's stages depend on anew, in a project that DVC records and when it is not current."""
    stamp = Path(workflow.STAMP)
    now = workflow.Pipeline(resolved, plans=False).stamp()
    if NAMES.is_file() and (not stamp.is_file() or artifacts.read_json(stamp) != now):
        _run("--check")


def _run(*words: str) -> None:
    code = subprocess.run([sys.executable, SCRIPT, *words], check=False).returncode
    if code:
        raise SystemExit(code)
