"""What the Snakefile asks: validated parameters, files of the stages, names of results.

Runs every time that the workflow is read, so it imports nothing heavy.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, reduce
from pathlib import Path
from typing import Any, NoReturn

import yaml

from bridgepipe import artifacts, closure, cluster, config, listing, locks
from bridgepipe.config import asked, yaml_reader
from bridgepipe.config.errors import nearest
from bridgepipe.duration import Durations
from bridgepipe.errors import UserError

# what the run that is at work was planned with; its jobs read it in place of params.yaml
PLANNED = ".snakemake/bridgepipe.params.json"
SEEN = "results/config/seen"  # listings of single files that a person names or that were fetched
NUMBERS = "results/metrics"  # the numbers of every experiment alone, for DVC
DIGESTS = ".snakemake/bridgepipe.code.json"  # digests of the code of verbs
STAMP = f"{config.PLAN}/made-from.json"
WRITING = ".snakemake/bridgepipe.writing.lock"  # held while the files of the stages are written
AT_WORK = (
    "another run is at work here, so this one is planned with the parameters of that run;"
    " edits of params.yaml since then count when it is done"
)
# Verbs that no edit of code runs again: Snakemake would remove the weights, and training itself asks what an
# edit means for its state; a download is what others published.
KEEPS = (None, "stage train", "fetch")


class Pipeline:
    """The workflow's view of the parameters."""

    def __init__(self, resolved: config.Resolved, plans: bool = True) -> None:
        """
        Args:
            resolved: the parameters.
            plans: whether this process plans jobs and may write what they read; a job may not.
        """
        self._resolved = resolved
        self.plans = plans
        self._listed: set[str] = set()  # by this process
        self._checked: set[str] = set()  # experiments, by what they ask
        self._digests = closure.Digests(Path(DIGESTS))
        self.files = resolved.files()
        self.defined = resolved.defined
        self.datasets = resolved.params.datasets
        self.extractors = resolved.params.extractors
        self.runtime = resolved.params.runtime
        self.durations = Durations(self.experiment, self.datasets, self.runtime)
        self.methods = sorted({name.rsplit("/", 1)[0] for name in resolved.experiments})
        self.all_experiments = sorted(resolved.experiments)
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
        return [name for name, d in self.datasets.items() if config.stores_of(d) == stores]

    def point_sets(self) -> list[str]:
        """Datasets of points."""
        return [name for name, d in self.datasets.items() if config.is_points(d)]

    def trained(self) -> list[str]:
        """Experiments ``method/name`` with a network that is trained here."""
        found = self._resolved.experiments.items()
        return [n for n, e in found if hasattr(e, "train") and e.train.published is None]

    def imported(self) -> list[str]:
        """Experiments ``method/name`` with published weights."""
        found = self._resolved.experiments.items()
        return [n for n, e in found if hasattr(e, "train") and e.train.published is not None]

    @property
    def gpus(self) -> int:
        """GPUs of a job that calls a network; 0 where the networks are to run on CPUs."""
        return 0 if self.runtime.device == "cpu" else self.runtime.processes

    # names of files

    def published_files(self, folders: bool | None = None) -> dict[str, str]:
        """Names of the published files of sources.yaml by their path under data/.

        Args:
            folders: True: those that are folders; False: those that are single files; None: all.
        """
        return {
            s["path"]: name for name, s in _published_sources().items() if folders in (None, "folder" in s)
        }

    def published_weights(self, name: str) -> str:
        """Folder or file of the published weights that an experiment imports."""
        source = self.experiment(name).train.published
        paths = {n: path for path, n in self.published_files().items()}
        if source not in paths:
            where = self._resolved.at(name, "train.published")
            _stop(UserError(f"unknown source '{source}'", where, nearest(source, paths)))
        return f"data/{paths[source]}"

    def start_files(self, name: str) -> list[str]:
        """What training starts from besides the data: published weights, published masks."""
        return self.watched(*self._named_files(name).values())

    def mask_files(self, name: str) -> list[str]:
        return self.watched(*(file for key, file in self._named_files(name).items() if key == "mask_file"))

    def _named_files(self, name: str) -> dict[str, str]:
        """Key -> file that an experiment names. Stops the run when one is missing and cannot be made."""
        e = self.experiment(name)
        named = e.named_files() if isinstance(e, config.I2SB) else {}
        for key, file in named.items():
            if not self._can_be_had(file):
                mend = "put it there, or correct the path; `bridgepipe fetch` lists what can be downloaded"
                _stop(UserError(f"no such file: {file}", self._resolved.at(name, key), mend))
        return named

    def _can_be_had(self, path: str) -> bool:
        """Whether a named file is there, or a rule fetches or makes it.

        A finished result must not stand on an input that is gone: Snakemake would call it up to date.
        """
        made = {f"results/{name}/model.safetensors" for name in (*self.trained(), *self.imported())}
        return self._is_fetched(path) or os.path.normpath(path) in made or listing.is_there(path)

    def watched(self, *files: str) -> list[str]:
        """Files that a person names or that were fetched, and a listing of each that is there.

        A file that is replaced by an older one has another content, but no newer time.
        """
        made = {f"results/{name}/model.safetensors" for name in (*self.trained(), *self.imported())}
        return [*files, *(s for f in files if os.path.normpath(f) not in made for s in self._seen(f))]

    def _seen(self, path: str) -> list[str]:
        """Listing of one file or folder, brought up to date. A first one is as old as what it lists."""
        name = re.sub("[^a-zA-Z0-9_.-]", "-", path)
        file = Path(f"{SEEN}/{name}-{artifacts.digest_of(path)[:8]}/{listing.SUMMARY}")
        if path not in self._listed and self.plans and listing.is_there(path):
            first = not file.exists()
            self._list(file, [path])
            if first:
                as_old = Path(path).stat().st_mtime_ns
                os.utime(file, ns=(as_old, as_old))
            self._listed.add(path)
        return [str(file)] if file.exists() else []

    def data_config(self, name: str) -> str:
        """Configuration of the dataset of a model."""
        return f"data/prepared/{self.experiment(name).dataset}/config.json"

    def on_points(self, name: str) -> bool:
        return config.is_points(self.datasets[self.experiment(name).dataset])

    def threads(self, name: str) -> int:
        """CPU threads of a training. Two networks of points beside each other are twice as fast as one
        on two cores, which its matrices are too small for."""
        return 1 if self.on_points(name) else self.runtime.threads

    def imported_points(self) -> list[str]:
        """Experiments ``method/name`` with published weights of a domain of the plane."""
        return [n for n in self.imported() if n.startswith("ddib/sample/")]

    def first_metrics(self, method: str) -> list[str]:
        """The first file of numbers of every experiment of a method."""
        metric = config.METHODS[method].results.metrics[0]
        return [f"results/{name}/{metric}.json" for name in self.experiments(method)]

    def pictures(self, *names: str) -> list[str]:
        """Pictures of colour transfers, both ways: ``china-as-flower``."""
        found = []
        for name in names or self.experiments("ddib/color"):
            if name.startswith("ddib/color/"):
                e = self.experiment(name)
                clouds = [self.experiment(f"ddib/cloud/{end}").dataset for end in (e.source, e.target)]
                a, b = (Path(self.datasets[cloud].image).stem for cloud in clouds)
                found += [f"{a}-as-{b}", f"{b}-as-{a}"]
        return sorted(set(found))

    def size(self, name: str) -> int | None:
        """Size of an experiment's images, when they are square."""
        size = getattr(self.datasets[self.experiment(name).dataset], "size", None)
        return size if isinstance(size, int) else None

    def numbers(self, name: str) -> str:
        """File with the numbers of an experiment alone, for DVC."""
        return f"{NUMBERS}/{name}.json"

    def without_table(self) -> list[str]:
        """Experiments with metrics and no table of their own."""
        ends = {name: _results(name) for name in self._resolved.experiments}
        return [name for name, end in ends.items() if end.metrics and not end.own_table]

    def metric_files(self, *names: str) -> list[str]:
        return [
            f"results/{name}/{metric}.json"
            for name in names
            for metric in _results(name).metrics
            if metric != "accuracy" or self._has_accuracy(name)
        ]

    def _has_accuracy(self, name: str) -> bool:
        """Whether images are classified: a boundary's accuracy is that of its latents."""
        e = self._resolved.experiments.get(name)  # the rule `demo` names one that need not be there
        return e is None or name.startswith("boundary/") or e.evaluate.classifier is not None

    def classifier(self, name: str) -> dict[str, str]:
        """Weights and configuration of the classifier of an experiment's images.

        Stops the run when there is none.
        """
        known = self.experiment(name).evaluate.classifier
        if known is None:
            where = self._resolved.at(name, "evaluate.classifier")
            what = f"{name} has no accuracy, because its classifier is null"
            _stop(UserError(what, where, "name a classifier, or leave this file out"))
        return self.defined.extractor(known)

    def experiments(self, method: str) -> list[str]:
        return [f"{method}/{name}" for name in self.names(method)]

    def results(self, *names: str) -> list[str]:
        """Metrics, figures and tables of experiments, of all when none is named."""
        found = names or self._resolved.experiments
        return [file for name in found for file in self._results(name)]

    def _results(self, name: str) -> list[str]:
        ends = _results(name)
        figures = [f for f in ends.figures if f != "loss" or name in self.trained()]
        return [
            *self.metric_files(name),
            *(f"results/{name}/figures/{figure}.png" for figure in figures),
            *(f"results/{name}/{picture}.png" for picture in self.pictures(name)),
            *(f"results/{name}/table.{ext}" for ext in ("csv", "md") if ends.own_table),
            *([self.numbers(name)] if ends.metrics and not ends.own_table else []),
        ]

    def tables(self) -> list[str]:
        """Tables of every method, and of its studies."""
        found = [
            f"results/{method}/{table}.{ext}"
            for method in self.methods
            for table in config.METHODS[method].results.tables
            for ext in ("csv", "md")
        ]
        studied = [method for method in self.methods if self.studies(method)]
        return found + [f"results/{method}/nfe.{ext}" for method in studied for ext in ("md", "png")]

    def studies(self, method: str) -> list[str]:
        """Studies of samplers against network calls, one for every experiment that has one."""
        return [f"results/{name}/nfe.csv" for name in self._studied(method)]

    def about_studies(self, method: str) -> str:
        """What the curves of a method's studies come from, for their caption."""
        return "; ".join(self._about_study(name) for name in self._studied(method))

    def _about_study(self, name: str) -> str:
        e = self.experiment(name)
        train = (e if hasattr(e, "train") else self.experiment(f"model/{e.model}")).train
        network = (
            f"network trained with seed {train.seed}" if train.published is None else "published network"
        )
        data = f"{e.corruption}, " if hasattr(e, "corruption") else ""
        return f"{name}: {data}{e.studied or 'all'} images a point, noise of seed {e.sample.seed}, {network}"

    def _studied(self, method: str) -> list[str]:
        if "study" not in config.METHODS[method].model_fields:
            return []
        return [name for name in self.experiments(method) if self.experiment(name).study is not None]

    # checks that must stop even a dry run

    def source_of(self, dataset: str) -> list[str]:
        """Published archives that a dataset is made from; [] when it is made from none.

        Stops the run when anything that it is made from is missing and cannot be fetched.
        """
        entry = self.datasets[dataset]
        wanted = config.paths_of(entry)
        for path in wanted:
            if not self._can_be_had(path):
                key = next((k for k in ("subset", "image") if getattr(entry, k, None) == path), "path")
                mend = _how_to_get(f"datasets.{dataset}.{key}", entry.source, path)
                what = (
                    "an empty folder, as that of a disk that is not mounted"
                    if os.path.isdir(path)
                    else "missing"
                )
                _stop(UserError(f"dataset '{dataset}' is {what}", path, mend))
        return self.watched(*(path for path in wanted if self._is_fetched(path)))

    def listing_of(self, dataset: str) -> list[str]:
        """Listing of the files and folders that a dataset is made from, brought up to date.

        Snakemake itself would see the time of the top folder only. [] when nothing of a person's is read.
        """
        self.source_of(dataset)
        paths = [
            p for p in config.read_of(self.datasets[dataset]) if not self._is_fetched(p) and Path(p).exists()
        ]
        if not paths:
            return []
        file = Path(f"data/prepared/{dataset}/{listing.SUMMARY}")
        if dataset not in self._listed and (self.plans or not file.exists()):
            self._refuse_itself(dataset, paths)
            self._list(file, paths)
            self._listed.add(dataset)
        return [str(file)]

    def check_asked(self, name: str) -> None:
        """Stop the run when an experiment asks for what its data, prepared as they are, don't have."""
        if self.plans and name not in self._checked:
            self._checked.add(name)
            try:
                for one in self._resolved.asked(name):
                    if self._is_prepared(one.dataset):
                        asked.compare(one, artifacts.read_object(one.counts))
            except UserError as e:
                _stop(e)

    def _is_prepared(self, dataset: str) -> bool:
        """Whether the counts of a dataset are those of its stores as they will be used."""
        self.listing_of(dataset)
        folder = Path(f"data/prepared/{dataset}")
        counted = _time(folder / asked.COUNTS)
        return all(_time(folder / name) <= counted for name in ("config.json", listing.SUMMARY))

    def _list(self, file: Path, paths: Sequence[str]) -> None:
        """Write the listing of files and folders where it has changed."""
        try:
            known = listing.known_of(file)
            now = listing.listed(paths, known)
        except UserError as e:
            _stop(e)
        if now.known != known:
            artifacts.keep_json(file.with_name(listing.KNOWN), now.known)
        artifacts.keep_json(file, now.summary)

    def _refuse_itself(self, dataset: str, paths: Sequence[str]) -> None:
        """A folder that holds what is prepared from it would change by being read."""
        stores = Path("data/prepared").resolve()
        for path in paths:
            if stores.is_relative_to(Path(path).resolve()):
                mend = "give a folder that holds the images alone"
                _stop(UserError(f"dataset '{dataset}' is a folder with {stores} in it", path, mend))

    def _is_fetched(self, path: str) -> bool:
        return os.path.normpath(path) in {f"data/{file}" for file in self.published_files()}

    def work_alone(self) -> None:
        """Stop when another run is at work in this folder. A killed run leaves no lock behind."""
        lock = ExitStack()
        atexit.register(lock.close)
        try:
            killed = lock.enter_context(artifacts.exclusive(locks.LOCK))
            with artifacts.exclusive(WRITING, wait=True):
                self._write()  # once more: another run may have read another params.yaml meanwhile
                self._withdraw_plan()
            cluster.cancel_orphans(Path(), killed)
        except UserError as e:
            _stop(e)

    def stamp(self) -> dict[str, str]:
        """What the plan of DVC's stages follows from: parameters, sources and code."""
        files = {**self._resolved.stage_files(), **self._resolved.asked_files()}
        files = {path: content for path, content in files.items() if path != config.RUNTIME}
        listings = [Path(f"data/prepared/{name}/{listing.SUMMARY}") for name in self.datasets]
        listings += Path(SEEN).glob(f"*/{listing.SUMMARY}")
        sources = {str(file): artifacts.digest_file(file) for file in listings if file.is_file()}
        code = closure.source_digest(*closure.everything())
        told = {"configuration": files, "sources": sources}
        return {**{key: artifacts.digest_of(value) for key, value in told.items()}, "code": code}

    def _withdraw_plan(self) -> None:
        """Remove the plan of DVC's stages when it is of other parameters, sources or code.

        Else `dvc commit` would record what this run makes as made from them.
        """
        stamp = Path(STAMP)
        if stamp.parent.is_dir() and (not stamp.is_file() or artifacts.read_json(stamp) != self.stamp()):
            shutil.rmtree(stamp.parent)

    def _write(self) -> None:
        files = {**self._resolved.stage_files(), **self._resolved.asked_files()}
        for path, content in {**files, PLANNED: self._resolved.values}.items():
            artifacts.keep_json(path, content)

    def write_unless_at_work(self) -> bool:
        """Bring the file of every stage up to date, unless a run is at work here: its jobs read them."""
        with artifacts.exclusive(WRITING, wait=True):
            free = locks.held(locks.LOCK) is None
            if free:
                self._write()
            return free

    def limit_gpus(self, workflow: Any) -> None:
        """Let jobs of this machine share its GPUs one after another; a cluster has a scheduler for that."""
        here = self.plans and workflow.resource_settings.nodes is None
        if here and workflow.global_resources.get("gpu") is None:
            workflow.register_resource("gpu", max(cluster.gpus_here(), self.gpus, 1))

    def notice_inputs(self, rules: Iterable[Any]) -> None:
        """Make it a trigger which code a rule runs, which files it reads, and in which places.

        Snakemake's own trigger `input` compares sorted lists, so it misses two files that change places,
        and it would sample again when ``runtime.partitions`` changes.
        """
        for rule in rules:
            if rule.output:
                rule.set_params(reads=_reading(rule))
                if {"name", "experiment"} & set(rule.wildcard_names):
                    rule.set_input(asked=self._asking(rule))  # no file: a check of every experiment at work
                verb = closure.verb_of(rule.shellcmd or "")
                if verb not in KEEPS and rule.input:
                    rule.set_params(code=self._code(verb))

    def _code(self, verb: str) -> Callable[[Any], str]:
        """Digest of the code of a verb, when a job asks for it."""
        return lambda wildcards: self._digests.of(verb)

    def _asking(self, rule: Any) -> Callable[[Any], list[str]]:
        """Check what the experiment of a job asks; names no file."""

        def asking(wildcards: Any) -> list[str]:
            if name := self._experiment_of(str(rule.output[0].apply_wildcards(wildcards))):
                self.check_asked(name)
            return []

        return asking

    def _experiment_of(self, path: str) -> str | None:
        """The experiment ``method/name`` that a result is of, there or not; None for other files."""
        methods = "|".join(sorted(map(re.escape, self.methods), key=len, reverse=True))
        match = re.match(rf"results/((?:{methods})/[^/]+)/", path)
        return match and match[1]

    def check_targets(self, targets: Iterable[str]) -> None:
        """Stop on a target that names an unknown experiment, with the nearest valid name."""
        for target in targets:
            if name := self._experiment_of(target):
                try:
                    self.experiment(name)
                except UserError as e:
                    _stop(e)


def _results(name: str) -> config.Results:
    return config.METHODS[name.rsplit("/", 1)[0]].results


@cache
def _published_sources() -> dict[str, dict[str, Any]]:
    return yaml.load(Path(__file__).with_name("sources.yaml").read_bytes(), yaml_reader.LOADER)


def params_files(settings: Any) -> list[Path]:
    """What the configuration is read from: params.yaml and, laid over it, the files of ``--configfile``.

    Args:
        settings: ``workflow.config_settings`` of Snakemake.
    """
    default = [] if settings.replace_workflow_config else [Path("params.yaml")]
    return default + [_from_here(file) for file in settings.configfiles]


def open_params(values: Mapping[str, Any], files: Sequence[str | Path], plans: bool = True) -> Pipeline:
    """Validate the configuration and bring the file of every stage up to date.

    Prints one line and exits with code 2 when the configuration is wrong. A job, and a dry run
    beside a run, take the configuration which that run was planned with, and write nothing.

    Args:
        values: those of ``--config``, laid over the files.
        files: YAML files, each laid over the one before.
        plans: whether this is the process that plans jobs, and not one of its jobs.
    """
    # Slurm's warning before a time limit reaches every process of a job; only what saves knows what to do
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        if plans:
            cluster.check_profiles(sys.argv[1:])
        pipeline = _planned() if not plans and Path(PLANNED).exists() else _read(values, files, plans)
        if plans and not pipeline.write_unless_at_work():
            print(f"bridgepipe: {AT_WORK}", file=sys.stderr, flush=True)
            pipeline = _planned()
    except UserError as e:
        _stop(e)
    pipeline.check_targets(a for a in sys.argv[1:] if a.startswith("results/"))
    return pipeline


def _read(values: Mapping[str, Any], files: Sequence[str | Path], plans: bool) -> Pipeline:
    layers = [yaml_reader.read(file) for file in files] + [yaml_reader.given(values)]
    document = reduce(lambda below, above: above.over(below), layers)
    return Pipeline(config.Resolved(document.values, document.places), plans)


def _planned() -> Pipeline:
    """As the run that is at work here, or was last, was planned."""
    values = artifacts.read_json(PLANNED)
    return Pipeline(config.Resolved(values), plans=False)


def _from_here(file: Path) -> Path:
    """Snakemake makes paths absolute; a person reads what was typed."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def _reading(rule: Any) -> Callable[[Any], str]:
    """What a rule reads, in the order of its inputs; how sampling is divided changes no result."""

    def reads(wildcards: Any) -> str:
        named = rule.expand_input(wildcards)[0]
        return repr([str(file) for file in named if "/parts/" not in str(file)])

    return reads


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _how_to_get(key: str, source: str, path: str) -> str:
    if source == "imagenet" and key.endswith("path"):
        return (
            f"put the ImageNet folders train/ and val/ (one sub-folder per class) into {path},"
            f" or correct {key}, or use scale: demo"
        )
    return f"put it there, or correct {key}"


def _stop(error: UserError) -> NoReturn:
    print(f"bridgepipe: {error}", file=sys.stderr, flush=True)
    raise SystemExit(2)
