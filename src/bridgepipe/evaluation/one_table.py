"""The one table of all results: a row per measure and experiment, under a heading per protocol and task.

Numbers of different protocols never stand in one row, and only rows under one heading may be compared:
restorations of other corruptions, or of other images, are another task with a heading of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bridgepipe.artifacts import write_text
from bridgepipe.evaluation import protocol, tables
from bridgepipe.evaluation.measures import FEW, MEASURES, Measure, Reading, decimals, readings
from bridgepipe.evaluation.measures import task as task_of
from bridgepipe.evaluation.published_numbers import Published, is_of, load_published
from bridgepipe.evaluation.repeats import pooled
from bridgepipe.evaluation.tables import MISSING

COLUMNS = ("experiment", "NFE", "value", "95 %", "real", "input", "published", "n")
TEXT = {"experiment", "95 %"}  # aligned to the left
# column, or what stands in one -> how it is read; of what no row has nothing is said
NOTES = {
    "value": "Bold: the best of the rows under one heading, where one protocol measured several.",
    "95 %": "95 %: interval for another draw of as many images.",
    "seeds": "seeds: mean over experiments that differ in their seed alone, and Student's t interval of this"
    " mean for other seeds, on the same images.",
    "real": "real: the floor, the same of as many real images or points. A value whose interval reaches it"
    " can't be told from it.",
    "input": "input: the same of the degraded, unedited or untouched input; of similarities, of random"
    " images.",
    "better": "better: the input is better than the result, by the 95 % interval of the gain of every image"
    " over its own input.",
    "alike": "alike: by that interval the result can't be told from the input.",
    "published": "published: only where the published number was measured under the same protocol.",
}
MOST_DECIMALS = 5  # more are written as a power of ten
FEW_IMAGES = f"few: fewer than {FEW} images, too few to say much."


@dataclass(frozen=True)
class Block:
    """Readings of one measure that stand under one heading."""

    measure: Measure
    readings: Sequence[Reading]

    @property
    def about(self) -> str:
        """What was asked for, and what the values are measured against and by, in words."""
        described = self.readings[0].metric["protocol"]
        reference, extractor = described.get("reference") or {}, described.get("extractor") or {}
        known = {"name", "n", "originals"} <= reference.keys()
        task = {} if self.measure.own_points else task_of(self.readings[0].metric)
        words = [f"restored from {task['corruption']}"] if "corruption" in task else []
        words += [f"translated to {target}"] if (target := task.get("target")) is not None else []
        words += [f"to {protocol.reference_of(described)}"] if known else []
        words += [f"by {extractor['name']}"] if "name" in extractor else []
        one = len({reading.protocol for reading in self.readings}) == 1
        words += [f"protocol {self.readings[0].protocol[:8]}"] if one else ["each on its own points"]
        return "; ".join(words)

    @cached_property
    def best(self) -> set[str]:
        """Experiments with the best value among two or more of one protocol."""
        found: set[str] = set()
        for same in {reading.protocol for reading in self.readings}:
            rows = [reading for reading in self.readings if reading.protocol == same]
            values = [reading.value for reading in rows]
            best = min(values) if self.measure.better == "lower" else max(values)
            if len(rows) > 1:
                found |= {reading.experiment for reading in rows if reading.value == best}
        return found

    def rows(self) -> list[dict[str, str]]:
        """Cells of `COLUMNS` as text; empty where there is nothing to say."""
        found = [(cells(reading), _judged(reading)) for reading in self.readings]
        return [cell | {"input": f"{cell['input']}{judged}"} for cell, judged in found]


def cells(reading: Reading) -> dict[str, str]:
    """A row of the table as text."""
    digits = decimals(reading)
    interval = (reading.low, reading.high)
    ends = [_text(end, digits) for end in interval if end is not None]
    return {
        "experiment": reading.experiment,
        "NFE": _text(reading.nfe, 0),
        "value": _text(reading.value, digits),
        "95 %": " to ".join(ends) + (f" ({len(reading.members)} seeds)" if reading.members else ""),
        "real": _text(reading.floor, digits),
        "input": _text(reading.before, digits),
        "published": "" if reading.published is None else f"{reading.published:g}",
        "n": f"{reading.n:,}" + (" (few)" if reading.few else ""),
    }


def _judged(reading: Reading) -> str:
    """What stands beside the value of an input that its restoration does not surpass."""
    return " (better)" if reading.worse_than_input else " (alike)" if reading.like_input else ""


def _text(number: float | None, digits: int) -> str:
    if number is None:
        return ""
    return f"{number:z,.{digits}f}" if digits <= MOST_DECIMALS else f"{number:.1e}"


def read(metric_files: Iterable[Path]) -> list[Reading]:
    """Readings of the files ``…/METHOD/EXPERIMENT/METRIC.json``."""
    known = load_published()
    found = []
    for file in metric_files:
        metric, (method, experiment) = protocol.read_metric(file), protocol.measured(file)
        how = metric["made_with"].get("settings", {})
        mine: list[Published] = [p for p in known if is_of(p, method, experiment, how)]
        found += list(readings(f"{method}/{experiment}", file.stem, metric, mine))
    return found


def blocks(found: Sequence[Reading]) -> list[Block]:
    """Readings by measure, protocol and task, measures in the order of `MEASURES`; seeds are `pooled`."""
    groups: dict[tuple[Measure, str], list[Reading]] = {}
    rows = pooled(found)
    for measure in MEASURES:
        for reading in rows:
            if reading.measure == measure:
                groups.setdefault((measure, reading.alike), []).append(reading)
    return [Block(measure, rows) for (measure, _), rows in groups.items()]


def columns_of(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The columns that some row fills."""
    return [column for column in COLUMNS if any(row[column] for row in rows)]


def notes_of(found: Sequence[Block]) -> list[str]:
    """How the table is read."""
    used = columns_of([row for block in found for row in block.rows()])
    few = any(reading.few for block in found for reading in block.readings)
    said = {column: column in used for column in NOTES}
    said["value"] = any(block.best for block in found)
    said["better"] = any(reading.worse_than_input for block in found for reading in block.readings)
    said["alike"] = any(reading.like_input for block in found for reading in block.readings)
    said["seeds"] = any(reading.members for block in found for reading in block.readings)
    notes = [note for column, note in NOTES.items() if said[column]]
    return notes + ([FEW_IMAGES] if few else [])


def as_frame(found: Sequence[Block]) -> pd.DataFrame:
    """Every reading with all its digits, for CSV."""
    return pd.DataFrame([_record(block, reading) for block in found for reading in block.readings])


def _record(block: Block, reading: Reading) -> dict[str, Any]:
    members = reading.members or [reading]
    return {
        "measure": block.measure.title,
        "better": block.measure.better,
        "protocol": reading.protocol,
        "experiment": reading.experiment,
        "nfe": reading.nfe,
        "value": reading.value,
        "low": reading.low,
        "high": reading.high,
        "real": reading.floor,
        "input": reading.before,
        "published": reading.published,
        "n": reading.n,
        "seeds": len(members),
        "members": "; ".join(member.experiment for member in members),
        "values": "; ".join(str(member.value) for member in members),
        "few": reading.few,
        "best": reading.experiment in block.best,
        "measured": block.about,
    }


def write_csv(path: Path, found: Sequence[Block]) -> None:
    """Write every reading with all its digits; whole numbers stay whole where some are missing."""
    frame = as_frame(found)
    if len(frame):
        frame["nfe"] = frame["nfe"].astype("Int64")
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def markdown(found: Sequence[Block]) -> str:
    """The table as Markdown, a heading for every measure, protocol and task."""
    parts = []
    for block in found:
        columns = columns_of(block.rows())
        table = tables.rows_as_markdown(columns, [_bold(row, block) for row in block.rows()], TEXT)
        parts.append(f"## {block.measure.heading}\n\n{block.about}\n\n{table}")
    notes = "".join(f"- {note}\n" for note in notes_of(found))
    return "\n".join([*parts, notes] if notes else parts)


def _bold(row: Mapping[str, str], block: Block) -> dict[str, str]:
    return {**row, "value": f"**{row['value']}**"} if row["experiment"] in block.best else dict(row)


def terminal(found: Sequence[Block], styled: bool) -> str:
    """The table as lines of at most eight columns.

    Args:
        found: what is shown.
        styled: whether the best values are bold; else a star stands beside them.
    """
    parts = ["\n".join([f"{b.measure.heading}   {b.about}", *_lines(b, styled)]) for b in found]
    notes = notes_of(found)
    notes = notes if styled else [note.replace("Bold:", "*:") for note in notes]
    return "\n\n".join([*parts, "\n".join(notes)] if notes else parts)


def _lines(block: Block, styled: bool) -> list[str]:
    rows, columns = block.rows(), columns_of(block.rows())
    marks = [" *" if row["experiment"] in block.best else "" for row in rows]
    width = {c: max(len(c), *(len(row[c] or MISSING) for row in rows)) for c in columns}

    def line(row: Mapping[str, str]) -> list[str]:
        return [
            (row[c] or MISSING).ljust(width[c]) if c in TEXT else (row[c] or MISSING).rjust(width[c])
            for c in columns
        ]

    lines = [
        [f"{cell} " if c == "value" else cell for c, cell in zip(columns, line(row), strict=True)]
        for row in rows
    ]
    at = columns.index("value")
    for cells_, mark in zip(lines, marks, strict=True):
        if mark:
            cells_[at] = f"\033[1m{cells_[at]}\033[0m" if styled else f"{cells_[at].rstrip()}*"
    head = line(dict(zip(columns, columns, strict=True)))
    head[at] += " "
    return ["  " + "  ".join(cells_).rstrip() for cells_ in [head, *lines]]
