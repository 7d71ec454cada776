"""What targets cost before they are made.

Seconds of networks are operations over the rate that is measured here with the network itself; jobs that were
done on this machine before correct them, rule by rule.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe.config.methods import METHODS
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import RUNTIME, read_runtime_file
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.runtime import progress
from bridgepipe.workflow import plans
from bridgepipe.workflow.costs import Cost, Download, Link, Plan

if TYPE_CHECKING:
    import torch

    from bridgepipe.workflow.footprint import Footprint

SCRIPT = Path("workflow/jobs.py")  # reads the graph of jobs
# Seconds of a job beside what is counted, on two cores: most is the start of Python and PyTorch.
START = 3.0
ALONE = {"photographs": 12.0, "train_classifier": 12.0}  # of rules whose work is not counted
PREPARED = 0.002  # seconds of an image that is decoded and resized
# seconds of an image whose features are taken: by Inception or ResNet-50 on a CPU, by the small classifier
FEATURE, SMALL_FEATURE = 0.05, 0.001
FETCHES = ("fetch", "fetch_folder")


def plan(targets: Sequence[str], gpus: int = 0) -> Plan:
    """What the jobs that are not done take.

    Args:
        targets: files, rules or experiments; everything where none is named.
        gpus: H100s that they would run on; 0: this machine.

    Raises:
        UserError: this is not the folder of a project, or it has no such experiment.
    """
    found = _found(targets)
    jobs, missing = found["jobs"], found["missing"]
    machine = Machine(read_runtime_file(RUNTIME), gpus)  # as the Snakefile has just written it
    if not any(job["waits"] for job in jobs):
        return Plan([], [], 1, [], "nothing is left to do", False)
    machine.measure(jobs)
    estimates = [machine.seconds(job) for job in jobs]
    factors = {} if gpus else dict(_corrections(jobs, estimates))
    seconds = [s * factors.get(job["rule"], 1) for job, s in zip(jobs, estimates, strict=True)]
    waiting = [(job, s) for job, s in zip(jobs, seconds, strict=True) if job["waits"]]
    costs = [machine.cost(job, s) for job, s in waiting]
    basis = machine.basis
    if factors and not gpus:
        basis += f"; corrected by jobs of {len(factors)} rules that were done here"
    chain = [Link(jobs[number]["rule"], seconds[number]) for number in _chain(jobs, seconds)]
    return Plan(costs, chain, machine.workers, list(_downloads(waiting)), basis, not gpus, missing)


def _found(targets: Sequence[str]) -> Json:
    """The jobs, and what a person has yet to put there."""
    if not SCRIPT.is_file():
        raise UserError("no workflow here", Path.cwd(), "run it in the folder of a project")
    plans.check_known(target for target in targets if target.rpartition("/")[0] in METHODS)
    progress.say("plan: reading the graph of jobs")
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


def _chain(jobs: Sequence[Json], seconds: Sequence[float]) -> list[int]:
    """Numbers of the jobs of the longest chain of waiting ones; jobs come after what they need."""
    ends: list[float] = []
    before: list[int | None] = []
    for job, own in zip(jobs, seconds, strict=True):
        last = max(job["needs"], key=ends.__getitem__, default=None)
        before.append(last)
        ends.append((0 if last is None else ends[last]) + own * job["waits"])
    number: int | None = max(range(len(ends)), key=ends.__getitem__, default=None)
    chain = []
    while number is not None:
        chain += [number] if jobs[number]["waits"] else []
        number = before[number]
    return chain[::-1]


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
    def _processes(self) -> int:
        """That share the GPUs of a job."""
        return min(self._runtime.processes, self._gpus)

    @property
    def workers(self) -> int:
        """Jobs beside each other."""
        return self._gpus // self._processes if self._gpus else 1

    @property
    def basis(self) -> str:
        if self._gpus:
            which = "one H100" if self._gpus == 1 else f"{self._gpus} H100s"
            shared = f", shared evenly by {shares} processes a job" if (shares := self._processes) > 1 else ""
            return f"{which} in tf32, 15.9 ms for a call of I2SB's network (docs/gpu.md){shared}"
        return f"every network timed now on this machine, {self._runtime.threads} threads a job"

    def measure(self, jobs: Iterable[Json]) -> None:
        """Take every network's measures, which `seconds` and `cost` need, and tell how far that is."""
        needed = [job for job in jobs if job["waits"] or not self._gpus]
        asked = {(json.dumps(net), job["batch"], job["trains"]) for job in needed for net, _ in job["calls"]}
        verb = "counting" if self._gpus else "timing"
        for number, how in enumerate(sorted(asked), start=1):
            progress.say(f"plan: {verb} network {number} of {len(asked)}")
            self._footprint(*how) if self._gpus else self._per_call(*how)

    def seconds(self, job: Mapping[str, Any]) -> float:
        """Of a job alone on the machine."""
        alone = ALONE.get(job["rule"], START) + job["prepared"] * PREPARED
        if self._gpus:
            return alone + job["on_h100"] / min(job["processes"], self._gpus)
        calls = sum(self._of_calls(job, net, count) for net, count in job["calls"])
        per_feature = SMALL_FEATURE if job["extractor"] == "classifier" else FEATURE
        return alone + calls + job["features"] * per_feature

    def cost(self, job: Mapping[str, Any], seconds: float) -> Cost:
        """What a job takes in all."""
        costs = [self._footprint(json.dumps(net), job["batch"], job["trains"]) for net, _ in job["calls"]]
        states = sum(cost.state + 4 * cost.parameters for cost in costs if cost.trains)
        memory = max((cost.memory for cost in costs), default=0)
        calls = sum(count for _, count in job["calls"])
        return Cost(job["rule"], job["system"], calls, seconds, memory, job["bytes"] + states)

    def _of_calls(self, job: Mapping[str, Any], net: Json, count: float) -> float:
        return count * self._per_call(json.dumps(net), job["batch"], job["trains"])

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
