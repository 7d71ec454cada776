"""What the jobs of some targets cost together, as numbers and as text."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal, NamedTuple

from bridgepipe.names import Json

PARTS: dict[str, Literal["rule", "system"]] = {"stages": "rule", "systems": "system"}
OF_H100 = 80e9  # bytes of memory
BUSY = 1.2  # load of a core that other work keeps busy


@dataclass(frozen=True)
class Cost:
    """What one job takes.

    Attributes:
        system: method that it belongs to, such as ``i2sb``; ``model`` of networks that several methods use;
            ``data`` of what is prepared and fetched.
        calls: network calls, counted for every image.
        seconds: time that it takes alone on the machine.
        memory: bytes that it needs at once; 0 where no network is called.
        disk: bytes of what it leaves.
    """

    rule: str
    system: str
    calls: float
    seconds: float
    memory: float
    disk: float


class Link(NamedTuple):
    """A job of a chain in which each waits for the one before."""

    rule: str
    seconds: float


@dataclass(frozen=True)
class Sum:
    """What some jobs take together; the memory is that of the largest."""

    name: str
    jobs: int
    calls: float
    seconds: float
    memory: float
    disk: float

    @classmethod
    def of(cls, name: str, costs: Sequence[Cost | Sum]) -> Sum:
        jobs = sum(getattr(cost, "jobs", 1) for cost in costs)
        calls, seconds, disk = (sum(getattr(c, key) for c in costs) for key in ("calls", "seconds", "disk"))
        return cls(name, jobs, calls, seconds, max((cost.memory for cost in costs), default=0), disk)


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
        chain: the longest chain of jobs that wait for each other.
        workers: jobs that run beside each other.
        basis: a sentence that tells where the times come from.
        measured: whether that was on this machine, now.
        missing: what a person has yet to put there, a line each.
    """

    costs: Sequence[Cost]
    chain: Sequence[Link]
    workers: int
    downloads: Sequence[Download]
    basis: str
    measured: bool
    missing: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """From the first job to the last."""
        return max(sum(link.seconds for link in self.chain), self._shared)

    @property
    def _shared(self) -> float:
        """Seconds of all jobs, if none had to wait for another."""
        return sum(cost.seconds for cost in self.costs) / self.workers

    @property
    def limit(self) -> Link | None:
        """The job that most of the time is waited for; None where more workers would be used in full."""
        dearest = max(self.chain, key=lambda link: link.seconds, default=None)
        return dearest if dearest and self.seconds > 1.05 * self._shared else None

    def total(self) -> Sum:
        """All jobs together."""
        return Sum.of("total", self.costs)

    def by(self, part: Literal["rule", "system"]) -> list[Sum]:
        """The jobs of each rule or of each system together; the dearest first."""
        parts: defaultdict[str, list[Cost]] = defaultdict(list)
        for cost in self.costs:
            parts[getattr(cost, part)].append(cost)
        return sorted((Sum.of(name, of) for name, of in parts.items()), key=lambda one: -one.seconds)

    def as_json(self) -> Json:
        """With the stages by their rules, and the systems by their methods."""
        found: Json = {key: [_named(part, one) for one in self.by(part)] for key, part in PARTS.items()}
        found["total"] = {**asdict(self.total()), "seconds": self.seconds}
        limit = None if self.limit is None else self.limit._asdict()
        found |= {"workers": self.workers, "limit": limit, "basis": self.basis, "missing": list(self.missing)}
        downloads = [asdict(download) for download in self.downloads]
        return {**found, "downloads": downloads, "warnings": list(self.warnings())}

    def warnings(self) -> Iterator[str]:
        """What will not fit on this machine."""
        total, free = self.total(), shutil.disk_usage(".").free
        if total.disk > free:
            yield f"{size(total.disk)} of results, {size(free)} of disk are free here"
        there, owner = (_memory_here(), "this machine") if self.measured else (OF_H100, "an H100")
        if total.memory > there:
            mend = "runtime.microbatch and runtime.batch_size make it smaller"
            yield f"{size(total.memory)} of memory for the largest job, {owner} has {size(there)}: {mend}"
        if (busy := os.getloadavg()[0]) > BUSY * (os.cpu_count() or 1) and self.measured:
            yield f"other work keeps this machine busy (load {busy:.1f}): the times are too long"
        if unknown := [download.name for download in self.downloads if download.bytes is None]:
            yield f"of {len(unknown)} downloads the size is not published: {', '.join(unknown[:3])}"


def _named(part: str, one: Sum) -> Json:
    return {part: one.name, **{key: value for key, value in asdict(one).items() if key != "name"}}


def _memory_here() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# as text


def table(plan: Plan) -> str:
    """The plan for a terminal: the dearest stages first, those below a hundredth of the time together."""
    if not plan.costs:
        return "nothing is left to do"
    total = replace(plan.total(), seconds=plan.seconds)
    lines = _rows("stage", [*_dearest(plan), total])
    if len(systems := plan.by("system")) > 1:
        lines += ["", *_rows("system", systems)]
    lines += ["", f"time: {plan.basis}" + (f", {plan.workers} jobs at a time" if plan.workers > 1 else "")]
    lines += [] if plan.limit is None else [_limited(plan.limit)]
    lines += [f"download: {d.name}, {size(d.bytes)}, licence {d.licence}" for d in plan.downloads]
    lines += [f"not here yet: {missing}" for missing in plan.missing]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in plan.warnings())])


def _limited(limit: Link) -> str:
    mend = "runtime.processes gives a job several GPUs, runtime.partitions divides sampling into jobs"
    return f"limit: others wait for {limit.rule}, {duration(limit.seconds)}; {mend}"


def _dearest(plan: Plan) -> Iterator[Sum]:
    """The stages, those below a hundredth of the time as one."""
    stages, least = plan.by("rule"), plan.total().seconds / 100
    yield from (stage for stage in stages if stage.seconds >= least)
    if small := [stage for stage in stages if stage.seconds < least]:
        yield Sum.of(f"{len(small)} others", small)


def _rows(part: str, sums: Sequence[Sum]) -> list[str]:
    rows = [(part, "jobs", "network calls", "time", "memory", "disk"), *map(_row, sums)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_cells(row, widths)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield row[0].ljust(widths[0])
    yield from (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))


def _row(one: Sum) -> tuple[str, ...]:
    calls = f"{one.calls:,.0f}" if one.calls else ""
    memory, disk = (size(value) if value else "" for value in (one.memory, one.disk))
    return one.name, str(one.jobs), calls, duration(one.seconds), memory, disk


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
