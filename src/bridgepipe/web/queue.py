"""One thread that does all work in order of arrival, so that every network is in memory once."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from bridgepipe.errors import UserError, is_out_of_memory, out_of_memory
from bridgepipe.web.refusals import TOO_MANY, Refused

Report = Callable[[float], None]  # called with the share of the work that has just been done
State = Literal["waiting", "working", "done", "failed", "stopped"]
DEFECT = "bridgepipe failed, which is a defect (page): the terminal of the server tells the details"


class Stopped(Exception):
    """A visitor, or the end of the server, stopped a job."""


@dataclass(eq=False)
class Job:
    """Work for a visitor.

    Attributes:
        run: function that does it, and returns its result.
        owner: who may have as many of them as `Queue` allows.
        kind, size: jobs of one kind take as long as they are large.
        share: share that is done, 0 to 1.
        error: one line, when it has failed.
    """

    run: Callable[[Report], Any]
    owner: object
    kind: str
    size: float
    state: State = "waiting"
    share: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    error: str = ""
    result: Any = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed", "stopped")

    def stop(self) -> None:
        """Stop it before it begins, or at the next network call."""
        self._stop.set()
        if self.state == "waiting":
            self.state = "stopped"

    def report(self, share: float) -> None:
        """Note progress.

        Raises:
            Stopped: the job is to stop.
        """
        self.share = min(1.0, self.share + share)
        if self._stop.is_set():
            raise Stopped


class Queue:
    """Jobs in order of arrival, done by one thread until the block ends.

    Args:
        most: jobs that wait, at most.
        each: jobs of one visitor that wait or are at work, at most.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most, self._each = most, each
        self._jobs: list[Job] = []  # the first is at work
        self._seconds: dict[str, float] = {}  # a unit of size of every kind, as it took the last time
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="bridgepipe work", daemon=True)

    def __enter__(self) -> Queue:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.stop()
            self._changed.notify()
        self._thread.join(timeout=30)

    def add(self, job: Job) -> None:
        """Put a job at the end.

        Raises:
            Refused: too many jobs wait.
        """
        with self._changed:
            open_jobs = [other for other in self._jobs if not other.is_over]
            if sum(other.owner is job.owner for other in open_jobs) >= self._each:
                what = f"{self._each} of your pictures are waiting already"
                raise Refused(TOO_MANY, what, "queue", "wait until one is done, or stop one")
            if sum(other.state == "waiting" for other in open_jobs) >= self._most:
                what = f"{self._most} pictures are waiting already"
                raise Refused(TOO_MANY, what, "queue", "try again in a minute")
            self._jobs.append(job)
            self._changed.notify()

    def ahead(self, job: Job) -> int:
        """How many jobs are done before one that waits."""
        with self._changed:
            before = self._jobs[: self._jobs.index(job)] if job in self._jobs else []
            return sum(not other.is_over for other in before)

    def seconds_left(self, job: Job) -> float | None:
        """By what is done of a job that is at work, or by the last of its kind; None: nobody knows."""
        passed = time.monotonic() - job.started
        if job.share > 0:
            return passed * (1 - job.share) / job.share
        if job.kind in self._seconds:
            return max(0.0, self._seconds[job.kind] * job.size - passed)
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                self._jobs = [job for job in self._jobs if not job.is_over]
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._jobs[0]
                if job.state != "waiting":  # stopped meanwhile
                    continue
                job.state, job.started = "working", time.monotonic()
            self._do(job)

    def _do(self, job: Job) -> None:
        try:
            job.report(0.0)
            result = job.run(job.report)
        except Stopped:
            end: State = "stopped"
        except Exception as e:
            job.error, end = _line(e), "failed"
        else:
            job.result, end = result, "done"
            self._seconds[job.kind] = (time.monotonic() - job.started) / max(job.size, 1)
        with self._changed:
            job.ended, job.state = time.monotonic(), end


def _line(error: Exception) -> str:
    if is_out_of_memory(error):
        return str(out_of_memory(error, "page"))
    if isinstance(error, UserError):
        return str(error)
    traceback.print_exception(error, file=sys.stderr)
    return DEFECT
