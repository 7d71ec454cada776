"""The report without a browser: what it reads, what it says, what it refuses."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_one_table import fid, restored

from benchmarks import report as invented
from bridgepipe import artifacts, config
from bridgepipe.errors import UserError
from bridgepipe.evaluation import one_table, published_table
from bridgepipe.report import costs, findings, page, photographs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    invented.project(tmp_path / "project", 3)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def written(*asked: str) -> str:
    resolved = config.load("params.yaml")
    page.write(Path("out.html"), resolved, resolved.matching(*asked))
    return Path("out.html").read_text(encoding="utf8")


VOID = {"meta", "link", "img", "input", "!doctype"}


class Tags(HTMLParser):
    """Whether every tag is closed, and the addresses that a page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.named: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.named += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_same_results_give_the_same_bytes_and_a_whole_page(project: Path) -> None:
    first = written()
    assert written() == first
    tags = Tags(first)
    assert tags.open == []
    assert all(address.startswith(("data:", "#")) for address in tags.named)
    assert len({*re.findall(r' id="([^"]+)"', first)}) == len(re.findall(r' id="([^"]+)"', first))
    anchors = {address[1:] for address in tags.named if address.startswith("#")}
    assert anchors <= {*re.findall(r' id="([^"]+)"', first)}


def test_what_was_not_made_is_listed_and_not_invented(project: Path) -> None:
    for file in (project / "results/i2sb/made-001").rglob("*"):
        if file.is_file():
            file.unlink()
    (project / "results/i2sb/made-002/fid.json").unlink()
    text = written()
    assert "<li><code>i2sb/made-001</code></li>" in text
    assert 'id="i2sb-made-001"' not in text
    assert "2 experiments made, 1 not made" in text
    gap = re.findall(r'<p class="gap">Not made: (.*)</p>', text)
    assert len(gap) == 2
    assert "results/i2sb/made-002/fid.json" in gap[1]


def test_some_experiments_may_be_asked_for(project: Path) -> None:
    assert written("i2sb/made-000").count("<article") == 1
    assert written("i2sb").count("<article") == 3
    with pytest.raises(UserError, match=r"no method or experiment 'i2sb/mde-000'"):
        written("i2sb/mde-000")


def test_nothing_to_show_and_a_damaged_picture_are_refused(project: Path) -> None:
    (project / "results/i2sb/made-001/figures/loss.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"not a picture"):
        written()
    for file in (project / "results").rglob("*.*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(UserError, match="nothing was made yet"):
        written()


def test_settings_are_shown_by_their_difference_from_the_scale(project: Path) -> None:
    text = written("i2sb/made-001")
    assert re.findall(r"<dt>(corruption|network\S*)</dt><dd>(\S+)</dd>", text) == [("corruption", "jpeg-10")]
    assert "corruption: jpeg-10" in text  # among all settings
    assert "nfe: " in text


def test_costs_of_parts_are_added_and_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    head = "s\th:m:s\tmax_rss\tmean_load\tcpu_time\n"
    (folder / "sample-0-of-2.tsv").write_text(head + "100\t0:01:40\t1000\t90\t80\n")
    (folder / "sample-1-of-2.tsv").write_text(head + "50\t0:00:50\t2000\t90\t40\n")
    (folder / "table.tsv").write_text(head + "1.5\t0:00:01\t-\t-\t0.00\n")
    sample, table = costs.read(tmp_path)
    assert (sample.rule, sample.jobs, sample.seconds, sample.cpu_seconds) == ("sample", 2, 150, 120)
    assert sample.peak_mb == 2000
    assert sample.joules == pytest.approx(120 * 12 + (100 * 1 + 50 * 2) * 0.3725)
    assert (table.cpu_seconds, table.peak_mb, table.joules) == (1.5, 0, 1.5 * 12)
    assert costs.total([sample, table]).joules == sample.joules + table.joules
    (folder / "table.tsv").write_text(head + "fast\t\t\t\t\n")
    with pytest.raises(UserError, match="not a benchmark of Snakemake"):
        costs.read(tmp_path)


def test_a_finding_is_one_sentence_of_what_was_measured(tmp_path: Path) -> None:
    found = {}
    for name, metric in {"a": fid(3.0, fid_corrupted=9.0), "b": fid(1.25), "few": fid(4.0, n=40)}.items():
        file = tmp_path / f"results/i2sb/{name}/fid.json"
        artifacts.write_json(file, metric)
        readings = one_table.read([file])
        found[name] = findings.finding(f"i2sb/{name}", readings), readings
    said = {name: finding.text for name, (finding, _) in found.items()}
    assert said == {
        "a": "has an FID of 3.00 (95 % interval 2.60 to 3.40; input 9.00; real 1.00).",
        "b": "has an FID of 1.25 (95 % interval 0.85 to 1.65; real 1.00, from which it can't be told).",
        "few": "has an FID of 4.00 (95 % interval 3.60 to 4.40; real 1.00)"
        "; 40 images are too few to say much.",
    }
    blocks = one_table.blocks([reading for _, readings in found.values() for reading in readings])
    (best,) = findings.best([finding for finding, _ in found.values()], blocks)
    assert best.experiment == "i2sb/b"
    assert best.text.endswith(", the best of 2 under one protocol.")
    assert findings.finding("i2sb/none", []) is None


@pytest.mark.parametrize(
    ("gain", "aside"),
    [(0.6, "input 26.0"), (0.4, "input 26.0, from which it can't be told"),
     (-0.6, "worse than its input, 26.0")],
)  # fmt: skip
def test_a_finding_says_whether_a_restoration_is_better_than_its_input(
    tmp_path: Path, gain: float, aside: str
) -> None:
    readings = one_table.read([restored(tmp_path / "results/i2sb", 26 + gain, gain)])
    found = findings.finding("i2sb/restoration", readings)
    assert found is not None
    low, high = 25 + gain, 27 + gain
    assert found.text == (
        f"has a PSNR of {26 + gain:.1f} dB (95 % interval {low:.1f} to {high:.1f}; {aside})."
    )


def test_photographs_are_a_finding_where_nothing_else_was_measured(tmp_path: Path) -> None:
    """What is there after `make demo`."""
    assert photographs.read(tmp_path) is None
    (tmp_path / "photographs.csv").write_text(
        'photograph,quality,"PSNR, JPEG","PSNR, quick","PSNR, shipped","SSIM, JPEG"\n'
        "china,10,22.7119,22.9744,23.2720,0.7514\nmean of 1,10,22.7119,22.9744,23.2720,0.7514\n"
    )
    restored = photographs.read(tmp_path)
    assert restored is not None
    assert restored.rows[0] == ["china", "10", "22.71", "22.97", "23.27", "0.751"]
    assert restored.text == (
        "has a PSNR of 22.97 dB on whole test photographs of JPEG quality 10 (the files 22.71; shipped 23.27)"
        "; 1 photographs are too few for an interval."
    )
    alone = findings.Finding("i2sb/quick", restored.text, None)
    assert findings.best([alone], []) == [alone]


def test_the_page_of_the_one_table(tmp_path: Path, project: Path) -> None:
    files = sorted(project.glob("results/i2sb/*/fid.json"))
    published = published_table.read(files)
    page.write_table(tmp_path / "summary.html", one_table.blocks(one_table.read(files)), published)
    text = (tmp_path / "summary.html").read_text(encoding="utf8")
    assert Tags(text).open == []
    assert text.count("data-experiment=") == 3
    assert "<strong>2.0</strong>" in text
    assert published_table.HEADING in text
    for words in ("Table 2 (4x super-resolution)", ">ΠGDM<", ">28.2<", "quoted by Gushchin et al. 2025"):
        assert words in text


def test_the_package_carries_the_page() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assets = sorted((ROOT / "src/bridgepipe/report/assets").iterdir())
    assert [file.name for file in assets] == ["report.css", "report.html", "report.js"]
    for file in assets:
        name = str(file.relative_to(ROOT / "src/bridgepipe"))
        assert any(fnmatch.fnmatch(name, pattern) for pattern in package["bridgepipe"])
