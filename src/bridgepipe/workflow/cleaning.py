"""What can be removed because the workflow can make it again from what is here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bridgepipe import artifacts, workflow
from bridgepipe import config as configuration
from bridgepipe.config import asked, outcomes
from bridgepipe.data import listing
from bridgepipe.errors import UserError
from bridgepipe.runtime import locks, provenance

REPORTS = ("report.html", "report.zip")
LISTING = "workflow/made.py"  # prints what the rules make
WRITTEN = ""  # in place of a rule: files that no rule names
PLAN = Path(configuration.PLAN)
Makers = list[tuple[str, re.Pattern[str]]]


def clean(params: Path, dry_run: bool = False) -> None:
    """Remove what the workflow can make again from what is here, and say what is left.

    Args:
        params: file of the parameters.
        dry_run: whether the files are only named that would be removed.
    """
    resolved = configuration.load(params)
    if dry_run:
        for path in [*removable(resolved, _makers(params)), *_others()]:
            print(f"would remove: {path}")
        return
    with artifacts.exclusive(locks.LOCK):
        Path(workflow.PLANNED).unlink(missing_ok=True)  # params.yaml counts, not what the last run was given
        for path in removable(resolved, _makers(params)):
            path.unlink()
            _remove_empty(path.parent)
        for path in _others():
            _remove(path)
    for path in (Path("data"), Path("results")):
        for left in _left(path):
            print(f"left: {left} ({_size(left):.1f} MB)")


def removable(resolved: configuration.Resolved, makers: Makers) -> list[Path]:
    """Files that rules make from data, code and parameters that are all here.

    What stays keeps what it was made from, or the next run would find it out of date and make it again.
    """
    found = {path: _result_of(path) for path in _files(makers)}
    makeable = _Makeable(resolved, makers)
    made = {result for result in found.values() if makeable.maker(result) is not None}
    stay = {result for result in made if not makeable.again(result)}
    frontier = stay
    while frontier:
        frontier = {other for result in frontier for other in _made_with(result)} & made - stay
        stay |= frontier
    return [path for path, result in found.items() if result in made - stay]


@dataclass
class _Makeable:
    """What can be made again, by the parameters and by what lies here."""

    resolved: configuration.Resolved
    makers: Makers

    @cached_property
    def _workflow(self) -> workflow.Pipeline:
        return workflow.Pipeline(self.resolved, plans=False)

    @cached_property
    def _written(self) -> set[Path]:
        """Files that are written beside what rules make: whatever was made with them and stays needs them."""
        stages = set(map(Path, (*self.resolved.stage_files(), *self.resolved.asked_files())))
        beside = (listing.SUMMARY, asked.COUNTS)
        of_splits = {path.parent / split / listing.SUMMARY for path in stages for split in ("train", "val")}
        return stages | of_splits | {path.with_name(name) for path in stages for name in beside}

    @cached_property
    def _named(self) -> set[Path]:
        """Files that params.yaml names as what something is made from."""
        files = [f for full in self.resolved.experiments for f in self._workflow.sources.own_files(full)]
        data = [path for d in self.resolved.params.datasets.values() for path in configuration.paths_of(d)]
        return {Path(path).resolve() for path in (*files, *data)}

    def maker(self, path: Path) -> tuple[str, Mapping[str, str]] | None:
        """Rule and wildcards that make a file; None when nothing does."""
        if path in self._written:
            return WRITTEN, {}
        for rule, pattern in self.makers:
            if match := pattern.match(path.as_posix()):
                return rule, match.groupdict()
        return None

    def again(self, path: Path) -> bool:
        """Whether a file that a rule makes can be made again."""
        rule, wildcards = self.maker(path) or (WRITTEN, {})
        if rule == WRITTEN:
            return True
        if path.resolve() in self._named:
            return False
        full = next((n for n in self.resolved.experiments if _is_of(path, n)), None)
        if full is None:
            name = wildcards.get("experiment", wildcards.get("name"))
            together = {*self.resolved.methods, *self.resolved.groups, None}
            beside = [n for n in self.resolved.experiments if Path("results", n).parent == path.parent]
            names = self.resolved.groups.get(name or "", beside)
            # else it is of an experiment that is no more
            return name in together and all(map(self.experiment, names)) and self._from(wildcards)
        left: dict[str, Callable[[str, Path], bool]] = {"train": _resumable, "checkpoint": _is_kept}
        return self.experiment(full) and (rule not in left or left[rule](full, path))

    def experiment(self, full: str) -> bool:
        """Whether the data and files that an experiment, or a model that it names, is made from are here."""
        e = self.resolved.experiments[full]
        files = self._workflow.sources.named_files(full).values()
        return all(map(listing.is_there, files)) and all(
            self.experiment(f"{section}/{name}")
            if f"{section}/{name}" in self.resolved.experiments
            else self._from({section.removesuffix("s"): name})
            for section, name in e.references().values()
        )

    def _from(self, wildcards: Mapping[str, str]) -> bool:
        """Whether the dataset and the extractor are here, or what they are made from."""
        files: list[str] = []
        if dataset := wildcards.get("dataset"):
            files += configuration.paths_of(self.resolved.params.datasets[dataset])
        if name := wildcards.get("extractor"):
            extractor = self.resolved.params.extractors[name]
            if extractor.dataset is not None:
                return self._from({"dataset": extractor.dataset}) and self._from({"dataset": dataset or ""})
            files.append(self.resolved.defined.weights(name))
        return all(map(listing.is_there, files))


def _is_of(path: Path, full: str) -> bool:
    """Whether a file is a result of an experiment."""
    return path.is_relative_to(f"results/{full}") or path == Path(outcomes.NUMBERS, f"{full}.json")


def _is_kept(full: str, path: Path) -> bool:
    """Whether a training has left a checkpoint, or validations, of this name."""
    return any(Path("results", full, "train").glob(f"kept-*/{path.stem}.*"))


def _resumable(full: str, path: Path) -> bool:
    """Whether the state of a training is left, from which its weights come at once."""
    from bridgepipe.training import state as training_state

    states = training_state.saved(Path("results", full, "train"))
    return any(s.path.name == training_state.FILE and not s.other_version for s in states)


def _makers(params: Path) -> Makers:
    """Rules, and patterns of the files that they make, from the workflow itself."""
    roots = (Path(), Path(__file__).parents[3])
    script = next((root / LISTING for root in roots if (root / LISTING).exists()), None)
    if script is None:
        raise UserError("no workflow here", Path.cwd(), "run it in the folder of a project")
    done = subprocess.run([sys.executable, script, params], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the workflow cannot be read: {reason}", "Snakefile", "mend what the message says")
    return [(rule, re.compile(pattern)) for rule, pattern in json.loads(done.stdout)]


def _files(makers: Makers) -> Iterator[Path]:
    """Files of the folders that rules write into; what links to other folders lead to is not looked at."""
    fixed = {Path(pattern.pattern.partition("(?P<")[0].rpartition("/")[0]) for _, pattern in makers}
    roots = [root for root in fixed if not any(other in root.parents for other in fixed)]
    for root in sorted(roots):
        for folder, _, names in os.walk(root):
            yield from (Path(folder, name) for name in sorted(names))


def _result_of(path: Path) -> Path:
    """The result that a file belongs to, when it is a record of it, or unfinished batches."""
    if path.parent.name == provenance.FOLDER:
        return path.parent.parent / path.name.removesuffix(".json")
    if path.name == listing.KNOWN:
        return path.with_name(listing.SUMMARY)
    unfinished = re.fullmatch(r"\.(.+)\.(partial|notes|lock)", path.name)
    return path.with_name(unfinished[1]) if unfinished else path


def _made_with(result: Path) -> Iterator[Path]:
    """What a result was made from and together with, by its record."""
    with suppress(UserError, KeyError, TypeError):  # none, or of an older version
        record = artifacts.read_json(provenance.record_of(result))
        yield from map(Path, [*record["inputs"], *record["outputs"]])


def _others() -> list[Path]:
    """What is removed besides results: reports, plans and memories."""
    return [path for path in (*map(Path, REPORTS), PLAN, *_memory()) if path.exists() or path.is_symlink()]


def _memory() -> Iterator[Path]:
    """What Snakemake remembers of runs, but the lock that this command holds."""
    yield from (path for path in Path(".snakemake").glob("*") if path != Path(locks.LOCK))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    """Remove folders that are empty now, and folders of parts in them that were so before."""
    with suppress(OSError):  # of a folder that is not empty, or a link
        for path in (*folder.glob("parts"), folder):
            path.rmdir()
        if folder.parent.name:
            _remove_empty(folder.parent)


def _left(folder: Path) -> Iterator[Path]:
    """The uppermost folders and files that hold anything."""
    for path in sorted(folder.glob("*/*")) if folder.is_dir() else []:
        if any(f.is_file() for f in [path, *path.rglob("*")]):
            yield path


def _size(path: Path) -> float:
    return sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file()) / 1e6
