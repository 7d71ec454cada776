"""An edit of a key makes stale what a fresh run would do otherwise: for Snakemake, and for DVC."""

from __future__ import annotations

import copy
import itertools
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from project import ROOT, Project
from snakemake.api import SnakemakeApi
from snakemake.io import strip_wildcard_constraints
from snakemake.jobs import Job
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

from bridgepipe import artifacts
from bridgepipe.config import Resolved, read_yaml
from bridgepipe.errors import UserError
from bridgepipe.workflow import Pipeline

Values = dict[str, Any]
Path = tuple[str, ...]
SAMPLED = 12  # keys; all of them with FULL=1
ALWAYS = {"split", "test", "domain", "size", "extractor"}  # they decide which files are read, or an option
SPLITS = ["train", "val", "test"]
STUDY = {"nfe": [5], "count": 8}
KEPT = {
    "model": ("ddpm", "conditional"),
    "spd": ("ddpm", "ddim"),
    "boundary": ("loop",),
    "i2sb": ("jpeg-5",),
    "ddib/classes": ("3-8",),
    "guide": ("digits",),
    "ddib/sample": ("moons", "checkerboard", "olympic_rings"),
    "ddib/points": ("moons-checkerboard",),
}


@dataclass(frozen=True)
class Seen:
    """What decides whether a job is stale, and what it would do."""

    command: str
    params: list[str]
    inputs: list[str]
    read: Mapping[str, str]  # configurations among the inputs


def does_other(now: Seen, before: Seen) -> bool:
    return (now.command, now.inputs, now.read) != (before.command, before.inputs, before.read)


def seen_by_snakemake(now: Seen, before: Seen) -> bool:
    """Another file that lay there before is no reason for it: only what it has seen can change."""
    changed = (before.read.get(file, content) != content for file, content in now.read.items())
    return now.params != before.params or any(changed)


def seen_by_dvc(now: Seen, before: Seen) -> bool:
    return sorted(now.inputs) != sorted(before.inputs) or now.read != before.read


ENGINES = {"Snakemake": seen_by_snakemake, "DVC": seen_by_dvc}


class Flow:
    """The jobs of the real rules, looked at again under other parameters."""

    def __init__(self, workflow: Any, values: Values) -> None:
        self.workflow, self.values = workflow, values
        self.stage_files = Resolved.stage_files
        self.jobs = {str(job.output[0]): job for job in workflow.dag.jobs if job.output}
        self.before = self.seen(values)

    def seen(self, values: Values) -> dict[str, Seen]:
        resolved = Resolved(values)
        self.workflow.globals["P"] = Pipeline(resolved)
        looked_up = self.workflow.globals["FILES"]
        for stage, files in resolved.files().items():
            looked_up[stage].clear()
            looked_up[stage].update(files)
        contents = {path: artifacts.canonical(c) for path, c in self.stage_files(resolved).items()}
        return {file: self._seen(job, contents) for file, job in self.jobs.items()}

    def _seen(self, job: Job, contents: Mapping[str, str]) -> Seen:
        now = Job(job.rule, self.workflow.dag, job.wildcards_dict)
        self.workflow.dag._jobid[now] = 0  # a command may name it
        inputs = [str(file) for file in now.input]
        read = {file: contents[file] for file in inputs if file in contents}
        return Seen(now.shellcmd, sorted(map(repr, now.non_derived_params)), inputs, read)

    @cached_property
    def needs(self) -> dict[str, set[str]]:
        """Job -> jobs that make what it reads, all by their first output."""
        made = {str(file): first for first, job in self.jobs.items() for file in job.output}
        return {f: {made[file] for file in seen.inputs if file in made} for f, seen in self.before.items()}

    def downstream(self, files: set[str]) -> set[str]:
        found = set(files)
        while more := {f for f, makers in self.needs.items() if makers & found} - found:
            found |= more
        return found

    def faults(self, path: Path, values: Values) -> list[str]:
        """What is wrong with what an edit makes stale."""
        now = self.seen(values)

        def changed(differs: Callable[[Seen, Seen], bool]) -> set[str]:
            return {file for file in now if differs(now[file], self.before[file])}

        does, key = changed(does_other), ".".join(path)
        rules = {engine: self._rules(does - self.downstream(changed(see))) for engine, see in ENGINES.items()}
        told = [f"{key}: {engine} does not run {missed}" for engine, missed in rules.items() if missed]
        if more := self._rules(changed(seen_by_snakemake) - self.downstream(does)):
            told.append(f"{key}: Snakemake runs {more} for nothing")
        return told if does else [*told, f"{key}: no job reads it"]

    def stale(self, values: Values) -> set[str]:
        """Rules of the jobs that Snakemake would run after an edit."""
        now = self.seen(values)
        changed = {file for file in now if seen_by_snakemake(now[file], self.before[file])}
        return set(self._rules(self.downstream(changed)))

    def _rules(self, files: set[str]) -> list[str]:
        return sorted({self.jobs[file].rule.name for file in files})


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    project = Project.create(tmp_path_factory.mktemp("keys") / "project")
    project.write(read_yaml(ROOT / "params.yaml"))
    project.edit(_smaller)
    with pytest.MonkeyPatch.context() as patch, SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        patch.chdir(project.folder)
        opened = api.workflow(ResourceSettings(cores=1), snakefile=project.folder / "Snakefile")
        opened.dag(DAGSettings(targets={"all"}, forceall=True))
        workflow = opened._workflow
        workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        yield Flow(workflow, project.params)


def _smaller(values: Values) -> None:
    """One experiment of a kind at one scale, with the sections that may be missing."""
    of = values["experiments"]
    values["scales"] = {"demo": values["scales"]["demo"]}
    kept = {
        method: {name: copy.deepcopy(of[method][name]) for name in names} for method, names in KEPT.items()
    }
    values["experiments"] = kept
    kept["model"] |= {"ddpm": {}, "again": {"train": {"seed": 1}}}
    kept["i2sb"]["jpeg-5"] = {"corruption": "jpeg-5", "beta_max": 0.3, "study": STUDY}
    kept["spd"]["ddim"]["study"] = STUDY
    kept["boundary"]["loop"]["mixing"] = {"images": 100}
    kept["ddib/sample"]["olympic_rings"] = {
        "process": {"T": 4000, "prediction": "eps"},
        "train": {"published": "ddib/synthetic"},
        "network": {"model_channels": 256, "num_res_blocks": 3, "frequencies": 0},
    }
    again = {"kind": "classifier", "dataset": "digits", "steps": 7, "seed": 1}
    values["extractors"] |= {"another": again, "another-16": {**again, "dataset": "digits-16"}}


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def keys_of(flow: Flow) -> list[tuple[Path, Any]]:
    """Every key of what is made here with its value, those with defaults too."""
    resolved, found = Resolved(flow.values), []
    for full, experiment in resolved.experiments.items():
        if any(file.startswith(f"results/{full}/") for file in flow.jobs):
            found += leaves(experiment.model_dump(mode="json"), ("experiments", *full.rsplit("/", 1)))
    for section in ("datasets", "extractors"):
        for name, entry in getattr(resolved.params, section).items():
            if any(name in job.wildcards_dict.values() for job in flow.jobs.values()):
                found += leaves(entry.model_dump(mode="json"), (section, name))
    return found


def others(path: Path, value: Any, pool: Mapping[str, list[str]]) -> list[Any]:
    """Values that a key might have instead."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2, value - 1, value // 2]
    if isinstance(value, float):
        return [value * 0.9, value * 1.1]
    if isinstance(value, list):
        return [value[:-1], value + value[-1:]]
    return [name for name in pool[path[-1]] if name != value][:8] if isinstance(value, str) else [1, 0.5]


def edited(values: Values, path: Path, value: Any) -> Values:
    """Parameters with another value of one key; sections above it that were none become some."""
    values = copy.deepcopy(values)
    section = values
    for key in path[:-1]:
        section = section.setdefault(key, {})
    section[path[-1]] = value
    return values


def edits(flow: Flow, keys: list[tuple[Path, Any]]) -> Iterator[tuple[Path, Values]]:
    """For each key that has another possible value: its path, and the parameters with that value."""
    every = keys_of(flow)
    pool: dict[str, list[str]] = defaultdict(list, dict.fromkeys(("split", "test", "reference"), SPLITS))
    pool |= {key: [*flow.values["extractors"]] for key in ("extractor", "classifier")}
    for path, value in every:
        if isinstance(value, str) and value not in pool[path[-1]]:
            pool[path[-1]] = [*pool[path[-1]], value]
    for path, value in keys:
        possible = (edited(flow.values, path, other) for other in others(path, value, pool) if other != value)
        yield from ((path, values) for values in itertools.islice(filter(_is_valid, possible), 1))


def _is_valid(values: Values) -> bool:
    try:
        Resolved(values)
    except UserError:
        return False
    return True


def test_an_edit_runs_what_a_fresh_run_would_do_otherwise(flow: Flow) -> None:
    keys = keys_of(flow)
    asked = keys if os.environ.get("FULL") else random.Random(0).sample(keys, SAMPLED)
    asked += [(path, value) for path, value in keys if path[-1] in ALWAYS]
    made = list(edits(flow, asked))
    assert len(made) > len(asked) / 2
    assert [fault for path, values in made for fault in flow.faults(path, values)] == []


I2SB, SPD, LOOP = (
    ("experiments", *name) for name in (("i2sb", "jpeg-5"), ("spd", "ddim"), ("boundary", "loop"))
)
DIGITS = ("experiments", "ddib/classes", "3-8", "evaluate")
SWAPPED = {"split": "test", "test": "train"}
OTHER_FILES: tuple[tuple[Path, Any, set[str]], ...] = (
    ((*LOOP, "search", "split"), "val", {"boundary_latents"}),
    ((*LOOP, "search"), SWAPPED, {"boundary_latents", "boundary_evaluate"}),
    ((*SPD, "model"), "again", {"study", "generate"}),
    ((*SPD, "evaluate", "reference"), "test", {"study", "fid"}),
    ((*I2SB, "evaluate", "extractor"), "another", {"study", "fid"}),
    ((*I2SB, "evaluate", "classifier"), "another", {"accuracy"}),
    ((*DIGITS, "extractor"), "another-16", {"similarity", "fid"}),
)


@pytest.mark.parametrize(("path", "value", "rules"), OTHER_FILES)
def test_an_edit_of_which_file_is_read_runs_its_readers(
    flow: Flow, path: Path, value: Any, rules: set[str]
) -> None:
    values = edited(flow.values, path, value)
    assert flow.faults(path, values) == []
    assert flow.stale(values) >= rules


# the test itself: a key that is in no file of a stage, and a rule that does not tell what it reads


def flow_without(flow: Flow, values: Values, stage: str, *missing: str) -> Flow:
    """The jobs, were keys missing in the file of a stage."""
    whole = Resolved.stage_files

    def lacking(resolved: Resolved) -> dict[str, Any]:
        files = whole(resolved)
        return {**files, stage: {key: v for key, v in files[stage].items() if key not in missing}}

    again = Flow(flow.workflow, values)
    again.stage_files = lacking
    again.before = again.seen(values)
    return again


def test_a_key_that_a_stage_lacks_is_found(flow: Flow) -> None:
    i2sb, loop = ("experiments", "i2sb", "jpeg-5"), ("experiments", "boundary", "loop", "search")
    without = flow_without(flow, flow.values, "results/i2sb/jpeg-5/config/sample.json", "sample")
    nfe = (*i2sb, "sample", "nfe")
    told = without.faults(nfe, edited(flow.values, nfe, 9))
    assert told == ["experiments.i2sb.jpeg-5.sample.nfe: no job reads it"]
    before, after = ({"t": 100, "split": a, "test": b} for a, b in (("train", "test"), ("test", "train")))
    values = edited(flow.values, loop, before)
    without = flow_without(flow, values, "results/boundary/loop/config/latents.json", "split", "test")
    told = without.faults(loop, edited(values, loop, after))
    missed = ["boundary_latents"]
    assert told == [f"experiments.boundary.loop.search: DVC does not run {missed}"]


def test_a_rule_that_does_not_tell_what_it_reads_is_found(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    (study,) = (rule for rule in flow.workflow.rules if rule.name == "study")
    silent = type(study.params)(fromdict={"options": study.params.options, "verb": study.params.verb})
    monkeypatch.setattr(study, "_params", silent)
    path = ("experiments", "spd", "ddim", "model")
    told = Flow(flow.workflow, flow.values).faults(path, edited(flow.values, path, "again"))
    assert told == ["experiments.spd.ddim.model: Snakemake does not run ['study']"]


def test_the_benchmark_of_a_job_lies_beside_its_log(flow: Flow) -> None:
    """Of every rule that makes something from files; what only fetches has none."""
    rules = {rule.name: rule for rule in flow.workflow.rules if rule.output}
    assert {name for name, rule in rules.items() if not rule.benchmark} == {"fetch", "fetch_folder"}
    found = {name: strip_wildcard_constraints(str(rule.benchmark)) for name, rule in rules.items()}
    assert found["fid"] == "results/{name}/benchmarks/fid.tsv"
    assert found["sample"] == "results/i2sb/{experiment}/benchmarks/sample-{part}-of-{parts}.tsv"
    assert found["statistics"] == "results/benchmarks/statistics-{dataset}-{split}-{extractor}.tsv"
    assert found["prepare_points"] == "results/benchmarks/prepare-{dataset}.tsv"
