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

# what an experiment of a method ends in, beside the table
METRICS = {"i2sb": ("fid", "accuracy", "restoration"), "spd": ("fid",)}
FIGURES = {"i2sb": ("grid", "path", "loss"), "spd": ("grid",)}
# table of a method -> the file that every experiment with a study has
STUDIES = ("i2sb", "spd")


class Pipeline:
    """The workflow's view of the parameters."""

    def __init__(self, resolved: config.Resolved) -> None:
        self._resolved = resolved
        self.datasets = resolved.params.datasets
        self.extractors = resolved.params.extractors
        self.runtime = resolved.params.runtime
        self.methods = sorted({name.rsplit("/", 1)[0] for name in resolved.experiments})
        self.all_names = sorted({name.rsplit("/", 1)[1] for name in resolved.experiments})

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

    def point_sets(self) -> list[str]:
        """Datasets of points."""
        return [name for name, d in self.datasets.items() if params.is_points(d)]

    def trained(self) -> list[str]:
        """Experiments ``method/name`` with a network that is trained here."""
        found = self._resolved.experiments.items()
        return [n for n, e in found if hasattr(e, "train") and e.train.published is None]

    def imported(self) -> list[str]:
        """Experiments ``method/name`` with published weights."""
        found = self._resolved.experiments.items()
        return [n for n, e in found if hasattr(e, "train") and e.train.published is not None]

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
            where = f"params.yaml: experiments.{'.'.join(name.rsplit('/', 1))}.train.published"
            _stop(UserError(f"unknown source '{source}'", where, nearest(source, paths)))
        return f"data/{paths[source]}"

    def start_files(self, name: str) -> list[str]:
        """What training starts from besides the data: published weights, published masks."""
        e = self.experiment(name)
        if not isinstance(e, params.I2SB):
            return []
        freeform = e.corruption == "mixture" or e.corruption.startswith("inpaint-freeform")
        return [f for f in (e.train.init, e.mask_file if freeform else None) if f is not None]

    def mask_files(self, name: str) -> list[str]:
        e = self.experiment(name)
        return [f for f in self.start_files(name) if f == e.mask_file]

    def code(self, *files: str) -> list[str]:
        """Source files whose edit makes a cheap result stale."""
        return [f"src/bridgepipe/{file}" for file in files]

    def data(self, dataset: str, split: str) -> str:
        """Store of a split of images, or file of points."""
        if params.is_points(self.datasets[dataset]):
            return f"data/points/{dataset}/{split}.safetensors"
        return f"data/prepared/{dataset}/{split}.lmdb"

    def train_store(self, name: str) -> str:
        return self.data(self.experiment(name).dataset, "train")

    def spectrum(self, name: str) -> list[str]:
        """Spectrum of the training data, when the experiment's is fitted to it."""
        e = self.experiment(name)
        fitted = hasattr(e, "process") and e.process.fitted
        return [f"data/stats/{e.dataset}/spectrum.json"] if fitted else []

    def size(self, name: str) -> int | None:
        """Size of an experiment's images, when they are square."""
        size = getattr(self.datasets[self.experiment(name).dataset], "size", None)
        return size if isinstance(size, int) else None

    def model(self, name: str) -> dict[str, str]:
        """Weights and configuration of the model that an experiment uses."""
        folder = f"results/model/{self.experiment(name).model}"
        return {"model": f"{folder}/model.safetensors", "train": f"{folder}/config/train.json"}

    def dataset_of(self, name: str) -> str:
        """Dataset of an experiment: its own, or that of its model."""
        e = self.experiment(name)
        return e.dataset if hasattr(e, "dataset") else self.experiment(f"model/{e.model}").dataset

    def sources(self, name: str, split: str | None = None) -> list[str]:
        """Store of the source images of a paired experiment; [] for the others."""
        e = self.experiment(name)
        if not isinstance(e, params.I2SB) or not params.is_paired(self.datasets[e.dataset]):
            return []
        dataset, split = (e.dataset, split) if split else (e.sampled, e.sample.split)
        return [f"data/prepared/{dataset}/{split}-source.lmdb"]

    def extractor(self, name: str) -> str:
        """Configuration of the feature extractor of an experiment."""
        return f"data/checkpoints/{self.experiment(name).evaluate.extractor}.json"

    def extractor_weights(self, name: str) -> str:
        return self.extractor_file(self.experiment(name).evaluate.extractor)

    def extractor_config(self, extractor: str) -> str:
        return f"data/checkpoints/{extractor}.json"

    def metric_files(self, *names: str) -> list[str]:
        return [
            f"results/{name}/{metric}.json" for name in names for metric in METRICS[name.rsplit("/", 1)[0]]
        ]

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
        return f"data/stats/{self.dataset_of(name)}/{e.evaluate.reference}-{e.evaluate.extractor}.safetensors"

    def partitions(self, name: str, kind: str) -> list[str]:
        n = self.runtime.partitions
        return [f"results/{name}/parts/{kind}-{k}-of-{n}.lmdb" for k in range(n)]

    def results(self, *names: str) -> list[str]:
        """Metrics, figures and table of experiments (of all that are measured by default)."""
        measured = [n for n in names or self._resolved.experiments if n.rsplit("/", 1)[0] in METRICS]
        return [file for name in measured for file in self._results(name)]

    def _results(self, name: str) -> list[str]:
        figures = [f for f in FIGURES[name.rsplit("/", 1)[0]] if f != "loss" or name in self.trained()]
        pictures = [f"results/{name}/figures/{figure}.png" for figure in figures]
        return [
            *self.metric_files(name),
            *pictures,
            *(f"results/{name}/table.{ext}" for ext in ("csv", "md")),
        ]

    def tables(self) -> list[str]:
        measured = [m for m in self.methods if m in METRICS]
        found = [f"results/{m}/table.{ext}" for m in measured for ext in ("csv", "md")]
        return found + [f"results/{m}/nfe.{ext}" for m in STUDIES if self.studies(m) for ext in ("md", "png")]

    def studies(self, method: str) -> list[str]:
        """Studies of samplers against network calls, one for every experiment that has one."""
        names = [n for n in self.experiments(method) if self.experiment(n).study is not None]
        return [f"results/{n}/nfe.csv" for n in names]

    # checks that must stop even a dry run

    def source_of(self, dataset: str) -> list[str]:
        """Files that a dataset is made from; [] when it is embedded.

        Stops the run when they are missing and cannot be fetched.
        """
        entry = self.datasets[dataset]
        wanted = params.paths_of(entry)
        fetched = {f"data/{path}" for path in self.published_files()}
        for path in wanted:
            if path not in fetched and not Path(path).exists():
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
        methods = "|".join(sorted(map(re.escape, self.methods), key=len, reverse=True))
        for target in targets:
            match = re.match(rf"results/((?:{methods})/[^/]+)/", target)
            if match:
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
