"""How the Snakefile gets its parameters: read, validated, and written for the jobs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from bridgepipe import artifacts, config
from bridgepipe.config import including, yaml_reader
from bridgepipe.errors import UserError, stop
from bridgepipe.runtime import cluster
from bridgepipe.workflow.pipeline import PLANNED, Pipeline

AT_WORK = (
    "another run is at work here, so this one is planned with the parameters of that run;"
    " edits of params.yaml since then count when it is done"
)


def params_files(settings: Any) -> list[Path]:
    """What the configuration is read from: params.yaml and, laid over it, the files of ``--configfile``.

    Args:
        settings: ``workflow.config_settings`` of Snakemake.
    """
    default = [] if settings.replace_workflow_config else [Path("params.yaml")]
    return default + [_from_here(file) for file in settings.configfiles]


def open_params(values: Mapping[str, Any], files: Sequence[str | Path], plans: bool = True) -> Pipeline:
    """Validate the configuration and bring the file of every stage up to date.

    Prints one line and exits with code 2 when the configuration is wrong. A job, and a dry run
    beside a run, take the configuration which that run was planned with, and write nothing.

    Args:
        values: those of ``--config``, laid over the files.
        files: YAML files, each laid over the one before.
        plans: whether this is the process that plans jobs, and not one of its jobs.
    """
    # Slurm's warning before a time limit reaches every process of a job; only what saves knows what to do
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        if plans:
            cluster.check_profiles(sys.argv[1:])
        pipeline = _planned() if not plans and Path(PLANNED).exists() else _read(values, files, plans)
        if plans and not pipeline.write_unless_at_work():
            print(f"bridgepipe: {AT_WORK}", file=sys.stderr, flush=True)
            pipeline = _planned()
    except UserError as e:
        stop(e)
    pipeline.check_targets(a for a in sys.argv[1:] if a.startswith("results/"))
    return pipeline


def _read(values: Mapping[str, Any], files: Sequence[str | Path], plans: bool) -> Pipeline:
    layers = [including.read(file) for file in files] + [yaml_reader.given(values)]
    document = reduce(lambda below, above: above.over(below), layers)
    return Pipeline(config.Resolved(document.values, document.places), plans)


def _planned() -> Pipeline:
    """As the run that is at work here, or was last, was planned."""
    values = artifacts.read_json(PLANNED)
    return Pipeline(config.Resolved(values), plans=False)


def _from_here(file: Path) -> Path:
    """Snakemake makes paths absolute; a person reads what was typed."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
