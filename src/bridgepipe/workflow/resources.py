"""What jobs ask of a machine, as functions that Snakemake calls for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bridgepipe.runtime.duration import Durations
from bridgepipe.runtime.work import Work

Asked = Callable[[Any, int], int]  # of a job's wildcards, and how many times it has been sent


def grows(first: int) -> Asked:
    """A resource that a job gets more of every time that it is sent again."""
    return lambda wildcards, attempt: first * attempt


@dataclass(frozen=True)
class Takes:
    """Minutes of a job: at least so many, and more where its stage of experiments computes more.

    Attributes:
        experiments: patterns of their names, filled from the wildcards of a job.
    """

    durations: Durations
    least: int
    experiments: tuple[str, ...]
    stage: str

    def __call__(self, wildcards: Any, attempt: int) -> int:
        return self.durations.minutes(self.least, self._names(wildcards), self.stage, attempt)

    def work(self, wildcards: Any) -> Work:
        """What a job computes."""
        return self.durations.work(self._names(wildcards), self.stage)

    def _names(self, wildcards: Any) -> list[str]:
        return [pattern.format(**wildcards) for pattern in self.experiments]


@dataclass(frozen=True)
class TakesStatistics:
    """Minutes of the features of a whole split: at least so many, and more where it has more images."""

    durations: Durations
    least: int

    def __call__(self, wildcards: Any, attempt: int) -> int:
        return self.durations.statistics(self.least, wildcards.dataset, wildcards.split, attempt)

    def work(self, wildcards: Any) -> Work:
        """What a job computes."""
        return self.durations.features(wildcards.dataset, wildcards.split)


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

    def takes(self, least: int, experiments: str | Iterable[str], stage: str) -> Takes:
        """At least so many minutes, and more where a stage of experiments, patterns, computes more."""
        every = (experiments,) if isinstance(experiments, str) else tuple(experiments)
        return Takes(self._durations, least, every, stage)

    def takes_statistics(self, least: int) -> TakesStatistics:
        """At least so many minutes, and more where a split has more images whose features are taken."""
        return TakesStatistics(self._durations, least)
