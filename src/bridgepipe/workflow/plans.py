"""What DVC reads beside dvc.yaml is written by a script of the workflow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bridgepipe import artifacts, workflow
from bridgepipe import config as configuration
from bridgepipe.errors import UserError
from bridgepipe.runtime import progress

SCRIPT = Path("workflow/stages.py")  # reads the graph of jobs
NAMES = Path("stages/names.yaml")
ALL = "all"  # in place of the names of experiments


def plan(experiments: list[str], check: bool) -> None:
    """Write which stages DVC has, and what each depends on.

    Raises:
        UserError: this is not the folder of a project, or it has no such experiment.
    """
    if not SCRIPT.is_file():
        raise UserError("no workflow here", Path.cwd(), "run it in the folder of a project")
    check_known(name for name in experiments if name != ALL)
    progress.say("record: reading the graph of jobs")
    _run(*experiments, *(["--check"] if check else ()))


def check_known(experiments: Iterable[str]) -> None:
    """Refuse names of experiments before the graph of jobs is read, which takes seconds.

    Raises:
        UserError: params.yaml has no such experiment.
    """
    resolved = configuration.load("params.yaml")
    for name in experiments:
        if name not in resolved.groups:
            resolved.experiment(name)


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
