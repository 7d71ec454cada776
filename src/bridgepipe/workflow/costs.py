"""What the jobs of some targets cost together, as numbers and as text."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from bridgepipe.names import Json

BUSY = 1.2  # load of a core that other work keeps busy


@dataclass(frozen=True)
class Cost:
    """What one job takes.

    Attributes:
        calls: network calls, counted for every image.
        seconds: time that it takes alone on the machine.
        memory: bytes that it needs at once; 0 where no network is called.
        disk: bytes of what it leaves.
    """

    rule: str
    calls: float
    seconds: float
    memory: float
    disk: float


@dataclass(frozen=True)
class Download:
    """A file that is fetched; ``bytes`` is None where its publisher does not say."""

    name: str
    bytes: int | None
    licence: str


@dataclass(frozen=True)
class Plan:
    """What all jobs of some targets take.

    Attributes:
        costs: what each job takes.
        longest: seconds of the longest chain of jobs that wait for each other.
        workers: jobs that run beside each other.
        basis: a sentence that tells where the times come from.
        measured: whether that was on this machine, now.
    """

    costs: Sequence[Cost]
    longest: float
    workers: int
    downloads: Sequence[Download]
    basis: str
    measured: bool

    @property
    def seconds(self) -> float:
        """From the first job to the last."""
        return max(self.longest, sum(cost.seconds for cost in self.costs) / self.workers)

    def total(self) -> Cost:
        """All jobs together; the memory is that of the largest."""
        return _together("total", self.costs)

    def by_rule(self) -> Iterator[tuple[int, Cost]]:
        """How many jobs each rule has, and what they take together."""
        rules: defaultdict[str, list[Cost]] = defaultdict(list)
        for cost in self.costs:
            rules[cost.rule].append(cost)
        yield from ((len(of), _together(rule, of)) for rule, of in rules.items())

    def as_json(self) -> Json:
        stages = [{"jobs": jobs, **asdict(cost)} for jobs, cost in self.by_rule()]
        total = {"jobs": len(self.costs), **asdict(self.total()), "seconds": self.seconds}
        downloads = [asdict(download) for download in self.downloads]
        found = {"stages": stages, "total": total, "workers": self.workers, "basis": self.basis}
        return {**found, "downloads": downloads, "warnings": list(self.warnings())}

    def warnings(self) -> Iterator[str]:
        """What will not fit on this machine."""
        total, free = self.total(), shutil.disk_usage(".").free
        if total.disk > free:
            yield f"{size(total.disk)} of results, {size(free)} of disk are free here"
        if total.memory > (there := _memory_here()):
            yield f"{size(total.memory)} of memory for the largest job, this machine has {size(there)}"
        if (busy := os.getloadavg()[0]) > BUSY * (os.cpu_count() or 1) and self.measured:
            yield f"other work keeps this machine busy (load {busy:.1f}): the times are too long"
        if unknown := [download.name for download in self.downloads if download.bytes is None]:
            yield f"of {len(unknown)} downloads the size is not published: {', '.join(unknown[:3])}"


def _together(rule: str, costs: Sequence[Cost]) -> Cost:
    calls, seconds, disk = (sum(getattr(cost, key) for cost in costs) for key in ("calls", "seconds", "disk"))
    return Cost(rule, calls, seconds, max((cost.memory for cost in costs), default=0), disk)


def _memory_here() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# as text


def table(plan: Plan) -> str:
    """The plan for a terminal: the dearest stages first, those below a hundredth of the time together."""
    if not plan.costs:
        return "nothing is left to do"
    head = ("stage", "jobs", "network calls", "time", "memory", "disk")
    stages = sorted(plan.by_rule(), key=lambda stage: -stage[1].seconds)
    least = plan.total().seconds / 100
    small = [stage for stage in stages if stage[1].seconds < least]
    rows = [_row(jobs, cost) for jobs, cost in stages if cost.seconds >= least]
    if small:
        others = _together(f"{len(small)} others", [cost for _, cost in small])
        rows.append(_row(sum(jobs for jobs, _ in small), others))
    total = _row(len(plan.costs), plan.total())
    total = (*total[:3], duration(plan.seconds), *total[4:])
    widths = [max(len(row[column]) for row in (head, *rows, total)) for column in range(len(head))]
    lines = ["  ".join(_cells(row, widths)).rstrip() for row in (head, *rows, total)]
    lines += ["", f"time: {plan.basis}" + (f", {plan.workers} jobs at a time" if plan.workers > 1 else "")]
    lines += [f"download: {d.name}, {size(d.bytes)}, licence {d.licence}" for d in plan.downloads]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in plan.warnings())])


def _cells(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield row[0].ljust(widths[0])
    yield from (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))


def _row(jobs: int, cost: Cost) -> tuple[str, ...]:
    calls = f"{cost.calls:,.0f}" if cost.calls else ""
    memory, disk = (size(value) if value else "" for value in (cost.memory, cost.disk))
    return cost.rule, str(jobs), calls, duration(cost.seconds), memory, disk


def size(count: float | None) -> str:
    """Bytes for a person, in decimal units."""
    if count is None:
        return "of unknown size"
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{max(count / 1e6, 0.1):,.0f} MB" if count >= 1e6 else "< 1 MB"


def duration(seconds: float) -> str:
    """A time for a person."""
    for unit, factor in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.1f} {unit}"
    return f"{seconds:.0f} s"
