"""Tables of everything about points: a row per experiment, and which of their numbers may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bridgepipe.evaluation import protocol, tables
from bridgepipe.evaluation.protocol import Metric
from bridgepipe.names import Json

# number of a metric file -> column
COLUMNS = {
    "n": "points of plans",
    "sliced_w2": "sliced W2",
    "sliced_w2_floor": "floor",
    "sliced_w2_floor_spread": "spread of floor",
    "exact_cost": "W2 squared",
    "exact_cost_floor": "floor of W2 squared",
    "exact_cost_floor_spread": "spread of floor of W2 squared",
    "entropic_cost": "entropic",
    "entropic_cost_floor": "floor of entropic",
    "entropic_cost_floor_spread": "spread of floor of entropic",
    "mse_ot": "MSE to OT",
    "mse_sinkhorn": "MSE to Sinkhorn",
    "sliced_w2_ddib": "sliced W2, DDIB",
    "sliced_w2_ot": "sliced W2, OT",
    "sliced_w2_sinkhorn": "sliced W2, Sinkhorn",
    "sliced_w2_untouched": "sliced W2, untouched",
    "cost": "cost of the map",
    "cost_optimal": "optimal",
    "excess": "excess",
    "latent_sliced_w2": "latents to normal",
    "latent_sliced_w2_floor": "floor of latents",
    "latent_sliced_w2_floor_spread": "spread of floor of latents",
}
# which points a row is of, from the name of its experiment
POINTS = ("inputs", "settings.source", "settings.target")
GROUP = (
    "Rows of one group were measured alike, each on its own points. Numbers of rows of different groups were"
    " measured under different protocols."
)
FLOOR = "A floor is the distance of as many independent true points, mean and spread of several draws."
WORST = "worst: the largest of the rows of a group."


def points(files: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """A row per experiment, or per way of one that goes both ways; and how the table is read."""
    metrics = [protocol.read_metric(file) for file in files]
    groups = protocol.groups([{"": metric} for metric in metrics], POINTS)
    rows = []
    for file, metric, group in zip(files, metrics, groups, strict=True):
        for way, values in parts(metric["values"]).items():
            row = {title: values[key] for key, title in COLUMNS.items() if key in values}
            count = (
                {} if way else {"n": metric["protocol"]["n"]}
            )  # of one way of two: the points of the plans
            rows.append({"experiment": f"{file.parent.name} {way}".strip(), "group": group, **count, **row})
    frame = tables.table(rows)
    return frame, [GROUP, *([FLOOR] if "floor" in frame else [])]


def cycles(files: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """Mean and largest error of every solver's cycle, a row per pair, then the worst of every group."""
    metrics = [_by_solver(protocol.read_metric(file)) for file in files]
    groups = protocol.groups(metrics, POINTS)
    rows: list[Json] = [
        {
            "experiment": file.parent.name,
            "group": group,
            "n": next(iter(of_pair.values()))["protocol"]["n"],
            **_errors(of_pair),
        }
        for file, of_pair, group in zip(files, metrics, groups, strict=True)
    ]
    frame = tables.table(rows)
    columns = [column for column in frame if str(column).endswith((", mean", ", max"))]
    worst = frame.groupby("group", sort=False)[columns].max().reset_index()
    frame = pd.concat([frame, worst.assign(experiment="worst")], ignore_index=True)
    return frame, [GROUP, WORST]


def parts(values: Mapping[str, Any]) -> dict[str, dict[str, protocol.Value]]:
    """``china as flower: cost`` is the cost of one way of two; ``cost`` that of the only one."""
    found: dict[str, dict[str, protocol.Value]] = {}
    for key, value in values.items():
        part, _, name = key.rpartition(": ")
        found.setdefault(part, {})[name] = value
    return found


def _by_solver(metric: Metric) -> dict[str, Metric]:
    """A metric for each solver alone: the other solvers of the same file are no part of its protocol."""
    described = metric["protocol"]
    shared = {key: value for key, value in described["settings"].items() if key != "cycle"}
    return {
        solver: {
            **metric,
            "values": values,
            "protocol": {**described, "settings": {**shared, **described["settings"]["cycle"][solver]}},
        }
        for solver, values in parts(metric["values"]).items()
    }


def _errors(metrics: Mapping[str, Metric]) -> dict[str, protocol.Value]:
    return {
        f"{solver}, {end}": metrics[solver]["values"][end] for solver in metrics for end in ("mean", "max")
    }


def nearest(metric: Metric, wanted: Mapping[str, Any]) -> Metric:
    """The part of a file of cycles whose solver is set most like ``wanted``, in the most calls."""

    def likeness(of_solver: Metric) -> tuple[int, Any]:
        settings = of_solver["protocol"]["settings"]
        return sum(settings.get(key) == value for key, value in wanted.items()), of_solver["values"]["calls"]

    return max(_by_solver(metric).values(), key=likeness)
