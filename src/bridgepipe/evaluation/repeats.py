"""Readings of experiments that differ in their seed alone, as one: the mean over seeds with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bridgepipe.artifacts import digest_of
from bridgepipe.evaluation.measures import Reading
from bridgepipe.evaluation.protocol import students_t
from bridgepipe.names import seeds


def pooled(found: Sequence[Reading]) -> list[Reading]:
    """Readings, where those of an experiment and of its repeats are one in the place of the first.

    Repeats whose experiment was not measured, or was measured under other settings, stay as they are.
    """
    alike: dict[tuple[object, ...], list[Reading]] = {}
    for reading in found:
        settings = seeds.but_for_seeds(reading.metric["made_with"].get("settings", {}))
        of = (seeds.repeated(reading.experiment), reading.measure, reading.alike, digest_of(settings))
        alike.setdefault(of, []).append(reading)
    return [
        one
        for (name, *_), members in alike.items()
        for one in ([_over_seeds(members)] if name in _names(members) and len(members) > 1 else members)
    ]


def _names(members: Sequence[Reading]) -> set[str]:
    return {member.experiment for member in members}


def _over_seeds(members: Sequence[Reading]) -> Reading:
    """The mean over independent seeds and Student's t interval of it, with one less degree of freedom."""
    values = np.array([member.value for member in members])
    reach = students_t(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    first = min(members, key=lambda member: len(member.experiment))
    ends = float(values.mean() - reach), float(values.mean() + reach)
    before = _mean([member.before for member in members])  # of the same images for all seeds
    gain = None if before is None or first.gain is None else (ends[0] - before, ends[1] - before)
    return replace(
        first,
        value=float(values.mean()),
        low=ends[0],
        high=ends[1],
        floor=_mean([member.floor for member in members]),
        before=before,
        gain=gain,
        members=tuple(members),
    )


def _mean(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return float(np.mean(known)) if len(known) == len(numbers) else None
