"""What jobs ask of a machine, as functions that Snakemake calls for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bridgepipe.runtime.duration import Durations

Asked = Callable[[Any, int], int]  # of a job's wildcards, and how many times it has been sent


def grows(first: int) -> Asked:
    """A resource that a job gets more of every time that it is sent again."""
    return lambda wildcards, attempt: first * attempt


class Resources:
    """What jobs that call networks ask for.

    Args:
        durations: minutes that the jobs take.
        processes: number of processes that work on one job.
        gpus: GPUs of a job.
    """

    def __init__(self, durations: Durations, processes: int, gpus: int) -> None:
        self._durations, self._processes, self._gpus = durations, processes, gpus

    def network(self, memory: int, minutes: Asked | int) -> dict[str, Asked | int]:
        """Everything that a job asks for: its GPUs, megabytes of memory for each process, and minutes."""
        return {"gpu": self._gpus, "mem_mb": grows(memory * self._processes), "runtime": minutes}

    def takes(self, least: int, experiments: str | Iterable[str], stage: str) -> Asked:
        """At least so many minutes, and more where a stage of experiments, patterns, computes more."""
        minutes, every = (
            self._durations.minutes,
            [experiments] if isinstance(experiments, str) else experiments,
        )
        return lambda w, attempt: minutes(least, [name.format(**w) for name in every], stage, attempt)

    def takes_statistics(self, least: int) -> Asked:
        """At least so many minutes, and more where a split has more images whose features are taken."""
        minutes = self._durations.statistics
        return lambda wildcards, attempt: minutes(least, wildcards.dataset, wildcards.split, attempt)
