"""dvc.yaml is that of params.yaml, and says so when it isn't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from repository import ROOT, Repository, stages_in

pytestmark = pytest.mark.dvc


def test_dvc_yaml_is_current() -> None:
    check = [sys.executable, "workflow/dvc_stages.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_output_persists_and_every_call_names_its_rules() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert "persist" not in str(stages)
    assert all("--allowed-rules" in stage["cmd"] for name, stage in stages.items() if name != "plan")


def test_another_experiment_asks_for_a_new_dvc_yaml(recorded: Repository, tmp_path: Path) -> None:
    clone = recorded.clone(tmp_path / "clone")
    clone.edit(lambda v: v["experiments"]["i2sb"].update(other={"corruption": "jpeg-10"}))
    done = clone.attempt("dvc", "repro", "plan")
    assert done.returncode != 0
    assert "run `make dvc.yaml`" in done.stdout + done.stderr


def test_what_would_run_and_a_commit_of_a_part_in_a_fresh_clone(tmp_path: Path) -> None:
    fresh = Repository.create(tmp_path / "origin", tmp_path / "remote").clone(tmp_path / "fresh")
    for command in (("repro",), ("exp", "run")):
        told = fresh.run("dvc", *command, "--dry", "--force")
        assert {"plan", "data-digits", "train-i2sb-jpeg-5", "report-i2sb"} <= stages_in(told)
    assert not list(fresh.folder.rglob("*.lmdb"))
    made = ("plan", "data-digits")
    fresh.run("snakemake", "--quiet", "rules", "--", "data/prepared/digits/train.lmdb")
    fresh.run("bridgepipe", "verify")
    fresh.run("dvc", "commit", "-f", *made)
    assert fresh.run("dvc", "status", "-q", *made) == ""
