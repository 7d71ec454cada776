"""What targets cost before they are made: jobs, network calls, time, memory, disk, downloads.

Seconds of networks are operations over the rate that is measured here with the network itself; jobs that were
done on this machine before correct them, rule by rule.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError
from bridgepipe.names import Json

if TYPE_CHECKING:
    import torch

    from bridgepipe.workflow.footprint import Footprint

SCRIPT = Path("workflow/jobs.py")  # reads the graph of jobs
# Seconds of a job beside its network calls: most is the start of Python and PyTorch.
START = 4.0
ALONE = {"photographs": 30.0, "prepare": 8.0, "train_classifier": 15.0}  # of rules whose work is not counted
# seconds of an image whose features are taken: by Inception or ResNet-50 on a CPU, by the small classifier
FEATURE, SMALL_FEATURE = 0.05, 0.001
BUSY = 1.2  # load of a core that other work keeps busy
FETCHES = ("fetch", "fetch_folder")


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


def plan(targets: Sequence[str], runtime: Runtime, gpus: int = 0) -> Plan:
    """What the jobs that are not done take.

    Args:
        targets: files, rules or experiments; everything where none is named.
        runtime: section `runtime` of the parameters.
        gpus: H100s that they would run on; 0: this machine.

    Raises:
        UserError: this is not the folder of a project, or nothing makes a target.
    """
    jobs = _jobs(targets)
    machine = Machine(runtime, gpus)
    if not any(job["waits"] for job in jobs):
        return Plan([], 0, 1, [], "nothing is left to do", False)
    estimates = [machine.seconds(job) for job in jobs]
    factors = {} if gpus else dict(_corrections(jobs, estimates))
    seconds = [s * factors.get(job["rule"], 1) for job, s in zip(jobs, estimates, strict=True)]
    waiting = [(job, s) for job, s in zip(jobs, seconds, strict=True) if job["waits"]]
    costs = [machine.cost(job, s) for job, s in waiting]
    basis = machine.basis
    if factors and not gpus:
        basis += f"; corrected by jobs of {len(factors)} rules that were done here"
    return Plan(costs, _longest(jobs, seconds), max(gpus, 1), list(_downloads(waiting)), basis, not gpus)


def _jobs(targets: Sequence[str]) -> list[Json]:
    if not SCRIPT.is_file():
        raise UserError("no workflow here", Path.cwd(), "run it in the folder of a project")
    done = subprocess.run([sys.executable, SCRIPT, *targets], check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, end="", file=sys.stderr)
        raise SystemExit(done.returncode)
    return json.loads(done.stdout)


def _corrections(jobs: Iterable[Json], estimates: Iterable[float]) -> Iterator[tuple[str, float]]:
    """By rule, how much longer jobs that are done took than was estimated; median."""
    ratios: defaultdict[str, list[float]] = defaultdict(list)
    for job, estimate in zip(jobs, estimates, strict=True):
        if not job["waits"] and (took := _benchmark(job["benchmark"])):
            ratios[job["rule"]].append(took / estimate)
    yield from ((rule, statistics.median(found)) for rule, found in ratios.items())


def _benchmark(file: str | None) -> float | None:
    """Seconds that Snakemake measured; None where it has not."""
    with suppress(OSError, KeyError, ValueError, StopIteration):
        if file is not None:
            with Path(file).open(encoding="utf8") as lines:
                return float(next(csv.DictReader(lines, delimiter="\t"))["s"])
    return None


def _longest(jobs: Sequence[Json], seconds: Sequence[float]) -> float:
    """Seconds of the longest chain of waiting jobs; jobs come after what they need."""
    ends: list[float] = []
    for job, own in zip(jobs, seconds, strict=True):
        before = max((ends[number] for number in job["needs"]), default=0.0)
        ends.append(before + own * job["waits"])
    return max(ends, default=0.0)


def _downloads(waiting: Iterable[tuple[Json, float]]) -> Iterator[Download]:
    from bridgepipe.downloads import sources

    listed = sources.load_sources()
    for job, _ in waiting:
        if job["rule"] in FETCHES and (name := sources.source_at(job["outputs"][0])):
            yield Download(name, listed[name].size, listed[name].licence)


class Machine:
    """How long networks take on this machine, or would take on H100s.

    Args:
        gpus: H100s; 0: what is here.
    """

    def __init__(self, runtime: Runtime, gpus: int) -> None:
        self._runtime, self._gpus = runtime, gpus

    @cached_property
    def _device(self) -> torch.device:
        import torch

        torch.set_num_threads(min(self._runtime.threads, torch.get_num_threads()))
        here = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(here if self._runtime.device == "auto" else self._runtime.device)

    @property
    def basis(self) -> str:
        if self._gpus:
            return f"{self._gpus} H100s in tf32, 15.9 ms for a call of I2SB's network (docs/gpu.md)"
        return f"every network timed now on this machine, {self._runtime.threads} threads a job"

    def seconds(self, job: Mapping[str, Any]) -> float:
        """Of a job alone on the machine."""
        if self._gpus:
            return ALONE.get(job["rule"], START) + job["on_h100"]
        calls = sum(self._of_calls(job, net, count) for net, count in job["calls"])
        per_feature = SMALL_FEATURE if job["extractor"] == "classifier" else FEATURE
        return ALONE.get(job["rule"], START) + calls + job["features"] * per_feature

    def cost(self, job: Mapping[str, Any], seconds: float) -> Cost:
        """What a job takes in all."""
        costs = [self._footprint(json.dumps(net), *self._how(job)) for net, _ in job["calls"]]
        states = sum(cost.state + 4 * cost.parameters for cost in costs if cost.trains)
        memory = max((cost.memory for cost in costs), default=0)
        calls = sum(count for _, count in job["calls"])
        return Cost(job["rule"], calls, seconds, memory, job["bytes"] + states)

    def _of_calls(self, job: Mapping[str, Any], net: Json, count: float) -> float:
        return count * self._per_call(json.dumps(net), *self._how(job))

    def _how(self, job: Mapping[str, Any]) -> tuple[int, bool]:
        """Images at a time, and whether a network is trained."""
        step = job["images"]
        if step is None:
            return self._runtime.batch_size, False
        return min(step, self._runtime.microbatch or step), True

    @cache  # noqa: B019, a machine lives as long as the command
    def _per_call(self, net: str, images: int, trains: bool) -> float:
        """Seconds of a call for one image; training counts a step as three."""
        from bridgepipe.workflow import footprint

        cost = self._footprint(net, images, trains)
        return cost.operations / footprint.rate(_net(net), cost, images, self._device)

    @cache  # noqa: B019
    def _footprint(self, net: str, images: int, trains: bool) -> Footprint:
        from bridgepipe.workflow import footprint

        return footprint.of(_net(net), images, trains)


def _net(text: str) -> Any:
    from bridgepipe.workflow import footprint

    values = json.loads(text)
    return footprint.Net(**{**values, "size": values["size"] and tuple(values["size"])})


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
