"""What DVC reads beside dvc.yaml: the names of its stages, and a closure of each.

dvc.yaml is written by hand, a family of stages a block: the rules that run, what is read and what is made.
From it and the graph of jobs follow ``stages/names.yaml``, the members of each family, and a closure of each
stage below ``results/plan``: the configurations that it reads, the listings of its sources, the digest of its
code.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

from bridgepipe import artifacts
from bridgepipe import workflow as pipeline
from bridgepipe.config import PLAN
from bridgepipe.data import listing
from bridgepipe.errors import UserError
from bridgepipe.runtime import closure
from bridgepipe.runtime.jobs import BAD_INPUT

NAMES = Path("stages/names.yaml")
INPUTS = ("params.yaml", "experiments", "stages")  # what a person commits before the results
SOURCES = Path("stages/sources")  # listings of what a person put there
HEAD = "# Written by `bridgepipe record`: the stages that dvc.yaml has. docs/engines-dvc.md explains it.\n"
ALL = "all"
SHOWN = 5  # experiments that a line names
EMPTY = f"{PLAN}/none"  # in place of a file, where a stage reads fewer than its family
Job = Any


@dataclass(frozen=True)
class Family:
    """A block of dvc.yaml: stages that run the same rules.

    Attributes:
        rules: names of the rules.
        outs: templates of what is made.
        reads: how many files of other stages there is room for.
        numbers: whether it reads the numbers of all experiments of a method as one folder.
    """

    name: str
    rules: frozenset[str]
    outs: tuple[str, ...]
    reads: int
    numbers: bool

    @classmethod
    def read(cls, name: str, block: dict[str, Any]) -> Family:
        found = re.fullmatch(r"\$\{run\} (.+) -- .*", block["cmd"].strip())
        told = [out for kind in ("outs", "metrics", "plots") for out in block.get(kind, ())]
        outs = tuple(next(iter(out)) if isinstance(out, dict) else out for out in told)
        reads = sum("${item.reads[" in dep for dep in block["deps"])
        numbers = any(dep.startswith("results/metrics/") for dep in block["deps"])
        return cls(name, frozenset(found[1].split()) if found else frozenset(), outs, reads, numbers)

    def made(self, key: str, files: list[str]) -> list[str]:
        """Outputs of one stage."""
        values = {"key": key, "item.files": " ".join(files), "item.folder": _folder(files)}
        values |= {f"item.outs[{number}]": file for number, file in enumerate(_pictures(files))}
        return [re.sub(r"\$\{(.+?)\}", lambda m: values.get(m[1], "?"), out) for out in self.outs]


def _folder(files: list[str]) -> str:
    return str(Path(files[0]).parent)


def _pictures(files: list[str]) -> list[str]:
    """Pictures beside the results, whose names are those of photographs."""
    return [file for file in files if file.endswith(".png") and "/figures/" not in file]


@dataclass
class Stage:
    """One stage.

    Attributes:
        key: experiment, dataset, ...
        jobs: what it runs.
    """

    family: Family
    key: str
    jobs: list[Job]

    @property
    def files(self) -> list[str]:
        """What is made and stays."""
        return sorted(str(f) for job in self.jobs for f in job.output if not f.is_flagged("temp"))

    @property
    def inputs(self) -> list[str]:
        made = {str(file) for job in self.jobs for file in job.output}
        return sorted({str(file) for job in self.jobs for file in job.input} - made)

    @property
    def closure(self) -> str:
        return f"{PLAN}/{self.family.name}@{self.key}.json"

    def item(self, made: set[str]) -> dict[str, Any]:
        """What dvc.yaml asks of the stage.

        Args:
            made: files that stages make.
        """
        reads = [file for file in self.inputs if file in made and not self.family.numbers]
        if len(reads) > self.family.reads:
            what = f"{self.family.name}@{self.key} reads {len(reads)} files"
            mend = f"give the stage a line `- ${{item.reads[{self.family.reads}]}}` more"
            raise UserError(what, "dvc.yaml", mend)
        reads += [f"{EMPTY}/{number}.json" for number in range(self.family.reads - len(reads))]
        item = {"plan": self.closure, "files": " ".join(self.files), "reads": reads}
        item |= {"folder": _folder(self.files)} if "${item.folder}" in self.family.outs else {}
        outs = _pictures(self.files) if any("item.outs" in out for out in self.family.outs) else []
        return item | ({"outs": outs} if outs else {})

    def content(self, made: set[str], digests: closure.Digests) -> dict[str, Any]:
        """What the stage depends on besides files that other stages make."""
        rules = {job.rule.name: job.rule.shellcmd for job in self.jobs}
        verbs = sorted({verb for job in self.jobs if (verb := closure.verb_of(_command(job)))})
        known = (file for file in self.inputs if file not in made and file.endswith(".json"))
        read = {file: artifacts.read_json(file) for file in known}
        rows = [str(file) for job in self.jobs for file in job.input] if self.family.numbers else []
        return {
            "read": {file: content for file, content in read.items() if not _is_of(content, made)},
            "code": {verb: digests.of(verb) for verb in verbs},
            "commands": {name: rules[name] for name in sorted(rules)},
            **({"rows": rows} if rows else {}),  # a table has them in the order of params.yaml
        }


def _command(job: Job) -> str:
    """What a job runs, with the verb that it chose."""
    command = job.rule.shellcmd or ""
    return command.replace("{params.verb}", job.params.verb) if "{params.verb}" in command else command


def _is_of(content: Any, made: set[str]) -> bool:
    """Whether JSON is the listing of files that stages make, which are dependencies themselves."""
    return isinstance(content, dict) and {"content", "paths"} <= {*content} and {*content["paths"]} <= made


def families() -> dict[str, Family]:
    blocks = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf8"))["stages"]
    found = {name: Family.read(name, block["do"]) for name, block in blocks.items() if "do" in block}
    return {name: family for name, family in found.items() if family.rules}


class Graph:
    """Jobs of the workflow for some targets, and what each depends on."""

    def __init__(self, workflow: Any) -> None:
        workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        found = (sorted(jobs, key=lambda job: str(job.output)) for jobs in workflow.dag.toposorted())
        self.jobs = [job for jobs in found for job in jobs if job.output]
        self.needs = {job: list(workflow.dag.dependencies[job]) for job in self.jobs}

    def stages(self, known: dict[str, Family]) -> list[Stage]:
        """Every job in one stage: the one that takes in most of what belongs together.

        Raises:
            UserError: dvc.yaml has no place for a job or a file.
        """
        by_key = defaultdict(list)
        for job in self.jobs:
            by_key[key_of(job)].append(job)
        found = [stage for key in sorted(by_key) for stage in self._of_key(key, by_key[key], known)]
        missed = set(self.jobs) - {job for stage in found for job in stage.jobs}
        for job in sorted(missed, key=lambda job: job.rule.name):
            what = f"no stage runs rule {job.rule.name} for {job.output}"
            raise UserError(what, "dvc.yaml", "add it to one")
        return found

    def _of_key(self, key: str, jobs: list[Job], known: dict[str, Family]) -> Iterator[Stage]:
        fitting = [stage for family in known.values() if (stage := self._stage(family, key, jobs))]
        taken: set[Job] = set()
        for stage in sorted(fitting, key=lambda stage: -len(stage.jobs)):
            if not taken & {*stage.jobs}:
                taken |= {*stage.jobs}
                yield stage

    def _stage(self, family: Family, key: str, jobs: list[Job]) -> Stage | None:
        """The stage of a family, when the jobs make exactly what it declares."""
        mine = [job for job in jobs if job.rule.name in family.rules]
        files = [str(f) for job in mine for f in job.output if not f.is_flagged("temp")]
        outs = family.made(key, files) if files else []
        taken = [
            job for job in mine if all(f.is_flagged("temp") or _within(str(f), outs) for f in job.output)
        ]
        ends = [job for job in taken if any(_within(str(f), outs) for f in job.output)]
        needed = {*ends, *(other for job in ends for other in self.needs[job])}
        stage = Stage(family, key, [job for job in taken if job in needed])
        whole = outs and all(any(_within(file, [out]) for file in stage.files) for out in outs)
        return stage if whole and all(_within(file, outs) for file in stage.files) else None


def _within(file: str, outs: list[str]) -> bool:
    return any(file == out or file.startswith(f"{out}/") for out in outs)


def key_of(job: Job) -> str:
    """The experiment, or for tables the method, that a job writes for; else what its wildcards name."""
    if (name := getattr(job.wildcards, "name", None)) is not None:
        return name
    found = re.match(r"results/(.+?)/([^/]+|(figures|latents|parts)/[^/]+)$", str(job.output[0]))
    return found[1] if found else "-".join(map(str, job.wildcards))


def recorded_in(names: Path) -> list[str]:
    """Experiments whose stages dvc.yaml has."""
    return yaml.safe_load(names.read_text(encoding="utf8"))["recorded"] if names.exists() else [ALL]


def check_known(flow: Any, recorded: list[str]) -> None:
    """Refuse names of experiments that no file has: DVC's copies have the files that git knows."""
    if lost := [name for name in recorded if name not in (ALL, *flow.resolved.experiments)]:
        mend = "`git add` the file that has it before a queued run, or run `bridgepipe record`"
        raise UserError(f"no file here has {lost[0]}", NAMES, mend)


def targets_of(flow: Any, recorded: list[str]) -> list[str]:
    """Results of the experiments, and tables of the methods that are recorded whole."""
    for group in flow.resolved.groups:
        if ALL in recorded or {*flow.resolved.groups[group]} & {*recorded}:
            mend = "write each pair as an experiment, with source and target"
            raise UserError(
                f"the pairs of {group} are one job, which no stage records", "bridgepipe record", mend
            )
    if ALL in recorded:
        return [*flow.outcomes.results(), *flow.outcomes.tables()]
    for name in recorded:
        flow.experiment(name)
        if not flow.outcomes.results(name):
            what = f"{name} is a part of other experiments, and measured in them"
            raise UserError(what, "bridgepipe record", "name an experiment that uses it")
    whole = [m for m in flow.resolved.methods if {*flow.resolved.of(m)} <= {*recorded}]
    tables = (
        file
        for method in whole
        for file in flow.outcomes.tables()
        if Path(file).parent == Path("results", method)
    )
    return [*flow.outcomes.results(*recorded), *tables]


def sources_of(flow: Any, stages: list[Stage], made: set[str]) -> dict[str, str]:
    """Files and folders of a person that the stages read, by a name."""
    listings = [file for stage in stages for file in stage.inputs if file.endswith(f"/{listing.SUMMARY}")]
    paths = {path for file in listings for path in artifacts.read_object(file)["paths"]}
    return {re.sub("[^a-zA-Z0-9_-]+", "-", path).strip("-"): path for path in sorted(paths - made)}


def written(recorded: list[str], members: dict[str, Any]) -> str:
    """The names as YAML: a line for every stage."""
    lines = [f"recorded: {json.dumps(recorded)}", "plan:"]
    for name, of_family in members.items():
        lines.append(f"  {name}:{'' if of_family else ' {}'}")
        lines += [f"    {json.dumps(key)}: {json.dumps(item)}" for key, item in of_family.items()]
    return HEAD + "\n".join([*lines, ""])


def plan(recorded: list[str] | None, check: bool) -> None:
    """Write the names, or compare them, and the closures.

    Raises:
        UserError: the names are those of other experiments.
    """
    known, recorded = families(), recorded or recorded_in(NAMES)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)) as api:
        opened = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        workflow = opened._workflow  # the only way to the jobs; the version is pinned
        flow = workflow.globals["P"]
        if check:
            check_known(flow, recorded)
        opened.dag(DAGSettings(targets=set(targets_of(flow, recorded)), forceall=True))
        stages = Graph(workflow).stages(known)
        made = {file for stage in stages for file in stage.files}
        members: dict[str, Any] = {name: {} for name in ("source", *known)}
        members["source"] = sources_of(flow, stages, made)
        for stage in stages:
            members[stage.family.name][stage.key] = stage.item(made)
        text = written(recorded, members)
        current = NAMES.exists() and NAMES.read_text(encoding="utf8") == text
        if not check:
            artifacts.write_text(NAMES, text)
        elif not current:
            what = "other experiments or files than those of params.yaml"
            raise UserError(what, NAMES, "run `bridgepipe record`, then go on")
        write_closures(flow, stages, made)
    if not check:
        print(*told(recorded, current), sep="\n", file=sys.stderr)


def told(recorded: list[str], current: bool) -> list[str]:
    """What was recorded, and what to commit: DVC compares later runs with the names that git knows.

    Args:
        current: whether the names were the same before.
    """
    named = "all experiments" if ALL in recorded else ", ".join(recorded[:SHOWN])
    more = f" and {len(recorded) - SHOWN} more" if len(recorded) > SHOWN and ALL not in recorded else ""
    if current:
        return [f"record: {NAMES} is as it was, the stages of {named}{more}"]
    inputs = " ".join(path for path in INPUTS if Path(path).exists())
    return [
        f"record: {NAMES} has the stages of {named}{more} now",
        f'next: git add {inputs} && git commit -m "Experiments"',
        'next: dvc repro && git add dvc.lock results && git commit -m "Results"',
    ]


def write_closures(flow: Any, stages: list[Stage], made: set[str]) -> None:
    shutil.rmtree(PLAN, ignore_errors=True)
    digests = closure.Digests(Path(pipeline.DIGESTS))
    for stage in stages:
        artifacts.write_json(stage.closure, stage.content(made, digests))
    for number in range(max(stage.family.reads for stage in stages)):
        artifacts.write_json(f"{EMPTY}/{number}.json", None)
    artifacts.write_json(pipeline.STAMP, flow.stamp())


def list_source(path: str, output: Path) -> None:
    """Tell what a source holds."""
    artifacts.write_json(output, listing.listed([path], {}).summary)


def locked(what: str) -> list[str]:
    """Stages, or files of the workflow, that dvc.lock holds."""
    stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf8"))["stages"]
    if what == "stages":
        return list(stages)
    outs = [Path(out["path"]) for stage in stages.values() for out in stage.get("outs", [])]
    files = [file for out in outs for file in (sorted(out.rglob("*")) if out.is_dir() else [out])]
    kept = [file for file in files if not file.is_relative_to(PLAN) and not file.is_relative_to(SOURCES)]
    return [str(file) for file in kept if file.suffix in (".lmdb", ".png") or file in outs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*")
    parser.add_argument("--check", action="store_true", help="stop when the names are others")
    parser.add_argument("--source", nargs=2, help="list a source: its path, and the file to write")
    parser.add_argument("--recorded", choices=["stages", "files"], help="print what dvc.lock holds")
    given = parser.parse_args()
    try:
        if given.source:
            list_source(given.source[0], Path(given.source[1]))
        elif given.recorded:
            print("\n".join(locked(given.recorded)))
        else:
            plan(given.experiments, given.check)
    except UserError as error:
        print(f"bridgepipe: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
