"""A result is current only while its rule would read the same files and the same values."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import yaml
from humanfriendly import parse_size
from project import MODEL, ROOT, Project
from snakemake.api import SnakemakeApi
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

from bridgepipe import artifacts, workflow
from bridgepipe.config import read_yaml
from bridgepipe.runtime import cluster, launch, locks
from bridgepipe.workflow.cleaning import clean

Values = dict[str, Any]
Jobs = dict[str, dict[str, Any]]
STUDY = {"nfe": [5], "count": 8}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real rules and parameters, with a study of restoration and a second model to compare with."""
    project = Project.create(tmp_path / "project")
    project.write(read_yaml(ROOT / "params.yaml"))
    project.edit(_smaller)
    monkeypatch.chdir(project.folder)
    return project.folder


def _smaller(values: Values) -> None:
    experiments = values["experiments"]
    kept = {"model": ("ddpm", "conditional"), "spd": ("ddpm", "ddim"), "boundary": ("loop",)}
    kept |= {"i2sb": ("jpeg-5",), "ddib/classes": ("3-8",), "guide": ("digits",)}
    values["experiments"] = {m: {name: experiments[m][name] for name in names} for m, names in kept.items()}
    values["experiments"]["model"] |= {"ddpm": {}, "again": {"train": {"seed": 1}}}
    values["experiments"]["i2sb"]["jpeg-5"] = {
        **experiments["i2sb"]["jpeg-5"],
        "scales": ["demo"],
        "study": STUDY,
    }
    values["experiments"]["spd"]["ddim"]["study"] = STUDY
    values["experiments"]["boundary"]["loop"]["mixing"] = {"images": 100}
    again = {"kind": "classifier", "dataset": "digits", "steps": 7, "seed": 1}
    values["extractors"]["another"] = again
    values["extractors"]["another-16"] = {**again, "dataset": "digits-16"}


def planned(folder: Path) -> Jobs:
    """What decides whether a job is stale, and what its command is, by its first output."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        opened = api.workflow(ResourceSettings(cores=1), snakefile=folder / "Snakefile", workdir=folder)
        opened.dag(DAGSettings(targets={"all"}, forceall=True))
        flow = opened._workflow
        flow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        flow._build_dag()
        return {str(job.output[0]): _fingerprint(job, flow) for job in flow.dag.jobs if job.output}


def _fingerprint(job: Any, flow: Any) -> dict[str, Any]:
    config = [
        file
        for file in map(str, job.input)
        if re.search(r"/config/|/config\.json$|checkpoints/[^/]+\.json$", file)
    ]
    triggers = [sorted(map(repr, job.non_derived_params)), [artifacts.read_json(file) for file in config]]
    return {
        "rule": job.rule.name,
        "command": job.shellcmd,
        "triggers": json.dumps(triggers, sort_keys=True),
        "needs": {str(maker.output[0]) for maker in flow.dag.dependencies[job] if maker.output},
    }


def set_at(*path: str, value: Any) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        for key in path[:-1]:
            values = values.setdefault(key, {})
        values[path[-1]] = value

    return change


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    with pytest.MonkeyPatch.context() as patch:
        project = Project.create(tmp_path_factory.mktemp("before") / "project")
        project.write(read_yaml(ROOT / "params.yaml"))
        project.edit(_smaller)
        patch.chdir(project.folder)
        yield planned(project.folder)


def test_a_deleted_experiment_leaves_its_table(folder: Path, before: Jobs) -> None:
    Project(folder).edit(lambda values: values["experiments"]["spd"].pop("ddpm"))
    now, table = planned(folder), "results/spd/table.csv"
    assert "results/spd/ddpm/table.csv" not in now
    assert now[table]["triggers"] != before[table]["triggers"]


def test_how_sampling_is_divided_makes_nothing_stale(folder: Path, before: Jobs) -> None:
    Project(folder).edit(set_at("runtime", "partitions", value=5))
    now = planned(folder)
    assert {f for f in now if "/parts/" not in f} == {f for f in before if "/parts/" not in f}
    assert all(now[f]["triggers"] == before[f]["triggers"] for f in now if "/parts/" not in f)


# an edit while a run is at work

SAMPLE = Path("results/i2sb/jpeg-5/config/sample.json")


def opened(nfe: int, plans: bool = True) -> workflow.Pipeline:
    Project(Path()).edit(set_at("scales", "demo", "i2sb", "sample", "nfe", value=nfe))
    return workflow.open_params({}, ["params.yaml"], plans)


def nfe_of(pipeline: workflow.Pipeline) -> int:
    return pipeline.experiment("i2sb/jpeg-5").sample.nfe


def test_an_edit_during_a_run_waits_for_its_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = opened(nfe=8)
    assert artifacts.read_json(SAMPLE)["sample"]["nfe"] == 8
    opened(nfe=9)  # a dry run between the reading of a run and its start
    with artifacts.exclusive(locks.LOCK):
        first._write()  # as at its start
        assert nfe_of(opened(nfe=3)) == 8  # a dry run beside it
        assert "another run is at work here" in capsys.readouterr().err
        assert nfe_of(opened(nfe=3, plans=False)) == 8  # one of its jobs
        assert artifacts.read_json(SAMPLE)["sample"]["nfe"] == 8
    assert nfe_of(opened(nfe=3, plans=False)) == 8  # a job that outlives its run
    assert artifacts.read_json(SAMPLE)["sample"]["nfe"] == 8
    assert nfe_of(opened(nfe=3)) == 3
    assert artifacts.read_json(SAMPLE)["sample"]["nfe"] == 3


# stands in for the verbs: it waits for the edit, and what it writes is the configuration that it reads
VERB = """\
#!/bin/bash
touch started; until [ -e edited ]; do sleep 0.1; done
read=$3; made=()
while [ $# -gt 0 ]; do
  case $1 in --config) read=$2;; --restored|--corrupted|--output) made+=("$2");; esac; shift
done
for file in "${made[@]}"; do cp "$read" "$file"; done
"""


def test_a_run_is_planned_once_and_the_next_one_sees_the_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.create(tmp_path / "project")
    nfe = ("scales", "demo", "i2sb", "sample", "nfe")
    monkeypatch.chdir(project.folder)
    for file in ("data/prepared/digits/test.lmdb", "results/i2sb/jpeg-5/model.safetensors"):
        Path(file).parent.mkdir(parents=True)
        Path(file).touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/bridgepipe").write_text(VERB)
    (tmp_path / "bin/bridgepipe").chmod(0o755)
    context = project.context()
    context["env"]["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{context['env']['PATH']}"
    restored = "results/i2sb/jpeg-5/restored.lmdb"
    sampling = project.command("-c1", "--allowed-rules", "sample", "gather", "--", restored)

    project.edit(set_at(*nfe, value=3))
    project.edit(set_at("runtime", "partitions", value=2))
    run = subprocess.Popen(sampling, cwd=project.folder, env=context["env"])
    wait_for(Path("started"), run)
    project.edit(set_at(*nfe, value=4))
    beside = subprocess.run([*sampling[:3], "-n", *sampling[3:]], check=True, **context)
    assert workflow.AT_WORK in beside.stderr
    Path("edited").touch()
    assert run.wait(60) == 0
    for file in (restored, SAMPLE):
        assert artifacts.read_json(file)["sample"]["nfe"] == 3
    later = subprocess.run([*sampling[:3], "-n", *sampling[3:]], check=True, **context)
    assert "\nsample " in later.stdout + later.stderr
    assert artifacts.read_json(SAMPLE)["sample"]["nfe"] == 4


def wait_for(file: Path, run: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while not file.exists():
        assert run.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)


def test_snakemake_reads_no_large_store_whole() -> None:
    profile = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    assert parse_size(profile["max-checksum-file-size"]) <= 100_000_000


# GPUs


def resources(folder: Path, device: str) -> dict[str, int]:
    """Rule -> GPUs, of rules whose jobs call a network."""
    Project(folder).edit(set_at("runtime", "device", value=device))
    text = [f.read_text() for f in sorted((ROOT / "workflow/rules").glob("*.smk"))]
    asked = set(cluster.gpu_rules(ROOT / "workflow/rules", folder / "params.yaml"))
    heads = re.findall(r"^(?:use )?rule (\w+)", "\n".join(text), re.MULTILINE)
    return {rule: int(rule in asked) for rule in heads}


CALLS = (
    r"bridgepipe stage (sample|generate-samples|study|study-samples|translate-classes|translate-back"
    r"|figure path|statistics|evaluate (fid|accuracy|translation-fid|target-accuracy|similarity)"
    r"|boundary (mixing|latents|strips|evaluate)"
    r"|sample-points|translate-points|cycle-points|color-transfer|train) "
)


def with_verbs(body: str) -> str:
    """Body of a rule, with every verb that it may run in the place of ``params.verb``."""
    verbs = re.findall(r'"([a-z -]+)"', "".join(re.findall(r"verb=.*", body)))
    return "".join(body.replace("{params.verb}", verb) for verb in verbs) or body


def test_every_rule_that_calls_a_network_asks_for_a_gpu_and_has_the_masks(folder: Path) -> None:
    rules = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for body in re.split(r"^(?=rule )", file.read_text(), flags=re.MULTILINE)[1:]:
            rules[re.match(r"rule (\w+)", body)[1]] = re.split(r"^use rule ", body, flags=re.MULTILINE)[0]
    calling = {name for name, body in rules.items() if re.search(CALLS, with_verbs(body))}
    assert {"figure_path", "study", "sample", "train", "boundary_mixing", "fid"} <= calling
    for name in calling:
        assert "**network(" in rules[name], name
    for name in ("sample", "study", "figure_path"):
        assert "P.sources.mask_files" in rules[name]
    assert all(resources(folder, "auto")[name] == 1 for name in calling)
    assert set(resources(folder, "cpu").values()) == {0}
    assert opened(nfe=3).gpus == 0


@pytest.mark.parametrize(("visible", "count"), [("0,1", 2), ("3", 1), ("", 0), ("-1", 0), ("GPU-a,GPU-b", 2)])
def test_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cluster.gpus_here() == count


def test_jobs_beside_each_other_take_different_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        (tmp_path / "gpus" / str(k)).mkdir(parents=True)
    monkeypatch.setattr(launch, "GPUS", tmp_path / "gpus")
    monkeypatch.setattr(launch, "_claimed", [])
    monkeypatch.setattr(launch.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("SLURM_JOB_ID", "WORLD_SIZE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    given = []
    for count in (1, 2, 1):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        launch.claim_gpus(count)  # a lock is held against the same process too
        given.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
    assert given == ["0", "1,2", None]
    for lock in launch._claimed:
        lock.close()
    launch.claim_gpus(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    launch.claim_gpus(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    for lock in launch._claimed:
        lock.close()


def test_every_message_and_caption_names_what_it_is_about(folder: Path) -> None:
    empty = re.compile(r"(?:^|\s)(?:``)?/|/(?:``)?(?:[\s.]|$)|````|(?:of|in|for|under)\s*$|\{")
    captions = 0
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        opened = api.workflow(ResourceSettings(cores=1), snakefile=folder / "Snakefile", workdir=folder)
        opened.dag(DAGSettings(targets={"all"}, forceall=True))
        flow = opened._workflow
        flow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        flow._build_dag()
        for job in (job for job in flow.dag.jobs if job.output):
            assert job.message, job.rule.name
            assert not empty.search(job.message), job.message
            for file in (f for f in job.output if f.flags.get("report")):
                caption = file.flags["report"].caption
                source = (ROOT / "workflow/rules" / caption).read_text(encoding="utf8")
                template = jinja2.Template(source, undefined=jinja2.StrictUndefined)
                known = SimpleNamespace(wildcards=SimpleNamespace(**job.wildcards_dict), params=job.params)
                text = template.render(snakemake=known)
                assert not empty.search(text), text
                captions += 1
    assert captions > 5


@pytest.mark.parametrize("home", ["results", "data"])
def test_results_and_data_may_lie_on_another_disk(project: Project, tmp_path: Path, home: str) -> None:
    (project.folder / home).rename(tmp_path / "disk")
    (project.folder / home).symlink_to(tmp_path / "disk")
    assert project.planned() == set()
    project.edit(lambda v: v["scales"]["demo"]["i2sb"]["evaluate"].update(reference="test"))
    assert "fid" in project.planned()
    assert "train" not in project.planned()


def test_clean_leaves_weights_current_that_no_state_would_give_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what they were made from Snakemake would train again, for as long as it took."""
    monkeypatch.chdir(project.folder)
    home = Path("results/i2sb/jpeg-5")
    (home / "notes.txt").write_text("mine")
    (home / "train/state.safetensors").unlink()
    clean(Path("params.yaml"))
    left = {f.relative_to(home).as_posix() for f in home.rglob("*") if f.is_file()}
    training = {
        "model.safetensors",
        "train.csv",
        "config/train.json",
        "logs/train.log",
        "benchmarks/train.tsv",
    }
    records = {f"provenance/{name}.json" for name in ("model.safetensors", "train.csv")}
    own = {f"train/{name}" for name in (".lock", "train.csv", "provenance.json")}
    assert left == {"notes.txt", *training, *records, *own}
    assert {f.name for f in Path("data").rglob("*.lmdb")} == {"train.lmdb", "val.lmdb", "test.lmdb"}
    assert project.planned(MODEL) == set()
