"""The results that are committed, `benchmarks/results.json` and `.md`, and what has moved since."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Result
from bridgepipe import artifacts
from bridgepipe.evaluation.tables import markdown, table

ROOT = Path(__file__).parents[1]
FILE = Path("benchmarks/results.json")
MOVED = 0.1  # change of a ratio that is told
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "pillow", "lmdb", "snakemake")


def machine() -> dict[str, Any]:
    """What the times depend on, without the name of the machine."""
    cores = len(os.sched_getaffinity(0))
    return {
        "processor": _processor(),
        "cores": cores,
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "load before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf8"))
    except OSError:
        found = None
    return found[1] if found else platform.processor()


def committed() -> Mapping[str, Any] | None:
    """The results of the last commit; None where there are none."""
    shown = subprocess.run(["git", "show", f"HEAD:{FILE}"], cwd=ROOT, capture_output=True, check=False)
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def write(results: Sequence[Result], on: Mapping[str, Any]) -> str:
    """Write both files; the text of the second."""
    rows = [result.row() for result in results]
    artifacts.write_json(ROOT / FILE, {"machine": dict(on), "rows": rows})
    told = [f"{name}: {', '.join(value) if isinstance(value, list) else value}" for name, value in on.items()]
    text = markdown(table(rows), [line for line in told if not line.endswith(": ")])
    artifacts.write_text((ROOT / FILE).with_suffix(".md"), text)
    return text


def moved(before: Mapping[str, Any], results: Sequence[Result]) -> list[str]:
    """A line for every ratio that differs from an earlier one by more than `MOVED`."""
    earlier = {(row["what"], row["baseline"]): row["ratio"] for row in before["rows"]}
    known = ((r, earlier[r.what, r.baseline]) for r in results if (r.what, r.baseline) in earlier)
    return [
        f"{r.what}: {ratio:.3g}, now {r.ratio:.3g}" for r, ratio in known if abs(r.ratio / ratio - 1) > MOVED
    ]
