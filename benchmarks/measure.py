"""Timing two ways of doing the same thing, interleaved so that both see the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """Median seconds of ours and of the baseline over interleaved repetitions, and of the ratios of pairs.

    Attributes:
        share: what ours reaches of this machine's rate of matrix products in the same precision.
    """

    what: str
    baseline: str
    ours_s: float
    baseline_s: float
    ratio: float
    share: float | None = None

    def row(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "baseline": self.baseline,
            "ours, ms": 1e3 * self.ours_s,
            "baseline, ms": 1e3 * self.baseline_s,
            "ratio": self.ratio,
            "of the matrix rate": self.share,
        }


def compare(
    what: str,
    ours: Callable[[], Any],
    baseline_name: str,
    baseline: Callable[[], Any],
    repeat: int = 7,
    clock: Callable[[], float] = time.perf_counter,
    warm: bool = True,
) -> Result:
    """Time ``ours`` against ``baseline``.

    Args:
        warm: call each once before counting.
    """
    if warm:
        ours(), baseline()
    times = [(_seconds(ours, clock), _seconds(baseline, clock)) for _ in range(repeat)]
    ratios = [theirs / mine for mine, theirs in times]  # of one moment: others may use the machine, too
    return Result(what, baseline_name, *map(statistics.median, (*zip(*times, strict=True), ratios)))


def _seconds(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start
