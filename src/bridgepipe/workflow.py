"""What the Snakefile asks: validated parameters, files of the stages, names of results.

Runs every time that the workflow is read, so it imports nothing heavy.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bridgepipe import artifacts, config, params
from bridgepipe.config_errors import nearest
from bridgepipe.errors import UserError

METRICS = ("fid", "accuracy", "restoration")
FIGURES = ("grid", "path", "loss")


class Pipeline:
    """The workflow's view of the parameters."""

    def __init__(self, resolved: config.Resolved) -> None:
        self._resolved = resolved
        self.datasets = resolved.params.datasets
        self.extractors = resolved.params.extractors
        self.runtime = resolved.params.runtime
        self.methods = sorted({name.split("/")[0] for name in resolved.experiments})
        self.all_names = sorted({name.split("/")[1] for name in resolved.experiments})

    def names(self, method: str) -> list[str]:
        return self._resolved.names(method)

    def experiment(self, name: str) -> Any:
        return self._resolved.experiment(name)

    def one_of(self, names: Iterable[str]) -> str:
        """Pattern of a wildcard that matches exactly these names."""
        return "|".join(re.escape(name) for name in names) or "(?!)"

    def with_stores(self, *stores: str) -> list[str]:
        """Datasets that are prepared as exactly these stores."""
        return [name for name, d in self.datasets.items() if params.stores_of(d) == stores]

    def trained(self) -> list[str]:
        """Names of the experiments that are trained here, not imported."""
        return [n.split("/")[1] for n, e in self._resolved.experiments.items() if e.train.published is None]

    def imported(self) -> list[str]:
        return sorted(set(self.all_names) - set(self.trained()))

    # names of files

    def published_files(self) -> dict[str, str]:
        """Names of the published files of sources.yaml by their path under data/."""
        sources = yaml.safe_load(Path(__file__).with_name("sources.yaml").read_text(encoding="utf8"))
        return {source["path"]: name for name, source in sources.items()}

    def published_weights(self, name: str) -> str:
        """Folder or file of the published weights that an experiment imports."""
        source = self.experiment(name).train.published
        paths = {n: path for path, n in self.published_files().items()}
        if source not in paths:
            where = f"params.yaml: experiments.{name.replace('/', '.')}.train.published"
            _stop(UserError(f"unknown source '{source}'", where, nearest(source, paths)))
        return f"data/{paths[source]}"

    def start_files(self, name: str) -> list[str]:
        """What training starts from besides the data: published weights, published masks."""
        e = self.experiment(name)
        freeform = e.corruption == "mixture" or e.corruption.startswith("inpaint-freeform")
        return [f for f in (e.train.init, e.mask_file if freeform else None) if f is not None]

    def mask_files(self, name: str) -> list[str]:
        e = self.experiment(name)
        return [f for f in self.start_files(name) if f == e.mask_file]

    def code(self, *files: str) -> list[str]:
        """Source files whose edit makes a cheap result stale."""
        return [f"src/bridgepipe/{file}" for file in files]

    def train_store(self, name: str) -> str:
        return f"data/prepared/{self.experiment(name).dataset}/train.lmdb"

    def sources(self, name: str, split: str | None = None) -> list[str]:
        """Store of the source images of a paired experiment; [] for the others."""
        e = self.experiment(name)
        if not params.is_paired(self.datasets[e.dataset]):
            return []
        dataset, split = (e.dataset, split) if split else (e.sampled, e.sample.split)
        return [f"data/prepared/{dataset}/{split}-source.lmdb"]

    def extractor_config(self, extractor: str) -> str:
        return f"data/checkpoints/{extractor}.json"

    def metric_files(self, *names: str) -> list[str]:
        return [f"results/{name}/{metric}.json" for name in names for metric in METRICS]

    def experiments(self, method: str) -> list[str]:
        return [f"{method}/{name}" for name in self.names(method)]

    def store(self, name: str) -> str:
        """Store that an experiment restores."""
        e = self.experiment(name)
        return f"data/prepared/{e.sampled}/{e.sample.split}.lmdb"

    def extractor_file(self, extractor: str) -> str:
        """Weights of a feature extractor: trained here or published."""
        kind = self.extractors[extractor].kind
        return (
            f"data/checkpoints/{extractor}.safetensors"
            if kind == "classifier"
            else f"data/checkpoints/{kind}.pth"
        )

    def statistics(self, name: str) -> str:
        """Reference statistics of an experiment's FID."""
        e = self.experiment(name)
        return f"data/stats/{e.dataset}/{e.evaluate.reference}-{e.evaluate.extractor}.safetensors"

    def partitions(self, name: str, kind: str) -> list[str]:
        n = self.runtime.partitions
        return [f"results/{name}/parts/{kind}-{k}-of-{n}.lmdb" for k in range(n)]

    def results(self, *names: str) -> list[str]:
        """Metrics and figures of experiments (all of them by default)."""
        files = [
            *(f"{m}.json" for m in METRICS),
            *(f"figures/{f}.png" for f in FIGURES),
            "table.csv",
            "table.md",
        ]
        found = [f"results/{n}/{f}" for n in names or self._resolved.experiments for f in files]
        without_loss = {
            f"results/{n}/figures/loss.png" for n in self._resolved.experiments if self._imports(n)
        }
        return [f for f in found if f not in without_loss]

    def _imports(self, name: str) -> bool:
        return self.experiment(name).train.published is not None

    def tables(self) -> list[str]:
        found = [f"results/{m}/table.{ext}" for m in self.methods for ext in ("csv", "md")]
        return found + (["results/i2sb/nfe.md", "results/i2sb/nfe.png"] if self.studies() else [])

    def studies(self) -> list[str]:
        """Studies of samplers against network calls, one for every experiment that has one."""
        found = [n for n, e in self._resolved.experiments.items() if e.study is not None]
        return [f"results/{n}/nfe.csv" for n in found]

    # checks that must stop even a dry run

    def source_of(self, dataset: str) -> list[str]:
        """Files that a dataset is made from; [] when it is embedded.

        Stops the run when they are missing.
        """
        entry = self.datasets[dataset]
        wanted = params.paths_of(entry)
        for path in wanted:
            if not Path(path).exists():
                _stop(
                    UserError(
                        f"dataset '{dataset}' is missing", path, _how_to_get(dataset, entry.source, path)
                    )
                )
        return wanted

    def work_alone(self) -> None:
        """Stop when another run is at work in this folder. A killed run leaves no lock behind."""
        self._lock = ExitStack()  # held until this process ends
        try:
            self._lock.enter_context(artifacts.exclusive(".snakemake/bridgepipe.lock"))
        except UserError as e:
            _stop(e)

    def check_targets(self, targets: Iterable[str]) -> None:
        """Stop on a target that names an unknown experiment, with the nearest valid name."""
        for target in targets:
            match = re.match(r"results/([^/]+/[^/]+)/", target)
            if match and match[1].split("/")[1] not in ("config",):
                try:
                    self.experiment(match[1])
                except UserError as e:
                    _stop(e)


def open_params(values: Mapping[str, Any], files: Sequence[Any]) -> Pipeline:
    """Validate the configuration and bring the file of every stage up to date.

    Prints one line and exits with code 2 when the configuration is wrong.
    """
    try:
        resolved = config.Resolved(values, str(files[0]) if files else "params.yaml")
        for path, content in resolved.stage_files().items():
            _write_if_changed(Path(path), content)
    except UserError as e:
        _stop(e)
    pipeline = Pipeline(resolved)
    pipeline.check_targets(a for a in sys.argv[1:] if a.startswith("results/"))
    return pipeline


def _write_if_changed(path: Path, content: Any) -> None:
    # by value: a comment, the order of keys or a new file time must re-run nothing
    if not path.exists() or _value(path) != artifacts.canonical(content):
        artifacts.write_json(path, content)


def _value(path: Path) -> str | None:
    try:
        return artifacts.canonical(artifacts.read_json(path))
    except UserError:
        return None


def _how_to_get(name: str, source: str, path: str) -> str:
    if source == "imagenet":
        return (
            f"put the ImageNet folders train/ and val/ (one sub-folder per class) into {path},"
            f" or correct datasets.{name}, or use scale: demo"
        )
    return "put the images there, or correct the dataset's path in params.yaml"


def _stop(error: UserError) -> NoReturn:
    print(f"bridgepipe: {error}", file=sys.stderr, flush=True)
    raise SystemExit(2)
