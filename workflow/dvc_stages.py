"""Writes dvc.yaml: the jobs of the workflow, as few stages as give exact caching.

``--check`` compares instead, ``--recorded`` prints what dvc.lock holds. Files, rules and experiments
come from the workflow itself, so that nothing is listed twice.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

from bridgepipe import artifacts, closure, listing
from bridgepipe import workflow as pipeline
from bridgepipe.config import PLAN

HEAD = """\
# Written by `make dvc.yaml` from params.yaml and the workflow: don't edit. docs/engines-dvc.md explains it.
"""
RUN = "PYTHONPATH=src"
SRC = "src/bridgepipe"
# numbers, recorded in git
METRICS = {f"{name}.json" for names in pipeline.METRICS.values() for name in names}
METRICS |= {name for names in pipeline.POINTS.values() for name in names if name.endswith(".json")}
PLOTS = {
    "train.csv": ("step", "loss"),
    "nfe.csv": ("nfe", "FID"),
    "mixing.csv": ("t", "gap"),
    "edit.csv": ("distance", "flipped"),
}
Job = Any


def jobs_of_workflow() -> tuple[list[Job], dict[Job, list[Job]]]:
    """Every job of `snakemake --forceall`, and what it depends on."""
    quiet = OutputSettings(quiet={Quietness.ALL})
    with SnakemakeApi(quiet) as api:
        opened = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        opened.dag(DAGSettings(targets={"all"}, forceall=True))
        workflow = opened._workflow  # the only way to the jobs; the version is pinned
        workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        jobs = [job for job in workflow.dag.toposorted() for job in sorted(job, key=outputs)]
        jobs = [job for job in jobs if job.output]
        return jobs, {job: list(workflow.dag.dependencies[job]) for job in jobs}


def outputs(job: Job) -> list[str]:
    return [str(file) for file in job.output]


def stage_of(job: Job) -> str:
    """Name of the stage of a job: jobs with the same name make one stage."""
    home = home_of(job)
    name = home if home else "-".join(map(str, job.wildcards))
    return f"{kind_of(job, home)}-{re.sub('[^a-zA-Z0-9_-]', '-', name)}"


def home_of(job: Job) -> str | None:
    """The experiment, or for tables the method, whose folder a job writes into."""
    found = re.match(r"results/(.+?)/([^/]+|(figures|latents|parts)/[^/]+)$", outputs(job)[0])
    return found[1] if found else None


def kind_of(job: Job, home: str | None) -> str:
    """Data, train, evaluate, report; all else, which may take long, by its rule."""
    if job.rule.name.startswith("prepare"):
        return "data"
    if any(file.endswith("/model.safetensors") for file in outputs(job)):
        return "train"
    if "experiment" not in job.wildcards_dict and home and "name" not in job.wildcards_dict:
        return "report"
    reads = {Path(file).stem for file in job.input if re.match(rf"results/{home}/config/", str(file))}
    shows = all(file.endswith((".png", ".md")) for file in outputs(job)) and "train" in reads
    return "evaluate" if home and (shows or reads <= {"evaluate"}) else job.rule.name


def grouped(jobs: list[Job], needs: dict[Job, list[Job]]) -> dict[str, list[Job]]:
    """Jobs by stage. A job that reads temporary files belongs to the stage that makes them."""
    names: dict[Job, str] = {}
    for job in jobs:
        makers = [maker for maker in needs[job] if set(map(str, job.input)) & temporary(maker)]
        names[job] = names[makers[0]] if makers else stage_of(job)
    stages = defaultdict(list)
    for job in jobs:
        stages[names[job]].append(job)
    return stages


def temporary(job: Job) -> set[str]:
    return {str(file) for file in job.output if file.is_flagged("temp")}


def stage(name: str, jobs: list[Job]) -> dict[str, Any]:
    """Command, dependencies and outputs of a stage."""
    made = list(dict.fromkeys(file for job in jobs for file in outputs(job) if file not in temporary(job)))
    inner = {file for job in jobs for file in outputs(job)}
    read = {dep for job in jobs for file in job.input for dep in read_for(str(file))} - inner
    rules = " ".join(sorted({job.rule.name for job in jobs}))
    told: dict[str, Any] = {
        "cmd": f"{RUN} snakemake --quiet rules --allowed-rules {rules} -- {' '.join(made)}",
        "deps": sorted(read | code_of(jobs)),
    }
    metrics = [file for file in made if Path(file).name in METRICS]
    plots = [file for file in made if Path(file).name in PLOTS]
    told["outs"] = [kept(file) for file in made if file not in (*metrics, *plots)]
    told["metrics"] = [{file: {"cache": False}} for file in metrics]
    told["plots"] = [{file: dict(zip("xy", PLOTS[Path(file).name], strict=True))} for file in plots]
    return {key: value for key, value in told.items() if value}


def kept(file: str) -> str | dict[str, Any]:
    """What was fetched has a digest of its own and is not kept twice."""
    return {file: {"cache": False}} if Path(file).suffix in (".pt", ".pth", ".zip", ".gz") else file


def read_for(file: str) -> list[str]:
    """What DVC reads for an input: it lists the files of a source itself, and digests them."""
    if file.startswith((pipeline.SEEN, pipeline.CODE)):
        return []  # the file that it lists is an input, too; so is the code
    listed = re.fullmatch(rf"data/prepared/(.+)/{listing.SUMMARY}", file)
    return artifacts.read_json(file)["paths"] if listed else [planned(file)]


def planned(file: str) -> str:
    """Configurations are read as the stage `plan` wrote them, before the workflow does."""
    config = re.match(
        r"results/.+/config/\w+\.json$|data/(prepared/.+/config|checkpoints/[^/]+)\.json$", file
    )
    return f"{PLAN}/{file}" if config else file


def code_of(jobs: list[Job]) -> set[str]:
    """Source files whose edit makes a stage stale: those that its verbs can run."""
    verbs = {closure.verb_of(job.rule.shellcmd) or "" for job in jobs}
    files = closure.files(*map(closure.function_of, verbs), without=closure.MACHINERY)
    return {f"{SRC}/{file.relative_to(closure.ROOT)}" for file in files} | {
        str(Path(job.rule.snakefile).relative_to(Path.cwd())) for job in jobs
    }


def written() -> str:
    """Content of dvc.yaml."""
    plan = {
        "cmd": [f"{RUN} bridgepipe plan", f"{RUN} python workflow/dvc_stages.py --check"],
        "params": [{"params.yaml": None}],
        "deps": [f"{SRC}/cli/plan.py", f"{SRC}/config", f"{SRC}/workflow.py", "workflow"],
        "outs": [PLAN],
    }
    groups = grouped(*jobs_of_workflow())
    stages = {"plan": plan} | {name: stage(name, groups[name]) for name in sorted(groups)}
    content = {"params": ["params.yaml"], "stages": stages}
    return HEAD + yaml.safe_dump(content, sort_keys=False, width=110, default_flow_style=None)


def recorded(what: str) -> list[str]:
    """Stages, or files of the workflow, that dvc.lock holds."""
    stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf8"))["stages"]
    made = [out["path"] for stage in stages.values() for out in stage.get("outs", [])]
    return list(stages) if what == "stages" else [file for file in made if file != PLAN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="stop when dvc.yaml is not what would be written"
    )
    parser.add_argument("--recorded", choices=["stages", "files"])
    given = parser.parse_args()
    if given.recorded:
        print("\n".join(recorded(given.recorded)))
    elif not given.check:
        Path("dvc.yaml").write_text(written(), encoding="utf8")
    elif Path("dvc.yaml").read_text(encoding="utf8") != written():
        sys.exit("dvc.yaml has other experiments or files than params.yaml: run `make dvc.yaml`, then go on")


if __name__ == "__main__":
    main()
