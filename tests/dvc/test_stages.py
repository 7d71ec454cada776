"""The stages of DVC are those of params.yaml, few to read, and say so when they are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image
from repository import EXPERIMENT, FOLDERS, OWN, ROOT, SHARED, Repository, stages_in

pytestmark = pytest.mark.dvc
NAMES = "stages/names.yaml"


def fresh_project(folder: Path) -> Repository:
    """This project as it is cloned, with all its experiments."""
    origin = Repository(folder)
    for name in (*SHARED, *FOLDERS, "stages", ".dvc/config", ".dvc/.gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    origin.run("git", "init", "-q", "-b", "main")
    origin.commit("start")
    return origin


def test_a_fresh_clone_is_readable(tmp_path: Path) -> None:
    project = fresh_project(tmp_path / "project")
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 250
    assert len((ROOT / NAMES).read_text().splitlines()) <= 150
    assert 10 < len(project.run("dvc", "status").splitlines()) <= 150
    graph = project.run("dvc", "dag").splitlines()
    assert max(map(len, graph)) < 300
    project.run("bridgepipe", "record", "--check")  # the names are those of params.yaml


def test_every_job_of_all_experiments_has_a_stage(tmp_path: Path) -> None:
    project = fresh_project(tmp_path / "project")
    at, has, *after = project.run("bridgepipe", "record", "all").splitlines()
    assert at == "record: reading the graph of jobs"
    assert has == f"record: {NAMES} has the stages of all experiments now"
    assert [line.partition(": ")[0] for line in after] == ["next", "next"]
    stages = [line.split()[0] for line in project.run("dvc", "stage", "list").splitlines()]
    methods = (
        "evaluate-unclassified@i2sb/edges",
        "evaluate-colors@ddib/color/lab",
        "cycles@ddib/points",
        "studies@spd",
    )
    assert set(methods) <= set(stages)
    assert len(stages) > 200
    rows = json.loads((project.folder / "results/plan/table@i2sb.json").read_text())["rows"]
    order = list(dict.fromkeys(row.split("/")[2] for row in rows))
    assert order[:2] == ["jpeg-5", "jpeg-10"]  # as in params.yaml: another order is another table
    told = project.attempt("bridgepipe", "record", "i2sb/jpeg-55")
    assert told.returncode == 2
    assert told.stderr.startswith(
        "bridgepipe: unknown experiment 'i2sb/jpeg-55'"
    )  # at once, without the graph


def test_pairs_of_one_job_are_refused_with_what_to_write_instead(tmp_path: Path) -> None:
    project = fresh_project(tmp_path / "project")
    some = {"scales": ["demo"], "pairs": {"3": 8, "8": 3}}
    project.edit(lambda v: v["experiments"]["ddib/classes"].update(some=some), "experiments/ddib.yaml")
    for wanted in ("all", "ddib/classes/some.3-8"):
        told = project.attempt("python", "workflow/stages.py", wanted)
        assert told.returncode != 0
        assert "the pairs of ddib/classes/some are one job" in told.stderr
        assert "write each pair as an experiment" in told.stderr
    project.run("python", "workflow/stages.py")  # what is recorded names none of them


def test_no_output_persists_and_every_call_names_its_rules() -> None:
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert "persist" not in str(content)
    assert content["vars"][1]["run"].endswith("--allowed-rules")
    calls = [
        block["do"]["cmd"] for name, block in content["stages"].items() if name not in ("plan", "source")
    ]
    assert all(call.startswith("${run} ") and " -- ${item.files}" in call for call in calls)


def test_a_folder_of_a_person_is_a_source(tmp_path: Path) -> None:
    """DVC lists and digests it itself, and the plan of what is prepared from it follows."""
    project = Repository.create(tmp_path / "project", tmp_path / "remote")
    (project.folder / "pictures").mkdir()
    for number in range(240):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(project.folder / f"pictures/{number}.png")
    project.edit(lambda v: v["datasets"].update(mine={"source": "folder", "path": "pictures", "size": 32}))
    unclassified = {"extractor": "inception", "classifier": None}
    own = {"dataset": "mine", "evaluate": unclassified}
    project.edit(lambda v: v["experiments"]["i2sb"]["jpeg-5"].update(own), OWN)
    project.run("bridgepipe", "record")
    assert project.run("dvc", "repro", "data@mine").count("Running stage") == 3
    assert (
        project.run("dvc", "status", "data@mine", "source@pictures", "plan").strip().endswith("up to date.")
    )
    (project.folder / "pictures/0.png").write_bytes((project.folder / "pictures/1.png").read_bytes())
    assert "source@pictures" in project.run("dvc", "status")
    made = stages_in(project.run("dvc", "repro", "data@mine"))
    assert made == {"source@pictures", "plan", "data@mine"}


def test_a_run_of_other_parameters_withdraws_the_plan(recorded: Repository, tmp_path: Path) -> None:
    """`dvc commit` refuses to record results that a plan of other parameters does not describe."""
    clone = recorded.clone(tmp_path / "clone")
    clone.sync()
    clone.set("sample", nfe=3)
    clone.run("snakemake", "--quiet", "all", "--", f"{EXPERIMENT}/restored.lmdb")
    assert not (clone.folder / "results/plan").exists()
    assert clone.attempt("dvc", "commit", "-f", "plan", "restore@i2sb/jpeg-5").returncode != 0


def test_another_experiment_asks_for_a_new_dvc_yaml(recorded: Repository, tmp_path: Path) -> None:
    clone = recorded.clone(tmp_path / "clone")
    clone.edit(lambda v: v["experiments"]["i2sb"].update(other={"corruption": "jpeg-10"}), OWN)
    done = clone.attempt("dvc", "repro", "plan")
    assert done.returncode != 0
    assert "run `bridgepipe record`" in done.stdout + done.stderr
    clone.run("bridgepipe", "record")
    assert "evaluate@i2sb/other" in clone.run("dvc", "stage", "list")


def test_what_would_run_and_a_commit_of_a_part_in_a_fresh_clone(tmp_path: Path) -> None:
    fresh = Repository.create(tmp_path / "origin", tmp_path / "remote").clone(tmp_path / "fresh")
    for command in (("repro",), ("exp", "run")):
        told = fresh.run("dvc", *command, "--dry", "--force")
        assert {"plan", "data@digits", "train@i2sb/jpeg-5", "table@i2sb"} <= stages_in(told)
    assert not list(fresh.folder.rglob("*.lmdb"))
    made = ("plan", "data@digits")
    fresh.run("snakemake", "--quiet", "rules", "--", "data/prepared/digits/train.lmdb")
    fresh.run("bridgepipe", "verify")
    fresh.run("dvc", "commit", "-f", *made)
    assert fresh.run("dvc", "status", "-q", *made) == ""
