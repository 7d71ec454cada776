"""Whole test photographs, restored from JPEG files: their table, and what it says in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

QUALITY = 10  # of the files that the sentence is about


@dataclass(frozen=True)
class Photographs:
    """Quality of restored photographs.

    Attributes:
        columns: photograph, quality, then PSNR in dB and SSIM of the file and of each network.
        rows: cells as text; the last rows are the means over the photographs.
        text: the rest of a sentence whose subject is the experiment.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: str


def read(folder: Path) -> Photographs | None:
    """The photographs of an experiment; None where none were restored."""
    file = folder / "photographs.csv"
    if not file.is_file():
        return None
    table = pd.read_csv(file)
    rows = [[_text(name, value) for name, value in row.items()] for row in table.to_dict("records")]
    return Photographs([*map(str, table)], rows, _sentence(table))


def _sentence(table: pd.DataFrame) -> str:
    means = table[table["photograph"].str.startswith("mean of ")]
    row = means.iloc[int((means["quality"] - QUALITY).abs().argmin())]
    given, own, *others = [name for name in map(str, table) if name.startswith("PSNR, ")]
    beside = [f"the files {row[given]:.2f}", *(f"{name[6:]} {row[name]:.2f}" for name in others)]
    count = row["photograph"].removeprefix("mean of ")
    return (
        f"has a PSNR of {row[own]:.2f} dB on whole test photographs of JPEG quality {row['quality']}"
        f" ({'; '.join(beside)}); {count} photographs are too few for an interval."
    )


def _text(column: object, value: object) -> str:
    digits = {"PSNR": 2, "SSIM": 3}.get(str(column).partition(",")[0])
    return str(value) if digits is None else f"{value:.{digits}f}"
