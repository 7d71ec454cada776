"""The verb that gives disk space back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import typer

from bridgepipe import artifacts, cluster, params
from bridgepipe import config as configuration
from bridgepipe.cli.common import File

app = typer.Typer()
REPORTS = ("report.html", "report.zip")
WHOLE = ("logs", "config", "plan", "benchmarks", "provenance")  # folders of results/ that any run makes
STATE = "train"  # folder of a training's state


@app.command()
def clean(params: File = Path("params.yaml")) -> None:
    """Remove what the workflow can make again from what is here, and say what is left.

    Downloads, own pictures and training states stay, and so does whatever was made from data that is gone or
    by an experiment that params.yaml no longer has at this scale.
    """
    resolved = configuration.load(params)
    with artifacts.exclusive(cluster.LOCK):
        for path in [*removable(resolved), *map(Path, REPORTS), *_memory()]:
            _remove(path)
    for path in (Path("data"), Path("results")):
        for left in _left(path):
            print(f"left: {left} ({_size(left):.1f} MB)")


def removable(resolved: configuration.Resolved) -> Iterator[Path]:
    """Files and folders that are made from data, code and parameters that are all here."""
    for name, dataset in resolved.params.datasets.items():
        if _here(dataset):
            yield from (Path(f"data/{folder}/{name}") for folder in ("prepared", "points", "stats"))
    for name, extractor in resolved.params.extractors.items():
        if extractor.dataset is not None and _here(resolved.params.datasets[extractor.dataset]):
            yield from Path("data/checkpoints").glob(f"{name}.json")
            yield from Path("data/checkpoints").glob(f"{name}.safetensors")
    yield from (Path("results") / folder for folder in WHOLE)
    for full in resolved.experiments:
        if all(_here(resolved.params.datasets[name]) for name in datasets_of(full, resolved)):
            yield from _of_experiment(Path("results") / full)
            yield from (f for f in (Path("results") / full).parent.glob("*") if f.is_file())


def datasets_of(full: str, resolved: configuration.Resolved) -> set[str]:
    """Names of the datasets that an experiment reads, by itself or through the models that it names."""
    found: set[str] = set()
    for section, name in resolved.experiments[full].references().values():
        if section == "datasets":
            found.add(name)
        elif f"{section}/{name}" in resolved.experiments:
            found |= datasets_of(f"{section}/{name}", resolved)
    return found


def _here(dataset: params.Strict) -> bool:
    return all(Path(path).exists() for path in params.paths_of(dataset))


def _of_experiment(folder: Path) -> Iterator[Path]:
    """Everything but a training's state, and the weights where no state is left to make them from."""
    resumable = (folder / STATE / "state.safetensors").exists()
    for path in folder.glob("*"):
        weights = path.name == "model.safetensors"
        if path.name != STATE and (resumable or not weights):
            yield path


def _memory() -> Iterator[Path]:
    """What Snakemake remembers of runs, but the lock that this command holds."""
    yield from (path for path in Path(".snakemake").glob("*") if path != Path(cluster.LOCK))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _left(folder: Path) -> Iterator[Path]:
    """The uppermost folders and files that hold anything; empty folders are removed."""
    for path in sorted(folder.glob("*/*")) if folder.is_dir() else []:
        if any(f.is_file() for f in [path, *path.rglob("*")]):
            yield path
        else:
            shutil.rmtree(path)


def _size(path: Path) -> float:
    return sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file()) / 1e6
