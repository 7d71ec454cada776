"""Published numbers that may not stand beside ours: which, under which place, and what is said of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from in_process import run
from test_comparable import as_published

from bridgepipe import artifacts
from bridgepipe.config import read_yaml
from bridgepipe.evaluation import one_table, published_numbers, published_table
from bridgepipe.evaluation.published_numbers import load_published
from bridgepipe.evaluation.published_table import Place

ROOT = Path(__file__).parents[2]


def written(folder: Path, name: str, metric: dict[str, Any], stem: str = "fid") -> Path:
    file = folder / "results" / name / f"{stem}.json"
    artifacts.write_json(file, metric)
    return file


def with_calls(nfe: int) -> dict[str, Any]:
    metric = as_published()
    metric["made_with"]["settings"]["sample"]["nfe"] = nfe
    return metric


def rows(places: Iterable[Place]) -> set[tuple[str, ...]]:
    return {(row["task"], row["system"], row["NFE"], row.get("FID", "")) for p in places for row in p.rows}


def test_what_stands_beside_ours_is_not_in_the_table_and_baselines_always_are(tmp_path: Path) -> None:
    file = written(tmp_path, "i2sb/jpeg-5", as_published())
    assert one_table.read([file])[0].published == 4.6
    found = rows(published_table.read([file]))
    assert ("i2sb/jpeg-5", "I2SB", "999", "4.6") not in found
    assert {("i2sb/jpeg-5", "DDRM", "20", "28.2"), ("i2sb/jpeg-5", "Palette", "1000", "8.3")} < found
    assert {task for task, *_ in found} == {"i2sb/jpeg-5"}
    repeat = written(tmp_path, "i2sb/jpeg-5.seed-1", as_published())
    assert rows(published_table.read([file, repeat])) == found


def test_what_does_not_stand_beside_ours_is_in_the_table_with_what_differs(tmp_path: Path) -> None:
    file = written(tmp_path, "i2sb/jpeg-5", with_calls(10))
    assert one_table.read([file])[0].published is None
    places = published_table.read([file])
    assert ("i2sb/jpeg-5", "I2SB", "999", "4.6") in rows(places)
    (place,) = [place for place in places if place.differs]
    assert "Tables 3 to 5" in place.source
    assert place.differs == ["Ours (i2sb/jpeg-5): nfe 10 (published 999)"]
    assert "samples 10000" in place.stated
    assert "ImageNet full validation set" in place.stated


def test_several_experiments_show_all_of_their_system_and_no_other(tmp_path: Path) -> None:
    files = [written(tmp_path, f"i2sb/{name}", with_calls(10)) for name in ("jpeg-5", "jpeg-10")]
    places = published_table.read(files)
    assert places[1].differs == ["Ours (i2sb/jpeg-5, i2sb/jpeg-10): nfe 10 (published 999)"]
    i2sb = {n.source for n in load_published() if n.system == "i2sb"}
    assert {place.source for place in places} == i2sb
    fids = [n for n in load_published() if n.system == "i2sb" and n.metric == "fid"]
    assert len(
        rows(places) & {(f"i2sb/{n.experiment}", n.by, str(n.nfe or ""), str(n.value)) for n in fids}
    ) == (len(fids))


def test_one_metric_alone_shows_no_column_of_another(tmp_path: Path) -> None:
    (place,) = published_table.read([written(tmp_path, "ddib/color/a-b", as_published(), "transfer")])
    assert place.columns == ["task", "system", "MSE to optimal transport", "MSE to Sinkhorn"]
    assert [row["MSE to optimal transport"] for row in place.rows] == ["0.0337", "0.0293"]
    assert published_table.read([written(tmp_path, "boundary/smile", as_published(), "edit")]) == []
    assert published_table.markdown([]) == ""


def test_a_file_of_another_task_with_the_same_name_is_not_compared(tmp_path: Path) -> None:
    """The cycles of images have no solvers, by which those of points are published."""
    files = [written(tmp_path, f"ddib/classes/{name}", as_published(), "cycle") for name in ("3-8", "8-3")]
    assert published_table.read(files[:1]) == []
    assert [place.differs for place in published_table.read(files)] == [[]]


@pytest.mark.parametrize("nfe", [100, 90])
def test_ours_is_compared_with_the_number_of_the_nearest_calls(tmp_path: Path, nfe: int) -> None:
    metric = with_calls(nfe)
    metric["made_with"]["settings"] |= {"process": {"schedule": "linear", "variance": "fixed_large"}}
    metric["made_with"]["settings"]["sample"]["sampler"] = "ddim"
    (place,) = published_table.read([written(tmp_path, "spd/ddim", metric)])
    assert [row["NFE"] for row in place.rows] == ["1000", "100", "50", "20", "10"]
    assert ("nfe 90 (published 100)" in place.differs[0]) == (nfe == 90)


def test_every_metric_has_a_title_and_text_stays_in_its_cell(tmp_path: Path) -> None:
    assert {n.metric for n in published_numbers.load_published()} == published_table.TITLES.keys()
    places = published_table.read([written(tmp_path, "i2sb/jpeg-5", with_calls(10))])
    shown = published_table.markdown(places)
    assert shown.count("\n### ") == len(places)
    assert "| i2sb/jpeg-5 | CDSB | 50 | 38.7 |\n" in shown
    lines = published_table.terminal(places).splitlines()
    assert "  i2sb/jpeg-5  CDSB       50  38.7" in lines
    assert lines[0] == published_table.HEADING


def printed(capsys: pytest.CaptureFixture[str], *asked: str) -> str:
    run("table", *asked, "--published", "--params", str(ROOT / "params.yaml"))
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_a_project_without_results_shows_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    everything, one = printed(capsys), printed(capsys, "i2sb/jpeg-5")
    assert {number.source for number in load_published()} <= {*everything.splitlines()}
    assert everything.startswith(f"{published_table.ALONE}\n\n")
    assert "compared with ours" not in everything
    assert "  i2sb/jpeg-5  I2SB    999  4.6         67.9\n" in one
    assert "jpeg-10" not in one
    for asked, tasks in {
        "spd/ddpm": "ddpm-fixed-small",
        "spd/ddim": "ddim",
        "ddib/points": "ddib/points/",
    }.items():
        shown = [line for line in printed(capsys, asked).splitlines() if re.match("  (i2sb|dd)", line)]
        assert shown
        assert all(line.startswith(f"  {tasks}") for line in shown)
    assert not [*tmp_path.iterdir()]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line of `bridgepipe table` where it has nothing to print."""
    with pytest.raises(SystemExit):
        run("table", *words, "--params", str(ROOT / "params.yaml"))
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_tables_of_photographs_are_named_where_nothing_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after `make demo`."""
    monkeypatch.chdir(tmp_path)
    file = Path("results/i2sb/photos-quick/photographs.md")
    file.parent.mkdir(parents=True)
    file.write_text("| photograph |\n")
    line = told(capsys, "i2sb")
    assert line.startswith(
        "bridgepipe: nothing has been measured yet but whole photographs, in tables of their own"
        f" ({file}): run snakemake results/i2sb/"
    )
    assert "photographs" not in told(capsys, "spd")


def test_as_with_results_so_without(tmp_path: Path) -> None:
    """The same numbers, whether ours are there, but may not be compared, or are still to be made."""
    files = [tmp_path / f"results/i2sb/{name}/fid.json" for name in ("jpeg-5", "blur-uni")]
    for some in (files[:1], files):
        before = rows(published_table.before(some, {}))
        for file in some:
            artifacts.write_json(file, with_calls(10))
        assert before == rows(published_table.read(some))


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (
            ["spd/spd", "--published"],
            "nothing has been measured yet (results): run snakemake results/spd/spd/",
        ),
        (["i2sb", "--published", "--json"], "nothing has been measured yet"),
        (["guide"], "nothing is measured of guide/digits itself (table): name a method"),
    ],
)
def test_where_nothing_is_published_either_it_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert line in told(capsys, *asked)


def test_without_experiments_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(read_yaml(ROOT / "params.yaml") | {"experiments": {}}))
    with pytest.raises(SystemExit):
        run("table", "--published")
    assert "no experiments at this scale (params.yaml): write one" in capsys.readouterr().err
