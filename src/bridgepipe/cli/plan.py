"""Verbs for DVC: what every stage reads and makes, one small file per stage.

A dvc.yaml can't merge scales with experiments, nor look up the dataset that an
experiment names. Its stages depend on these files instead, so an edit of
params.yaml makes those stages stale that read the edited value, and no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from bridgepipe import artifacts, params, workflow
from bridgepipe import config as configuration
from bridgepipe.cli.common import File

app = typer.Typer()
# every experiment has these files, whether its method has the stage or not
STAGES = ("train", "sample", "study", "evaluate")


@app.command("plan")
def plan_data(output: File = Path("results/plan"), params: File = Path("params.yaml")) -> None:
    """Write for every dataset its configuration, and the files of it that the experiments need."""
    resolved = configuration.load(params)
    used = {d for name in resolved.experiments for d in datasets_of(resolved, name, "evaluate")}
    for name, dataset in resolved.params.datasets.items():
        files = files_of(name, dataset) if name in used else []
        _write(output / name, dataset.model_dump(mode="json"), files)


@app.command("inputs")
def plan_experiments(output: File = Path("results/inputs"), params: File = Path("params.yaml")) -> None:
    """Write for every stage of every experiment its configuration and the digests of the data it reads."""
    resolved = configuration.load(params)
    pipeline = workflow.Pipeline(resolved)
    _write(output / "report", {"experiments": sorted(resolved.experiments)}, pipeline.tables())
    for name in resolved.experiments:
        settings = resolved.stages(name)
        for stage in sorted({*STAGES, *settings}):
            content = {"config": settings.get(stage), **_reads(resolved, pipeline, name, stage)}
            _write(output / name / stage, content, _targets(pipeline, name, stage))
        _write(output / name / "small", None, _small(pipeline, name))


@app.command("recorded")
def list_recorded(
    what: Annotated[
        str, typer.Argument(help="stages, results, or small: files made again, not kept")
    ] = "results",
    lock: File = Path("dvc.lock"),
) -> None:
    """Print what DVC has recorded here: names of its stages, or targets of the workflow."""
    stages = configuration.read_yaml(lock)["stages"]
    read = [Path(dep["path"]) for stage in stages.values() for dep in stage.get("deps", [])]
    planned = [path for path in read if path.is_relative_to("results/inputs") and path.suffix == ".json"]
    small = [path.with_name("small.targets") for path in planned if path.stem != "report"]
    small += [path.with_suffix(".targets") for path in planned if path.stem == "report"]
    lists = {"small": small, "results": [path.with_suffix(".targets") for path in planned]}
    lines = stages if what == "stages" else (t for f in lists[what] for t in f.read_text().splitlines())
    print("\n".join(dict.fromkeys(lines)))


def _write(path: Path, reads: Any, targets: list[str]) -> None:
    artifacts.write_json(path.with_name(f"{path.name}.json"), {"reads": reads, "targets": targets})
    artifacts.write_text(path.with_name(f"{path.name}.targets"), "".join(f"{t}\n" for t in targets))


def _targets(pipeline: workflow.Pipeline, name: str, stage: str) -> list[str]:
    """Files that a stage makes, where they differ between experiments."""
    if stage == "evaluate":
        return pipeline.results(name)
    if stage == "train" and name in (*pipeline.trained(), *pipeline.imported()):
        return [f"results/{name}/model.safetensors"]
    studies = pipeline.studies(name.rsplit("/", 1)[0]) if stage == "study" else []
    return [file for file in studies if file.startswith(f"results/{name}/")]


def _small(pipeline: workflow.Pipeline, name: str) -> list[str]:
    """Files between the stages that are small enough to be made again instead of kept."""
    measured = name.rsplit("/", 1)[0] in workflow.METRICS
    return pipeline.spectrum(name) + ([pipeline.statistics(name)] if measured else [])


def _reads(
    resolved: configuration.Resolved, pipeline: workflow.Pipeline, name: str, stage: str
) -> dict[str, Any]:
    """What a stage reads beside its configuration and the files that dvc.yaml names."""
    data = {d: _digests(d, resolved.params.datasets[d]) for d in datasets_of(resolved, name, stage)}
    extractors = list(_referred(resolved, name, stage, "extractors"))
    own = set(pipeline.start_files(name)) - {f"data/{path}" for path in pipeline.published_files()}
    return {
        "data": data,
        "extractors": {e: resolved.params.extractors[e].model_dump(mode="json") for e in extractors},
        "files": {file: artifacts.digest_file(file) for file in sorted(own)},
    }


def datasets_of(resolved: configuration.Resolved, name: str, stage: str) -> list[str]:
    """Datasets that a stage of an experiment reads, also through its extractors and models."""
    extractors = [resolved.params.extractors[e] for e in _referred(resolved, name, stage, "extractors")]
    models = [m for method in params.METHODS for m in _referred(resolved, name, stage, method, f"{method}/")]
    own = _referred(resolved, name, stage, "datasets")
    through = [e.dataset for e in extractors if e.dataset is not None]
    return sorted({*own, *through, *(d for m in models for d in datasets_of(resolved, m, stage))})


def _referred(
    resolved: configuration.Resolved, name: str, stage: str, section: str, prefix: str = ""
) -> Iterator[str]:
    """Names of a section that a stage uses: sampling skips the references of the evaluation."""
    later = {"train": ("sample", "evaluate"), "sample": ("evaluate",)}.get(stage, ())
    for key, (kind, referred) in resolved.experiment(name).references().items():
        if kind == section and key.split(".")[0] not in later:
            yield prefix + referred


def files_of(name: str, dataset: params.Strict) -> list[str]:
    """Files that a dataset is prepared as."""
    if params.is_points(dataset):
        return [f"data/points/{name}/{split}.safetensors" for split in params.splits_of(dataset)]
    return [f"data/prepared/{name}/{store}.lmdb" for store in params.stores_of(dataset)]


def _digests(name: str, dataset: params.Strict) -> dict[str, str]:
    from bridgepipe.store import ImageStore

    if params.is_points(dataset):
        return {file: artifacts.load_card(file)[artifacts.CONTENT] for file in files_of(name, dataset)}
    return {file: ImageStore(file).digest for file in files_of(name, dataset)}
