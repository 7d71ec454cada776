"""The published numbers that may not stand beside ours, in a table of their own.

They stand under the place where they are printed, with the protocol that is stated there and with what is
different in ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridgepipe.evaluation import comparable, point_tables, protocol, tables
from bridgepipe.evaluation.protocol import Metric
from bridgepipe.evaluation.published_numbers import Published, is_of, load_published
from bridgepipe.names import Json, seeds

HEADING = "Published, under other protocols"
ALONE = "Published"  # where there is nothing of ours
NOTE = "They may not be compared with ours: they were measured in another way, or it is not known how."
# metric -> its column; of a metric that our files have under another name, the file
TITLES = {
    "fid": "FID",
    "accuracy": "accuracy, %",
    "fid_change": "change of FID",
    "accuracy_change": "change of accuracy, %",
    "cycle_l2_lowest": "cycle error, lowest",
    "cycle_l2_highest": "cycle error, highest",
    "mse_emd": "MSE to optimal transport",
    "mse_sinkhorn": "MSE to Sinkhorn",
    "mse_pairs": "MSE to the partner",
}
FILES = {
    "fid_change": "fid",
    "accuracy_change": "accuracy",
    "cycle_l2_lowest": "cycle",
    "cycle_l2_highest": "cycle",
    "mse_emd": "transfer",
    "mse_sinkhorn": "transfer",
    "mse_pairs": "similarity",
}
TEXT = {"task", "system"}  # columns that are aligned to the left


@dataclass(frozen=True)
class Place:
    """Numbers that are printed in one place.

    Attributes:
        source: paper or repository, and table.
        stated: protocol of the measurement, as far as it is known.
        differs: what is different in ours, or not known, and of which experiments.
        rows: cells as text by column; a number that is not printed is empty.
    """

    source: str
    stated: str
    differs: Sequence[str]
    rows: Sequence[Mapping[str, str]]

    @property
    def columns(self) -> list[str]:
        """The columns that some row fills."""
        return [column for column in self.rows[0] if any(row[column] for row in self.rows)]

    @property
    def about(self) -> list[str]:
        """The sentences above the rows."""
        return [self.stated, *self.differs]


@dataclass(frozen=True)
class _Ours:
    """One experiment.

    Attributes:
        how: settings that its results are made with.
        metrics: the metric files by name, None in place of one that is not there yet.
    """

    method: str
    name: str
    how: Json
    metrics: Mapping[str, Metric | None]

    def has_task_of(self, number: Published) -> bool:
        return is_of(number, self.method, self.name, self.how)

    def metric(self, number: Published) -> Metric | None:
        """The file whose value is the nearest to a published number of its task; None where it has none."""
        found = self.metrics.get(_file(number)) if self.has_task_of(number) else None
        if found is None or "solver" not in number.same:
            return found
        return point_tables.nearest(found, number.same["solver"])


def read(files: Iterable[Path]) -> list[Place]:
    """Published numbers of what was measured, but for those that stand beside ours.

    Of one experiment those of its task; of several all that their systems have.

    Args:
        files: metric files ``…/METHOD/EXPERIMENT/METRIC.json``.
    """
    found: dict[tuple[str, str], dict[str, Metric]] = {}
    for file in files:
        found.setdefault(protocol.measured(file), {})[file.stem] = protocol.read_metric(file)
    how = {
        key: next(iter(metrics.values()))["made_with"].get("settings", {}) for key, metrics in found.items()
    }
    return _places([_Ours(*key, how[key], metrics) for key, metrics in found.items()])


def before(files: Iterable[Path], settings: Mapping[str, Json]) -> list[Place]:
    """Published numbers of what has not been measured yet, chosen as by `read`.

    Args:
        files: metric files that are still to be made.
        settings: sections ``sample`` and ``process`` of what samples a model, by ``METHOD/EXPERIMENT``.
    """
    found: dict[tuple[str, str], dict[str, Metric | None]] = {}
    for file in files:
        found.setdefault(protocol.measured(file), {})[file.stem] = None
    return _places([_Ours(*key, settings.get("/".join(key), {}), metrics) for key, metrics in found.items()])


def _places(ours: Sequence[_Ours]) -> list[Place]:
    found: dict[str, list[Published]] = {}
    for number in load_published():
        if _belongs(number, ours) and not any(_beside(number, one) for one in ours):
            found.setdefault(number.source, []).append(number)
    return [_place(numbers, ours) for numbers in found.values()]


def _belongs(number: Published, ours: Sequence[_Ours]) -> bool:
    if len({(one.method, seeds.repeated(one.name)) for one in ours}) == 1:
        return _file(number) in ours[0].metrics and ours[0].has_task_of(number)
    system = number.system.replace("gaussian", "spd").split("/")[0]
    return any(_file(number) in one.metrics and one.method.split("/")[0] == system for one in ours)


def _file(number: Published) -> str:
    return FILES.get(number.metric, number.metric)


def _beside(number: Published, one: _Ours) -> bool:
    metric = one.metric(number)
    return metric is not None and comparable.beside(number, metric)


def _place(numbers: Sequence[Published], ours: Sequence[_Ours]) -> Place:
    columns = list(dict.fromkeys(TITLES[number.metric] for number in numbers))
    rows: dict[tuple[str, str, int | None], dict[str, str]] = {}
    for n in numbers:
        task = n.experiment if n.system == "gaussian" else f"{n.system}/{n.experiment}"
        empty = {"task": task, "system": n.by, "NFE": f"{n.nfe or ''}", **dict.fromkeys(columns, "")}
        rows.setdefault((task, n.by, n.nfe), empty)[TITLES[n.metric]] = str(n.value)
    tasks = list(dict.fromkeys(task for task, *_ in rows))
    by_task = sorted(rows.values(), key=lambda row: tasks.index(row["task"]))
    return Place(numbers[0].source, _stated(numbers), _differs(numbers, ours), by_task)


def _stated(numbers: Sequence[Published]) -> str:
    """The protocols of some numbers in words: what all share, and what is stated of one metric."""
    by_metric = {TITLES[number.metric]: number.protocol for number in numbers}
    first, *others = by_metric.values()
    shared = {key: word for key, word in first.items() if all(other.get(key) == word for other in others)}
    parts = [_words(shared)]
    for title, stated in by_metric.items():
        own = {key: word for key, word in stated.items() if key not in shared}
        parts += [f"{title}: {_words(own)}"] if own else []
    return "; ".join(part for part in parts if part)


def _words(stated: Mapping[str, object]) -> str:
    entries = ", ".join(f"{key} {word}" for key, word in stated.items() if key != "note")
    return "; ".join(str(words) for words in (entries, stated.get("note")) if words)


def _differs(numbers: Sequence[Published], ours: Sequence[_Ours]) -> list[str]:
    """A sentence for all experiments of ours that differ alike from the same system's numbers."""
    found: dict[str, list[str]] = {}
    for one in ours:
        mine = [n for n in numbers if not n.baseline and n.same and one.metric(n)]
        pairs = [(n, metric) for n in _nearest(mine, one) if (metric := one.metric(n))]
        if pairs:
            words = comparable.verdict(pairs).removeprefix("no: ")
            found.setdefault(words, []).append(f"{one.method}/{one.name}")
    return [f"Ours ({', '.join(names)}): {words}" for words, names in found.items()]


def _nearest(numbers: Sequence[Published], one: _Ours) -> Sequence[Published]:
    """Those in the number of calls that is the nearest to that of an experiment."""
    calls = one.how.get("sample", {}).get("nfe", 0)
    best = min((abs((n.nfe or 0) - calls) for n in numbers), default=0)
    return [n for n in numbers if abs((n.nfe or 0) - calls) == best]


def markdown(places: Sequence[Place]) -> str:
    """The tables as Markdown under one heading; nothing where there are none."""
    if not places:
        return ""
    parts = [f"## {HEADING}\n\n{NOTE}\n"]
    for place in places:
        table = tables.rows_as_markdown(place.columns, place.rows, TEXT)
        about = "".join(f"- {sentence}\n" for sentence in place.about)
        parts.append(f"### {place.source}\n\n{about}\n{table}")
    return "\n" + "\n".join(parts)


def terminal(places: Sequence[Place], alone: bool = False) -> str:
    """The tables as lines of text.

    Args:
        alone: whether there are no numbers of ours, which they might be compared with.
    """
    parts = [ALONE if alone else f"{HEADING}\n{NOTE}"]
    for place in places:
        rows = [dict(zip(place.columns, place.columns, strict=True)), *place.rows]
        width = {column: max(len(row[column]) or 1 for row in rows) for column in place.columns}
        lines = [place.source, *(f"  {sentence}" for sentence in place.about)]
        for row in rows:
            cells = (
                (row[c] or tables.MISSING).ljust(w) if c in TEXT else (row[c] or tables.MISSING).rjust(w)
                for c, w in width.items()
            )
            lines.append(f"  {'  '.join(cells)}".rstrip())
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
