"""Every row of docs/coming-from.md about translating and editing says what an experiment here does."""

from __future__ import annotations

import re
from pathlib import Path

from bridgepipe.config import Resolved, read_yaml, yaml_reader
from bridgepipe.names.timesteps import truncated

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/coming-from.md").read_text()
SECTION = PAGE.partition("## Translating and editing\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (.*) \| `(.*)` \|$", SECTION.replace("| there | here |", ""), flags=re.MULTILINE)
# targets are made by tests/workflow/test_point_pipeline.py
EXPERIMENTS = [row for row in ROWS if not row[1].startswith(("bridgepipe ", "snakemake "))]


def test_every_row_is_run() -> None:
    rows = [line for line in SECTION.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(ROWS) == len([row for row in rows if row != "| there | here |"]) >= 6


def resolved(row: str, folder: Path) -> Resolved:
    """The experiments of a row at the scale of the papers."""
    (folder / "row.yaml").write_text(row)
    values = read_yaml(ROOT / "params.yaml") | {"scale": "paper"}
    for method, own in yaml_reader.read(folder / "row.yaml").values.items():
        values["experiments"][method] |= {name: {"scales": ["paper"], **how} for name, how in own.items()}
    return Resolved(values)


def test_pairs_of_the_page_are_those_of_the_published_command(tmp_path: Path) -> None:
    theirs, ours = next(row for row in EXPERIMENTS if "--source" in row[0])
    sources, targets = (
        [int(n) for n in re.search(rf"--{end} ([0-9,]+)", theirs)[1].split(",")]
        for end in ("source", "target")
    )
    made = resolved(ours, tmp_path)
    (pairs,) = made.groups.values()
    found = [(made.experiments[name].source, made.experiments[name].target) for name in pairs]
    assert found == [*zip(sources, targets, strict=True)]
    how = made.stages(pairs[0])["sample"]["sample"]
    published = {
        "solver": "ddim",
        "grid": "ddib",
        "guidance": "classifier",
        "variant": "published",
        "eta": 0.0,
    }
    assert published.items() <= how.items()


def test_edits_of_samples_are_those_of_the_published_command(tmp_path: Path) -> None:
    theirs, ours = next(row for row in EXPERIMENTS if "--unconditional" in row[0])
    edited = resolved(ours, tmp_path).experiment("boundary/mine")
    how, said = edited.edit, dict(re.findall(r"--(\w+) (\d+)", theirs))
    assert (edited.t, how.count) == (int(said["t_0"]), int(said["n_inv_step"]))
    assert (how.source, how.variant, how.eta, how.relative, how.raw_h) == (
        "samples",
        "published",
        1,
        False,
        True,
    )
    assert len({*truncated(999, how.generate)}) == 999
    assert 998 not in truncated(999, how.generate)
