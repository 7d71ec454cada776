"""The HTML report and the table: made offline, complete, honest about protocols."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import yaml
from project import ROOT, Project

from bridgepipe.evaluation import published_table

EXPERIMENT = "results/i2sb/jpeg-5"


def test_report_holds_figures_and_tables(project: Project) -> None:
    project.snakemake("--report", "report.html", "--", "all")
    page = (project.folder / "report.html").read_text()
    for name in ("grid.png", "path.png", "loss.png", "table.md"):
        assert name in page
    assert "Original, corrupted and restored images" in page


def test_table_marks_other_protocols_as_not_comparable(finished: Project) -> None:
    frame = pd.read_csv(finished.folder / EXPERIMENT / "table.csv")
    assert list(frame["experiment"]) == ["i2sb/jpeg-5"]
    assert not [name for name in frame if "pub." in name]
    shown = (finished.folder / EXPERIMENT / "table.md").read_text(encoding="utf8")
    for words in (
        "Ours (i2sb/jpeg-5): dataset digits/test (published imagenet), split digits/test (published val), ",
        "nfe 2 (published 999)",
        "extractor small classifier trained by bridgepipe (published extractor/inception)",
        "| i2sb/jpeg-5 | I2SB | 999 | 4.6 | 67.9 |",
        "| i2sb/jpeg-5 | Palette | 1000 | 8.3 | 64.2 |",
        "| FID real |",
        "| FID 95 % |",
        "| reference | train (",
        "none of the originals in it |",
    ):
        assert words in shown
    assert "FID real and KID real are the floor" in shown


def test_metric_files_hold_protocol_and_no_timings(finished: Project) -> None:
    for name in ("fid", "accuracy", "restoration"):
        metric = json.loads((finished.folder / EXPERIMENT / f"{name}.json").read_text())
        assert {"values", "protocol", "protocol_hash", "made_with"} == set(metric)
        assert metric["made_with"]["settings"]["sample"]["nfe"] == 2
        assert metric["protocol"]["n"] == 40


def test_restored_images_are_made_again_with_the_same_bytes(finished: Project) -> None:
    """From parts that were temporary, by the commands that made them."""
    file = f"{EXPERIMENT}/restored.lmdb"
    command = [sys.executable, "-m", "bridgepipe", "verify", "--rerun", file]
    done = subprocess.run(command, **finished.context(), check=False)
    assert (done.returncode, done.stdout) == (0, f"{file}: the same bytes\n"), done.stderr
    record = json.loads((finished.folder / EXPERIMENT / "provenance/fid.json.json").read_text())
    assert record["sessions"][0]["threads"] == 1


def test_provenance_lies_beside_the_results(finished: Project) -> None:
    facts = json.loads((finished.folder / EXPERIMENT / "train/provenance.json").read_text())
    assert facts["seconds"] > 0
    assert facts["threads"] == 1


def test_the_workflow_catalog_finds_what_it_asks_for(finished: Project) -> None:
    """The standardized form: workflow/Snakefile, config/README.md, and words about usage."""
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    assert usage["report"] is True
    assert {file.suffix for file in (ROOT / "workflow/rules").iterdir()} == {".smk"}
    assert "params.yaml" in (ROOT / "config/README.md").read_text()
    readme = (ROOT / "README.md").read_text().lower()
    assert [word for word in ("snakemake", "workflow") if word not in readme] == []
    done = finished.snakemake("-s", "workflow/Snakefile", "-n")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_repeats_with_other_seeds_sample_with_the_network_that_is_there(project: Project) -> None:
    """A further sampling and no training; the two are one row of the table of all results."""
    sample = {"sample": {"seeds": [0, 1]}}
    project.edit(lambda values: values["experiments"]["i2sb"]["jpeg-5"].update(sample))
    assert project.planned("results/i2sb/jpeg-5/fid.json") == set()
    planned = project.planned("results/summary.md")
    assert planned == {"sample", "gather", "fid", "accuracy", "restoration", "summary"}
    project.snakemake("--", "results/summary.md")
    table = pd.read_csv(project.folder / "results/summary.csv").set_index("measure")
    assert [*table["members"].unique()] == ["i2sb/jpeg-5; i2sb/jpeg-5.seed-1"]
    psnr = table.loc["PSNR"]
    found = [
        json.loads((project.folder / f"results/i2sb/{name}/restoration.json").read_text())["values"]["psnr"]
        for name in ("jpeg-5", "jpeg-5.seed-1")
    ]
    assert psnr["value"] == sum(found) / 2
    assert psnr["low"] < min(found) < max(found) < psnr["high"]
    train = {"train": {"seeds": [0, 1]}, "sample": {}}
    project.edit(lambda values: values["experiments"]["i2sb"]["jpeg-5"].update(train))
    planned = project.planned("results/summary.md")
    assert planned == {"train", "sample", "gather", "fid", "accuracy", "restoration", "summary"}


def test_the_one_table_and_the_page_of_a_project(project: Project) -> None:
    """Made by the rule, printed by the verb, sound, and removed by `bridgepipe clean`."""
    project.snakemake("--", "results/summary.md")
    tables = [project.folder / f"results/summary.{ending}" for ending in ("csv", "md", "html")]
    text = tables[1].read_text()
    ours, _, published = text.partition(f"## {published_table.HEADING}")
    assert ours.count("## ") == len(pd.read_csv(tables[0])) == 5  # FID, KID, accuracy, PSNR, SSIM
    assert "40 (few)" in ours
    assert "published" not in ours  # of other protocols
    assert "| i2sb/jpeg-5 | DDRM | 20 | 28.2 | 53.9 |" in published
    assert published_table.HEADING in tables[2].read_text(encoding="utf8")
    assert "Nothing to be done" in project.snakemake("--", "results/summary.md").stderr
    printed = project.bridgepipe("table", "i2sb")
    assert printed.stdout.count("  i2sb/jpeg-5 ") == 5
    assert printed.stderr == ""
    longer = project.bridgepipe("table", "i2sb", "--published").stdout
    assert longer.startswith(printed.stdout)
    assert "  i2sb/jpeg-5  Palette  1000   8.3         64.2\n" in longer
    project.bridgepipe("report", "--output", "one.html")
    project.bridgepipe("report", "--output", "other.html")
    assert (project.folder / "one.html").read_bytes() == (project.folder / "other.html").read_bytes()
    project.bridgepipe("verify")
    project.bridgepipe("clean")
    assert not any(file.exists() for file in tables)
    assert (project.folder / "one.html").exists()
