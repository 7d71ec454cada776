"""Prints the jobs that targets take, as JSON, for `bridgepipe plan`: what each makes, needs and computes.

What a person has yet to put there is noted beside the jobs, and stops nothing.

The arguments are targets as Snakemake takes them, or experiments, of which all results are meant.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from snakemake.api import SnakemakeApi
from snakemake.exceptions import MissingRuleException, WorkflowError
from snakemake.settings.enums import RerunTrigger
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

from bridgepipe import config
from bridgepipe.config.recipe import MODEL
from bridgepipe.errors import UserError
from bridgepipe.runtime.jobs import BAD_INPUT
from bridgepipe.runtime.work import Net, Work
from bridgepipe.workflow.pipeline import experiment_of
from bridgepipe.workflow.resources import Takes, TakesStatistics

TRAINING = "train"
PROFILE = Path("profiles/default/config.yaml")
LMDB = 1.1  # what a store takes for a byte of its images
PART = re.compile(r"-\d+-of-(\d+)\.lmdb$")
FLOATS = ("latents", "states")  # stores of float32


def work_of(job: Any, pipeline: Any) -> Work:
    """What a job computes with networks."""
    if job.rule.name == TRAINING:
        return pipeline.durations.work(job.wildcards.name, TRAINING)
    runtime = job.rule.resources.get("runtime")
    takes = None if runtime is None else runtime._value  # the only way to it; the version is pinned
    return takes.work(job.wildcards) if isinstance(takes, Takes | TakesStatistics) else Work()


def named_by(file: str, pipeline: Any) -> str | None:
    """The experiment that a file is a result of; None of other files, and of several pairs together."""
    name = experiment_of(file)
    return name if name in pipeline.resolved.experiments else None


def system_of(file: str) -> str:
    """The method of the experiment that a file is a result of, without its kind: ``ddib``; else ``data``."""
    return (experiment_of(file) or "data").partition("/")[0]


def extracts(job: Any, pipeline: Any) -> str | None:
    """The kind of the extractor whose features a job takes; None where it takes none."""
    name = named_by(str(job.output[0]), pipeline)
    experiment = None if name is None else pipeline.experiment(name)
    named = getattr(getattr(experiment, "evaluate", None), "extractor", None)
    extractor = getattr(job.wildcards, "extractor", named)
    return None if extractor is None else pipeline.extractors[extractor].kind


def prepared(file: str, pipeline: Any) -> int:
    """Images of a store that is prepared; 0 of other files."""
    path = Path(file)
    if path.suffix != ".lmdb" or path.parts[:2] != ("data", "prepared"):
        return 0
    return pipeline.durations.images(path.parts[2], path.stem.removesuffix("-source"))


def stored(file: str, pipeline: Any) -> float:
    """Bytes of a store of images, or of a part of one, as far as settings tell; 0 of other files."""
    part = PART.search(file)
    if part:
        return stored(PART.sub(".lmdb", file), pipeline) / int(part[1])
    path = Path(file)
    if path.suffix != ".lmdb":
        return 0
    if images := prepared(file, pipeline):
        return LMDB * images * pixels(pipeline.datasets[path.parts[2]])
    if (name := named_by(file, pipeline)) is None:
        return 0
    experiment = pipeline.experiment(name)
    models = getattr(experiment, "models", ()) or [f"model/{getattr(experiment, 'model', '')}"]
    dataset = getattr(experiment, "dataset", None) or pipeline.experiment(models[0]).dataset
    deep = 4 if any(word in file for word in FLOATS) else 1
    return LMDB * deep * pipeline.durations.results(name) * pixels(pipeline.datasets[dataset])


def pixels(dataset: Any) -> int:
    """Bytes of an image."""
    return 3 * math.prod(config.size_of(dataset) or (0,))


def batch_of(job: Any, output: str, pipeline: Any) -> int:
    """Images that a network is called with at a time."""
    if job.rule.name == TRAINING:
        batch = pipeline.experiment(job.wildcards.name).train.batch_size
        return min(batch, pipeline.runtime.microbatch or batch)
    name = named_by(output, pipeline)
    made = 0 if name is None else pipeline.durations.results(name)
    part = math.ceil(made / pipeline.runtime.partitions)
    return min(pipeline.runtime.batch_size, part) if made else pipeline.runtime.batch_size


def net_as_json(net: Net) -> dict[str, Any]:
    network = {"kind": getattr(net.network, "kind", None) or "adm", **net.network.arguments}
    return {"network": network, "size": net.size, "inputs": net.inputs, "outputs": net.outputs}


def described(job: Any, number: dict[Any, int], needs: Iterable[Any], pipeline: Any) -> dict[str, Any]:
    """A job as JSON."""
    work, outputs = work_of(job, pipeline), [str(file) for file in job.output]
    return {
        "rule": job.rule.name,
        "system": system_of(outputs[0]),
        "outputs": outputs,
        "benchmark": None if job.benchmark is None else str(job.benchmark),
        "needs": [number[other] for other in needs if other in number],
        "calls": [[net_as_json(net), count] for net, count in work.calls.items()],
        "features": work.features,
        "extractor": extracts(job, pipeline),
        "on_h100": work.on_h100,
        "trains": job.rule.name == TRAINING,
        "processes": pipeline.runtime.processes if "gpu" in job.rule.resources else 1,
        "batch": batch_of(job, outputs[0], pipeline),
        "prepared": sum(prepared(file, pipeline) for file in outputs),
        "bytes": sum(stored(file, pipeline) for file in outputs),
    }


def files_of(targets: list[str], pipeline: Any) -> Iterator[str]:
    """Targets as Snakemake takes them."""
    for target in targets:
        method = target.rpartition("/")[0]
        yield from results_of(target, pipeline) if method in config.METHODS else [target]


def results_of(name: str, pipeline: Any) -> list[str]:
    """What an experiment ends in: its results, the table of its pairs, or the weights of a mere network.

    Raises:
        UserError: there is no such experiment.
    """
    if name in pipeline.resolved.groups:
        return [f"results/{name}/table.md"]
    pipeline.experiment(name)
    return pipeline.outcomes.results(name) or [f"results/{name}/{MODEL}"]


def triggers() -> frozenset[RerunTrigger]:
    """What makes a job run again, as every `snakemake` here has it."""
    named = yaml.safe_load(PROFILE.read_text(encoding="utf8"))["rerun-triggers"]
    return frozenset(RerunTrigger.parse_choices_set(named))


def main() -> None:
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)) as api:
        opened = api.workflow(ResourceSettings(cores=1), snakefile=Path("Snakefile"))
        workflow = opened._workflow  # the only way to the jobs; the version is pinned
        pipeline = workflow.globals["P"]
        pipeline.sources.missing = []
        targets = set(files_of(sys.argv[1:], pipeline))
        opened.dag(DAGSettings(targets=targets, rerun_triggers=triggers()))
        workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        dag = workflow.dag
        levels = (sorted(level, key=lambda job: str(job.output)) for level in dag.toposorted())
        jobs = [job for level in levels for job in level if job.output]
        number, waiting = {job: n for n, job in enumerate(jobs)}, set(dag.needrun_jobs())
        found = [
            {**described(job, number, dag.dependencies[job], pipeline), "waits": job in waiting}
            for job in jobs
        ]
    print(json.dumps({"jobs": found, "missing": sorted(pipeline.sources.missing)}))


if __name__ == "__main__":
    try:
        main()
    except MissingRuleException as error:
        print(
            f"bridgepipe: {str(error).partition(' (')[0]}: name a result, a rule or an experiment",
            file=sys.stderr,
        )
        sys.exit(BAD_INPUT)
    except (UserError, WorkflowError) as error:
        print(f"bridgepipe: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
