"""What DVC reads beside dvc.yaml is written by a script of the workflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bridgepipe import artifacts, workflow
from bridgepipe import config as configuration
from bridgepipe.errors import UserError
from bridgepipe.runtime import progress

SCRIPT = Path("workflow/stages.py")  # reads the graph of jobs
NAMES = Path("stages/names.yaml")


def plan(experiments: list[str], check: bool) -> None:
    """Write which stages DVC has, and what each depends on.

    Raises:
        UserError: this is not the folder of a project.
    """
    if not SCRIPT.is_file():
        raise UserError("no workflow here", Path.cwd(), "run it in the folder of a project")
    progress.say("record: reading the graph of jobs")
    _run(*experiments, *(["--check"] if check else ()))


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
