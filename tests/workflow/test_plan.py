"""`bridgepipe plan`: what a run would take, before it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from project import ROOT, Project

from bridgepipe import artifacts, workflow
from bridgepipe.config import read_yaml
from bridgepipe.runtime import locks

FID = "results/i2sb/jpeg-5/fid.json"


def planned(project: Project, *words: str) -> Any:
    return json.loads(project.bridgepipe("plan", "--json", *words).stdout)


def test_a_plan_counts_the_jobs_that_snakemake_would_run(project: Project) -> None:
    assert planned(project, FID)["total"]["jobs"] == 0

    project.edit(lambda p: p["experiments"]["i2sb"]["jpeg-5"].update(sample={"nfe": 3}))
    plan = planned(project, FID)
    dry = project.snakemake("-n", FID).stdout
    assert plan["total"]["jobs"] == int(re.findall(r"^total +(\d+)", dry, flags=re.MULTILINE)[0])
    stages = {stage["rule"]: stage for stage in plan["stages"]}
    assert {"sample", "fid"} <= set(stages)
    assert "train" not in stages
    assert stages["sample"]["calls"] % 3 == 0
    assert stages["sample"]["memory"] > 3e8
    assert project.bridgepipe("plan", FID).stdout.startswith("stage ")

    # an experiment stands for all of its results
    assert planned(project, "i2sb/jpeg-5")["total"]["jobs"] > plan["total"]["jobs"]


def test_an_unknown_target_is_refused(project: Project) -> None:
    done = project.bridgepipe("plan", "nonsense", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    graph, said = done.stderr.splitlines()
    assert graph == "plan: reading the graph of jobs"
    assert said.startswith("bridgepipe: No rule to produce nonsense")


def test_an_unknown_experiment_is_refused_before_the_graph_is_read(project: Project) -> None:
    done = project.bridgepipe("plan", "i2sb/jpeg-55", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith("bridgepipe: unknown experiment 'i2sb/jpeg-55'")
    assert "did you mean 'i2sb/jpeg-5'?" in said


def _newer(values: dict[str, Any]) -> None:
    values["datasets"]["mine"] = values["datasets"]["digits"]
    values["experiments"]["i2sb"]["mine"] = {**values["experiments"]["i2sb"]["jpeg-5"], "dataset": "mine"}


@pytest.mark.parametrize(
    ("command", "name", "key"),
    [
        (("bridgepipe", "plan", "i2sb/mine"), "i2sb/mine", "experiments.i2sb.mine"),
        (("bridgepipe", "plan", "results/i2sb/mine/fid.json"), "i2sb/mine", "experiments.i2sb.mine"),
        (("snakemake", "-n", "results/i2sb/mine/fid.json"), "i2sb/mine", "experiments.i2sb.mine"),
        (("snakemake", "-n", "data/prepared/mine/train.lmdb"), "mine", "datasets.mine"),
    ],
)
def test_what_is_newer_than_the_run_at_work_is_told_as_that(
    project: Project, command: tuple[str, ...], name: str, key: str
) -> None:
    with artifacts.exclusive(project.folder / locks.LOCK):
        project.edit(_newer)
        program, *words = command
        done = getattr(project, program)(*words, check=False)
    assert done.returncode == 2
    at_work, told = [line for line in done.stderr.splitlines() if line.startswith("bridgepipe: ")]
    assert at_work == f"bridgepipe: {workflow.AT_WORK}"
    place = re.escape("(params.yaml:") + r"\d+:\d+: " + re.escape(f"{key})")
    counts = "it counts once that run is done, so try again then"
    said = f"bridgepipe: {name} is newer than the run that is at work here {place}: {counts}"
    assert re.fullmatch(said, told)
    if program == "bridgepipe":  # when the run is done
        assert planned(project, *words[1:])["total"]["jobs"]


def test_a_pipe_shows_what_a_plan_is_at(project: Project) -> None:
    project.edit(lambda p: p["experiments"]["i2sb"]["jpeg-5"].update(sample={"nfe": 3}))
    done = project.bridgepipe("plan", "--json", FID)
    json.loads(done.stdout)
    graph, *networks = done.stderr.splitlines()
    assert graph == "plan: reading the graph of jobs"
    assert networks
    assert networks == [f"plan: timing network {n} of {len(networks)}" for n in range(1, len(networks) + 1)]


def test_a_network_alone_and_pairs_are_targets(tmp_path: Path) -> None:
    """Neither has results of the kind that other experiments end in."""
    project = Project.create(tmp_path / "project")
    values = read_yaml(ROOT / "params.yaml")
    values["experiments"]["ddib/classes"]["digits"] = {"scales": ["demo"], "pairs": {3: 8, 8: 3}}
    project.write(values)
    alone = {stage["rule"] for stage in planned(project, "--gpus", "1", "model/conditional")["stages"]}
    assert alone == {"prepare", "train"}
    pairs = {
        stage["rule"]: stage for stage in planned(project, "--gpus", "1", "ddib/classes/digits")["stages"]
    }
    assert pairs["train"]["jobs"] == 2  # the network, and the guide
    assert pairs["fid"]["jobs"] == 2
    assert "sample" not in pairs
    assert not [*project.folder.glob(".snakemake/log/*")]  # the newest is that of a run, for `status`
    assert not [*project.folder.glob(".snakemake/log/*")]  # the newest log is that of a run, for `status`


def test_what_runs_on_gpus_is_told_without_one(project: Project) -> None:
    project.edit(lambda p: p["experiments"]["i2sb"]["jpeg-5"].update(sample={"nfe": 3}))
    one, eight = (planned(project, "--gpus", gpus, "i2sb/jpeg-5") for gpus in ("1", "8"))
    assert one["total"]["calls"] == eight["total"]["calls"] > 0
    assert "H100" in one["basis"]
    assert one["total"]["seconds"] > eight["total"]["seconds"] > 0


def test_parts_take_what_the_whole_takes(project: Project) -> None:
    disk = []
    for parts in (1, 4):
        project.edit(lambda p, parts=parts: p["runtime"].update(partitions=parts, processes=1))
        project.edit(lambda p: p["experiments"]["i2sb"]["jpeg-5"].update(sample={"nfe": 3}))
        plan = planned(project, "--gpus", "8", FID)
        (sample,) = (stage for stage in plan["stages"] if stage["rule"] == "sample")
        assert sample["jobs"] == parts
        disk.append(sample["disk"])
    assert disk[1] > 0
    assert disk[0] == pytest.approx(disk[1])


def test_what_paper_scale_takes_is_told_before_its_data_are_there(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    project.edit(lambda p: p.update(scale="paper"))
    refused = project.snakemake("-n", "results/i2sb/jpeg-5/fid.json", check=False)
    assert refused.returncode != 0
    assert "dataset 'imagenet256-10k' is missing" in refused.stderr

    plan = planned(project, "--gpus", "8", "results/i2sb/jpeg-5/fid.json")
    systems = {system["system"]: system for system in plan["systems"]}
    assert systems.keys() == {"i2sb", "data"}
    assert 10 < systems["i2sb"]["seconds"] / 86400 < 1000  # of one H100
    assert sum(system["jobs"] for system in plan["systems"]) == plan["total"]["jobs"]
    assert [missing.partition("(")[0] for missing in plan["missing"]] == [
        "dataset 'imagenet256' is missing ",
        "dataset 'imagenet256-10k' is missing ",
    ]
    assert any("an H100 has" in warning for warning in plan["warnings"])
    assert plan["limit"]["rule"] == "train"

    project.edit(lambda p: p["runtime"].update(processes=8))
    shared = planned(project, "--gpus", "8", "results/i2sb/jpeg-5/fid.json")
    assert (shared["workers"], shared["limit"]) == (1, None)
    assert 6 * shared["total"]["seconds"] < plan["total"]["seconds"]
    said = project.bridgepipe("plan", "--gpus", "8", "results/i2sb/jpeg-5/fid.json").stdout
    assert "not here yet: dataset 'imagenet256' is missing (data/raw/imagenet): put" in said
