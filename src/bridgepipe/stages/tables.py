"""Tables of metrics of several experiments, and the numbers alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bridgepipe import artifacts, config
from bridgepipe.config.outcomes import Outcomes
from bridgepipe.errors import UserError
from bridgepipe.evaluation import one_table, point_tables, published_table, summary, tables
from bridgepipe.report import page
from bridgepipe.stages.numbers import write_numbers

NOTES = (
    "low of, high of: ends of the 95 % interval for another draw of as many images, to the same reference.",
    "FID real is the floor: as many real images against the same reference.",
    "Rows with one protocol may be compared with each other, and with the FID of the experiments' table whose"
    " protocol is the same. Where there are several, each has columns of its own.",
    "noise seed: of the sampling; network seed: of the training, none of a published network. A row is one"
    " draw: its interval holds for other images, not for other trainings.",
)


def table(
    metrics: list[Path],
    csv: Path,
    markdown: Path,
    numbers: Path | None,
) -> None:
    """One row per experiment from its metric files; below them published numbers of their tasks."""
    frame = summary.collect(metrics)
    tables.write_table(csv, markdown, frame, summary.notes_of(frame), _published(metrics))
    if numbers is not None:
        write_numbers(metrics, numbers)


def one_table_of(metrics: list[Path], csv: Path, markdown: Path, html: Path) -> None:
    """The one table of all results as CSV, as Markdown and as a page, and published numbers in the latter."""
    found, published = one_table.blocks(one_table.read(metrics)), published_table.read(metrics)
    one_table.write_csv(csv, found)
    artifacts.write_text(markdown, one_table.markdown(found) + published_table.markdown(published))
    page.write_table(html, found, published)


def _published(metrics: Sequence[Path]) -> str:
    return published_table.markdown(published_table.read(metrics))


def show(resolved: config.Resolved, names: Sequence[str], as_json: bool, published: bool) -> None:
    """Print the one table of the results that are there, and on standard error which are not.

    Args:
        resolved: Parameters; results lie in ``results/``.
        names: Names of the experiments.
        as_json: whether to print every digit as JSON.
        published: whether to print the published numbers that may not stand beside ours, too; all of them
            where there are no results.

    Raises:
        UserError: none has been measured yet, and no published numbers are printed; or none ever is.
    """
    if not names:
        mend = "write one, or let `bridgepipe new` do so"
        raise UserError("no experiments at this scale", resolved.places.file, mend)
    wanted = Outcomes(resolved).metrics(*names)
    if not wanted:
        mend = "name a method whose experiments use them, such as i2sb or spd"
        raise UserError(f"nothing is measured of {names[0]} itself", "table", mend)
    made = [Path(file) for file in wanted if Path(file).is_file()]
    if not made:
        known = _published_alone(resolved, wanted) if published and not as_json else []
        if not known:
            raise _unmeasured(names, wanted[0])
        print(published_table.terminal(known, alone=True))
        return
    found = one_table.blocks(one_table.read(made))
    if as_json:
        print(one_table.as_frame(found).to_json(orient="records", indent=2))
    else:
        print(one_table.terminal(found, sys.stdout.isatty()))
        if published and (others := published_table.read(made)):
            print(f"\n{published_table.terminal(others)}")
    if missing := [file for file in wanted if not Path(file).is_file()]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        print(f"not measured yet: {missing[0]}{more}", file=sys.stderr)


def _unmeasured(names: Sequence[str], first: str) -> UserError:
    """That no metric file is there; tables of whole photographs, which may be, are named."""
    there = [file for name in names if Path(file := f"results/{name}/photographs.md").is_file()]
    but = " but whole photographs, in tables of their own" if there else ""
    return UserError(
        f"nothing has been measured yet{but}", ", ".join(there) or "results", f"run snakemake {first}"
    )


def _published_alone(resolved: config.Resolved, wanted: Sequence[str]) -> list[published_table.Place]:
    """Published numbers of metric files that are still to be made."""
    settings = {
        name: {
            "sample": e.sample.as_json(),
            "process": resolved.experiment(f"model/{e.model}").process.as_json(),
        }
        for name, e in resolved.experiments.items()
        if isinstance(e, config.Generation)
    }
    return published_table.before(map(Path, wanted), settings)


def study_table(
    parts: list[Path],
    csv: Path,
    markdown: Path,
    figure: Path,
    title: str,
) -> None:
    """Join the studies of several experiments into one table and one figure.

    Metrics under another protocol are another column, and another panel: few images make a FID larger by
    themselves, and so does another reference. Samplers that two experiments call the same are told apart by
    the name of the experiment.
    """
    from bridgepipe.figures import images  # not for what draws nothing

    found = [tables.read_csv(part, "sampler", "nfe", "n") for part in parts]
    used = [name for rows in found for name in rows["sampler"].unique()]
    for part, rows in zip(parts, found, strict=True):
        shared = rows["sampler"].map(used.count) > 1
        rows["sampler"] = rows["sampler"].where(
            ~shared, f"{part.parent.name}, " + rows["sampler"].astype(str)
        )
    frame = pd.concat(found, ignore_index=True)
    tables.write_table(csv, markdown, _apart(frame), NOTES)
    images.quality_against_calls(figure, _apart(frame), title)


def _apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows whose metrics are named by the number of images and the protocol where there are several."""
    kinds = frame[["n", *(["protocol"] if "protocol" in frame else [])]].drop_duplicates()
    if len(kinds) < 2:
        return frame
    from bridgepipe.figures.images import BESIDE

    metrics, found = [name for name in frame if name not in BESIDE], []
    for kind in kinds.to_dict("records"):
        suffix = f"n {kind['n']}"
        if (kinds["n"] == kind["n"]).sum() > 1:
            suffix += f", protocol {kind['protocol']}"
        rows = frame[(frame[list(kind)] == pd.Series(kind)).all(axis=1)]
        found.append(rows.drop(columns="n").rename(columns={name: f"{name} ({suffix})" for name in metrics}))
    return pd.concat(found).sort_index()


def point_table(
    metrics: list[Path],
    csv: Path,
    markdown: Path,
) -> None:
    """A row per experiment, or per way of one that goes both ways."""
    tables.write_table(csv, markdown, *point_tables.points(metrics), _published(metrics))


def cycle_table(
    metrics: list[Path],
    csv: Path,
    markdown: Path,
) -> None:
    """Mean and largest error of every solver's cycle, a row per pair, then the worst of every group."""
    tables.write_table(csv, markdown, *point_tables.cycles(metrics), _published(metrics))
