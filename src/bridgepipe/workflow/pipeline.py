"""The workflow's view of the parameters, and the state of the runs in this folder."""

from __future__ import annotations

import atexit
import re
import shlex
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bridgepipe import artifacts, config
from bridgepipe.config.outcomes import Outcomes
from bridgepipe.errors import UserError, stop
from bridgepipe.runtime import closure, cluster, locks, slurm, source
from bridgepipe.runtime.duration import Durations
from bridgepipe.workflow.counting import Counted
from bridgepipe.workflow.resources import Resources
from bridgepipe.workflow.sources import Sources

# what the run that is at work was planned with; its jobs read it in place of params.yaml
PLANNED = ".snakemake/bridgepipe.params.json"
DIGESTS = ".snakemake/bridgepipe.code.json"  # digests of the code of verbs
STAMP = f"{config.PLAN}/made-from.json"
WRITING = ".snakemake/bridgepipe.writing.lock"  # held while the files of the stages are written
# Verbs that no edit of code runs again: Snakemake would remove the weights, and training itself asks what an
# edit means for its state; a download is what others published.
KEEPS = (None, "stage train", "fetch")
METHODS = "|".join(sorted(map(re.escape, config.METHODS), key=len, reverse=True))
RESULT = re.compile(rf"results/((?:{METHODS})/[^/]+)/")


class Pipeline:
    """What the Snakefile asks."""

    def __init__(self, resolved: config.Resolved, plans: bool = True) -> None:
        """
        Args:
            resolved: parameters, as they are resolved.
            plans: whether this process plans jobs and may write what they read; a job may not.
        """
        self.resolved = resolved
        self.plans = plans
        self.defined = resolved.defined
        self.files = resolved.files()
        self.outcomes = Outcomes(resolved)
        self.sources = Sources(resolved, plans)
        self.datasets = resolved.params.datasets
        self.extractors = resolved.params.extractors
        self.runtime = resolved.params.runtime
        counted = {name: Counted(name, dataset) for name, dataset in self.datasets.items()}
        self.durations = Durations(
            resolved.experiment, self.datasets, self.runtime, lambda name, split: counted[name].split(split)
        )
        self.asks = Resources(self.durations, self.runtime.processes, self.gpus)
        self._digests = closure.Digests(Path(DIGESTS))

    def experiment(self, name: str) -> Any:
        return self.resolved.experiment(name)

    @property
    def gpus(self) -> int:
        """GPUs of a job that calls a network; 0 where networks run on CPUs."""
        return 0 if self.runtime.device == "cpu" else self.runtime.processes

    def classifier(self, name: str) -> dict[str, str]:
        """Weights and configuration of the classifier of an experiment's images.

        Stops the run when there is none.
        """
        known = self.experiment(name).evaluate.classifier
        if known is None:
            where = self.resolved.at(name, "evaluate.classifier")
            what = f"{name} has no accuracy, because its classifier is null"
            stop(UserError(what, where, "name a classifier, or leave this file out"))
        return self.defined.extractor(known)

    def work_alone(self) -> None:
        """Stop when another run is at work in this folder. A killed run leaves no lock behind."""
        lock = ExitStack()
        atexit.register(lock.close)
        try:
            killed = lock.enter_context(artifacts.exclusive(locks.LOCK))
            with artifacts.exclusive(WRITING, wait=True):
                self._write()  # once more: another run may have read another params.yaml meanwhile
                self._withdraw_plan()
            slurm.cancel_orphans(Path(), killed)
        except UserError as e:
            stop(e)

    def stamp(self) -> dict[str, str]:
        """What the plan of DVC's stages follows from: parameters, sources and code."""
        files = {**self.resolved.stage_files(), **self.resolved.asked_files()}
        files = {path: content for path, content in files.items() if path != config.RUNTIME}
        sources = {str(file): artifacts.digest_file(file) for file in self.sources.listings()}
        code = source.source_digest(*source.everything())
        parts = {"configuration": files, "sources": sources}
        return {**{key: artifacts.digest_of(value) for key, value in parts.items()}, "code": code}

    def _withdraw_plan(self) -> None:
        """Remove the plan of DVC's stages when it is of other parameters, sources or code.

        Else `dvc commit` would record what this run makes as made from them.
        """
        stamp = Path(STAMP)
        if stamp.parent.is_dir() and (not stamp.is_file() or artifacts.read_json(stamp) != self.stamp()):
            shutil.rmtree(stamp.parent)

    def _write(self) -> None:
        files = {**self.resolved.stage_files(), **self.resolved.asked_files()}
        for path, content in {**files, PLANNED: self.resolved.values}.items():
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

    def complete_rules(self, rules: Iterable[Any]) -> None:
        """Give rules what follows from them: options, a benchmark beside the log, and triggers.

        Triggers are the code that a rule runs and the files that it reads. A mere fetch has no benchmark.
        Snakemake's own trigger `input` compares sorted lists, so it misses two files that change places,
        and it would sample again when ``runtime.partitions`` changes.
        """
        for rule in rules:
            if rule.output:
                rule.set_params(options=_options, reads=_reading(rule))
                if {"name", "experiment"} & set(rule.wildcard_names) or experiment_of(str(rule.output[0])):
                    rule.set_input(asked=self._asking(rule))  # no file: a check of every experiment at work
                if closure.verb_of(rule.shellcmd or "") not in KEEPS and rule.input:
                    rule.set_params(code=self._code(rule))
                if rule.input and rule.log and not rule.benchmark:
                    rule.benchmark_modifier = rule.log_modifier
                    rule.benchmark = _benchmark_of(str(rule.log[0]))

    def _code(self, rule: Any) -> Callable[[Any], str]:
        """Digest of the code of the verb of a rule; ``params.verb`` may depend on the job."""

        def code(wildcards: Any) -> str:
            named = rule.params.get("verb", "")
            words = named(wildcards) if callable(named) else named
            return self._digests.of(closure.verb_of(rule.shellcmd.replace("{params.verb}", words)) or words)

        return code

    def _asking(self, rule: Any) -> Callable[[Any], list[str]]:
        """Check what the experiment of a job asks; names no file."""

        def asking(wildcards: Any) -> list[str]:
            made = (experiment_of(str(file.apply_wildcards(wildcards))) for file in rule.output)
            for name in {*filter(None, made)} - {*self.resolved.groups}:
                self.sources.check_asked(name)
            return []

        return asking


def experiment_of(path: str) -> str | None:
    """The experiment ``method/name`` that a result is of, there or not; None for other files."""
    match = RESULT.match(path)
    return match and match[1]


def _benchmark_of(log: str) -> str:
    """Where the time and memory of a job are recorded: benchmarks/NAME.tsv for logs/NAME.log."""
    folder, _, name = log.rpartition("logs/")
    return f"{folder}benchmarks/{name.removesuffix('.log')}.tsv"


def _options(wildcards: Any, input: Any, output: Any) -> str:
    """Inputs and outputs of a job, those with a name, as options of its verb."""
    given = [(name, files) for name, files in (*input.items(), *output.items()) if files]
    several = ((name, [files] if isinstance(files, str) else files) for name, files in given)
    return " ".join(f"--{name.replace('_', '-')} {shlex.join(map(str, files))}" for name, files in several)


def _reading(rule: Any) -> Callable[[Any], str]:
    """What a rule reads, in the order of its inputs; how sampling is divided changes no result.

    Of wildcards alone: what takes ``input`` is no trigger to Snakemake.
    """

    def reads(wildcards: Any) -> str:
        named = rule.expand_input(wildcards)[0]
        return repr([str(file) for file in named if "/parts/" not in str(file)])

    return reads
