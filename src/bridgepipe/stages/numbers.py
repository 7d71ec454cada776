"""The numbers of metric files alone, for DVC; without tables, so that it starts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe.evaluation import protocol
from bridgepipe.names import Json


def write_numbers(metrics: Sequence[Path], output: Path) -> None:
    """The numbers of an experiment's metric files, without what they were made with.

    Digests of these files stand in a list, which DVC does not show.
    """
    values = {file.stem: _without_intervals(protocol.read_metric(file)["values"]) for file in metrics}
    made_of = [[file.as_posix(), artifacts.digest_file(file)] for file in metrics]
    artifacts.write_json(output, {**values, "made_of": made_of})


def _without_intervals(values: Mapping[str, Any]) -> Json:
    return {name: value for name, value in values.items() if not name.endswith(("_low", "_high", "_n"))}
