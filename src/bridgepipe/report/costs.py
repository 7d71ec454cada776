"""What rules took: time, memory and an estimate of their energy, from the benchmark files of Snakemake."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bridgepipe.errors import reading

# Green Algorithms (Lannelongue et al., Advanced Science 2021): a core at work, and memory that is held
WATTS_PER_CORE = 12.0
WATTS_PER_GB = 0.3725
SAMPLED = 2.0  # seconds below which Snakemake has hardly looked at a job's processor time
PART = re.compile(r"-\d+-of-\d+$")


@dataclass(frozen=True)
class Cost:
    """What the jobs of one rule took together.

    Attributes:
        rule: name of the benchmark file, without the part of the work.
        jobs: number of jobs.
        seconds: wall time of all jobs, one after another.
        cpu_seconds: processor time of all jobs.
        peak_mb: largest memory of a job, in MB.
        joules: estimate of the energy.
    """

    rule: str
    jobs: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    joules: float

    @property
    def watt_hours(self) -> float:
        return self.joules / 3600


def total(costs: Iterable[Cost], name: str = "all rules") -> Cost:
    """Several costs as one."""
    known = list(costs)
    return Cost(
        name,
        sum(cost.jobs for cost in known),
        sum(cost.seconds for cost in known),
        sum(cost.cpu_seconds for cost in known),
        max((cost.peak_mb for cost in known), default=0.0),
        sum(cost.joules for cost in known),
    )


def read(folder: Path) -> list[Cost]:
    """Costs of the rules whose benchmarks lie in ``folder/benchmarks``, the longest first."""
    jobs: dict[str, list[Cost]] = {}
    for file in sorted((folder / "benchmarks").glob("*.tsv")):
        rule = PART.sub("", file.stem)
        jobs.setdefault(rule, []).extend(_jobs(file, rule))
    rules = [total(found, rule) for rule, found in jobs.items()]
    return sorted(rules, key=lambda cost: (-cost.seconds, cost.rule))


def _jobs(file: Path, rule: str) -> list[Cost]:
    with reading(file, "not a benchmark of Snakemake", "delete it"):
        with file.open(encoding="utf8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        return [
            _job(rule, float(row["s"]), _number(row["cpu_time"]), _number(row["max_rss"])) for row in rows
        ]


def _job(rule: str, seconds: float, sampled: float | None, peak_mb: float | None) -> Cost:
    cpu = seconds if sampled is None or seconds < SAMPLED else sampled
    joules = cpu * WATTS_PER_CORE + seconds * (peak_mb or 0.0) / 1000 * WATTS_PER_GB
    return Cost(rule, 1, seconds, cpu, peak_mb or 0.0, joules)


def _number(text: str | None) -> float | None:
    """A number of a benchmark, which has a dash or NA for what was not measured."""
    return None if text in (None, "", "-", "NA") else float(text or 0)
