"""Tables as files: CSV with every digit, Markdown with as many as a reader wants."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe.artifacts import write_text
from bridgepipe.errors import UserError, reading

if TYPE_CHECKING:  # slow to import, and most that may write a table do not
    import pandas as pd

MISSING = "—"


def table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A table with the columns in the order in which the rows first name them."""
    import pandas as pd

    columns = list(dict.fromkeys(key for row in rows for key in row))
    return pd.DataFrame([dict(row) for row in rows], columns=columns)


def read_csv(path: str | Path, *columns: str) -> pd.DataFrame:
    """A table that was written as CSV.

    Raises:
        UserError: missing, unreadable, or without one of ``columns``.
    """
    import pandas as pd

    with reading(path, "not a CSV table", "give a CSV file that bridgepipe wrote"):
        frame = pd.read_csv(path)
    if absent := [name for name in columns if name not in frame]:
        raise UserError(f"no column '{absent[0]}' in it", path, "give a CSV file of the right kind")
    return frame


def write_table(
    csv_path: str | Path, md_path: str | Path, frame: pd.DataFrame, notes: Sequence[str] = (), below: str = ""
) -> None:
    """Write a table twice.

    Args:
        csv_path: CSV to write.
        md_path: Markdown to write; numbers right-aligned, missing values as a dash.
        frame: the table; the index is not written.
        notes: explanation of the table, written below the Markdown.
        below: Markdown that ends the file.
    """
    write_text(csv_path, frame.to_csv(index=False, lineterminator="\n"))
    write_text(md_path, markdown(frame, notes) + below)


def markdown(frame: pd.DataFrame, notes: Sequence[str] = ()) -> str:
    """A table in Markdown, see `write_table`."""
    import pandas as pd

    columns = [readable(frame[c]) for c in frame.columns]
    rule = ["---:" if pd.api.types.is_numeric_dtype(frame[c]) else "---" for c in frame.columns]
    lines = [[_cell(c) for c in frame.columns], rule, *(list(row) for row in zip(*columns, strict=True))]
    if notes and len(frame) == 1:  # a line per column is read more easily than one long row
        names, _, row = lines
        lines = [[names[0], row[0]], ["---", "---"], *map(list, zip(names[1:], row[1:], strict=True))]
    below = "".join(f"\n- {note}" for note in notes)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + (below and below + "\n")


def rows_as_markdown(columns: Sequence[str], rows: Sequence[Mapping[str, str]], left: Collection[str]) -> str:
    """Rows of text as a Markdown table; the columns of ``left`` are aligned to the left."""
    rule = ["---" if column in left else "---:" for column in columns]
    lines = [columns, rule, *([_cell(row[column] or MISSING) for column in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def readable(column: pd.Series) -> list[str]:
    """Cells as text; two decimals or more, so that its smallest number shows three digits."""
    import pandas as pd

    form = _form(column.dropna()) if pd.api.types.is_float_dtype(column) else ""
    return [MISSING if pd.isna(v) else f"{v:{form}}" if form else _cell(v) for v in column]


def _form(numbers: pd.Series) -> str:
    sizes = numbers.abs()[numbers.abs() > 0]
    if (numbers % 1 == 0).all():
        return ".0f"
    decimals = 2 - math.floor(math.log10(sizes.min()))
    return ".2e" if decimals > 5 else f".{min(max(decimals, 2), 4)}f"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
