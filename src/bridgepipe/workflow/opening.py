"""How the Snakefile gets its parameters: read, validated, and written for the jobs."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from bridgepipe import artifacts, config
from bridgepipe.config import including, yaml_reader
from bridgepipe.errors import UserError, stop
from bridgepipe.runtime import cluster
from bridgepipe.workflow.pipeline import PLANNED, Pipeline, experiment_of

AT_WORK = (
    "another run is at work here, so this one is planned with the parameters of that run;"
    " edits of params.yaml since then count when it is done"
)

OF_DATASET = re.compile("data/(?:prepared|points|stats)/([^/]+)/")


class AtWork(config.Resolved):
    """The parameters of the run at work here; what a person names of today's is newer, and not unknown."""

    def __init__(self, planned: Mapping[str, Any], now: config.Resolved) -> None:
        """
        Args:
            planned: values that the run was planned with.
            now: the parameters of today.
        """
        super().__init__(planned)
        self._now = now

    def experiment(self, name: str) -> Any:
        if name not in self.experiments and name in {*self._now.experiments, *self._now.groups}:
            raise _newer(name, self._now.at(name))
        return super().experiment(name)

    def check_dataset(self, name: str) -> None:
        """Refuse a dataset that the run does not know."""
        if name in {*self._now.params.datasets} - {*self.params.datasets}:
            raise _newer(name, self._now.places.at("datasets", name))


def _newer(name: str, where: str) -> UserError:
    what = f"{name} is newer than the run that is at work here"
    return UserError(what, where, "it counts once that run is done, so try again then")


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
            pipeline = _planned(pipeline.resolved)
        check_targets(pipeline.resolved, sys.argv[1:])
    except UserError as e:
        stop(e)
    return pipeline


def check_targets(resolved: config.Resolved, targets: Iterable[str]) -> None:
    """Refuse a target that names an unknown experiment, or what is newer than the run at work.

    Raises:
        UserError: with the nearest valid name, or with the place of what is newer.
    """
    for target in targets:
        if (name := experiment_of(target)) and name not in resolved.groups:
            resolved.experiment(name)
        if isinstance(resolved, AtWork) and (dataset := OF_DATASET.match(target)):
            resolved.check_dataset(dataset[1])


def _read(values: Mapping[str, Any], files: Sequence[str | Path], plans: bool) -> Pipeline:
    layers = [including.read(file) for file in files] + [yaml_reader.given(values)]
    document = reduce(lambda below, above: above.over(below), layers)
    return Pipeline(config.Resolved(document.values, document.places), plans)


def _planned(now: config.Resolved | None = None) -> Pipeline:
    """As the run that is at work here, or was last, was planned.

    Args:
        now: the parameters of today, of which a person may name what that run does not know.
    """
    values = artifacts.read_json(PLANNED)
    return Pipeline(config.Resolved(values) if now is None else AtWork(values, now), plans=False)


def _from_here(file: Path) -> Path:
    """Snakemake makes paths absolute; a person reads what was typed."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
