"""Files of a person, and files that are fetched, as inputs of rules: they have to be there, and are listed.

Whatever is missing stops even a dry run: Snakemake takes a missing input without a rule for no input. Only
`bridgepipe plan` goes on without it, as what a run costs is asked before the data are bought or copied.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from bridgepipe import artifacts, config
from bridgepipe.config import asked, yaml_reader
from bridgepipe.data import listing
from bridgepipe.downloads.whole import check_weights
from bridgepipe.errors import UserError, stop
from bridgepipe.names import Json, origins

SEEN = "results/config/seen"  # listings of single files that a person names or that were fetched
FILE = Path(__file__).parents[1] / "downloads/sources.yaml"


class Sources:
    """What the rules read that no rule makes from data."""

    def __init__(self, resolved: config.Resolved, plans: bool) -> None:
        """
        Args:
            resolved: parameters, as they are resolved.
            plans: whether listings may be written.
        """
        self._resolved = resolved
        self._plans = plans
        self._listed: set[str] = set()  # by this process
        self._checked: set[str] = set()  # experiments, by what they ask
        self.missing: list[str] | None = (
            None  # where a list, what is missing is noted in it, and stops nothing
        )
        names = (*resolved.defined.trained(), *resolved.defined.imported())
        self._made = {f"results/{name}/model.safetensors" for name in names}

    def published_files(self, folders: bool | None = None) -> dict[str, str]:
        """Names of the published files of sources.yaml by their path under data/.

        Args:
            folders: True: those that are folders; False: those that are single files; None: all.
        """
        known = {
            s["path"]: name for name, s in _published_sources().items() if folders in (None, _is_folder(s))
        }
        return known | self._repositories if folders is not False else known

    @cached_property
    def _repositories(self) -> dict[str, str]:
        """Repositories of a hub that experiments and datasets name, by their folders under data/."""
        named = [w for e in self._resolved.experiments.values() for w in _weights(e).values()]
        named += [getattr(dataset, "path", "") for dataset in self._resolved.params.datasets.values()]
        found = {text: origins.repository_of(text) for text in named}
        return {origins.folder_of(match): text for text, match in found.items() if match is not None}

    def published_weights(self, name: str) -> list[str]:
        """Folder or file of the published weights that an experiment imports; [] where it is missing."""
        return [file for key, file in self._named_files(name).items() if key == "train.published"]

    def start_files(self, name: str) -> list[str]:
        """What an experiment names and reads besides the data: weights, published masks."""
        return self.watched(*self._named_files(name).values())

    def mask_files(self, name: str) -> list[str]:
        return self.watched(*(file for key, file in self._named_files(name).items() if key == "mask_file"))

    def named_files(self, name: str) -> dict[str, str]:
        """Key -> file or folder that an experiment names."""
        e, sources = self._resolved.experiment(name), {n: s["path"] for n, s in _published_sources().items()}
        weights = {key: str(origins.place_of(text, sources)) for key, text in _weights(e).items()}
        return weights | (e.named_files() if isinstance(e, config.I2SB) else {})

    def own_files(self, name: str) -> list[str]:
        """Files that an experiment names and that no rule makes or imports."""
        named = self.named_files(name).items()
        return [file for key, file in named if key != "train.published" and file not in self._made]

    def _named_files(self, name: str) -> dict[str, str]:
        """`named_files` that can be had. Stops the run, or notes it, when one cannot."""
        named = self.named_files(name)
        for key, file in named.items():
            if not self._can_be_had(file):
                mend = "put it there, or correct the path; `bridgepipe fetch` lists what can be downloaded"
                self._miss(UserError(f"no such file: {file}", self._resolved.at(name, key), mend))
            elif key.startswith("train.") and os.path.normpath(file) not in self._made:
                self._refuse_parts(file)
        return {key: file for key, file in named.items() if self._can_be_had(file)}

    def _refuse_parts(self, file: str) -> None:
        """Stop the run, or note it, when a part of weights is missing that a job would read hours later."""
        try:
            check_weights(Path(file))
        except UserError as e:
            self._miss(e)

    def _miss(self, error: UserError) -> None:
        if self.missing is None:
            stop(error)
        if str(error) not in self.missing:
            self.missing.append(str(error))

    def _can_be_had(self, path: str) -> bool:
        """Whether a named file is there, or a rule fetches or makes it.

        A finished result must not stand on an input that is gone: Snakemake would call it up to date.
        """
        return self._is_fetched(path) or os.path.normpath(path) in self._made or listing.is_there(path)

    def watched(self, *files: str) -> list[str]:
        """Files that a person names or that were fetched, and a listing of each that is there.

        A file that is replaced by an older one has another content, but no newer time.
        """
        return [*files, *(s for f in files if os.path.normpath(f) not in self._made for s in self._seen(f))]

    def _seen(self, path: str) -> list[str]:
        """Listing of one file or folder, brought up to date. A first one is as old as what it lists."""
        name = re.sub("[^a-zA-Z0-9_.-]", "-", path)
        file = Path(f"{SEEN}/{name}-{artifacts.digest_of(path)[:8]}/{listing.SUMMARY}")
        if path not in self._listed and self._plans and listing.is_there(path):
            first = not file.exists()
            self._list(file, [path])
            if first:
                as_old = Path(path).stat().st_mtime_ns
                os.utime(file, ns=(as_old, as_old))
            self._listed.add(path)
        return [str(file)] if file.exists() else []

    def source_of(self, dataset: str) -> list[str]:
        """Published archives that a dataset is made from; [] when it is made from none.

        Stops the run, or notes it, when anything that it is made from is missing and cannot be fetched.
        """
        entry = self._resolved.params.datasets[dataset]
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
                self._miss(UserError(f"dataset '{dataset}' is {what}", path, mend))
        return self.watched(*(path for path in wanted if self._is_fetched(path)))

    def listing_of(self, dataset: str, split: str | None = None) -> list[str]:
        """Listing of the files and folders that a dataset or its split is made from, brought up to date.

        Snakemake itself would see the time of the top folder only. [] when nothing of a person's is read.
        """
        self.source_of(dataset)
        entry: Any = self._resolved.params.datasets[dataset]
        wanted = config.read_of(entry, split)
        paths = [p for p in wanted if not self._is_fetched(p) and Path(p).exists()]
        if split is not None and wanted[0] not in paths and listing.is_there(entry.path):
            mend = _how_to_get(f"datasets.{dataset}.path", entry.source, entry.path)
            self._miss(UserError(f"dataset '{dataset}' has no {split} images", wanted[0], mend))
        if not paths:
            return []
        file = Path("data/prepared", dataset, split or "", listing.SUMMARY)
        if str(file) not in self._listed and (self._plans or not file.exists()):
            self._refuse_itself(dataset, paths)
            first = split is not None and not file.exists()
            newest = self._list(file, paths)
            if first:  # a store that older versions made stays current
                os.utime(file, ns=(newest, newest))
            self._listed.add(str(file))
        return [str(file)]

    def listings(self) -> list[Path]:
        """Listings that are there: of datasets, of their splits, and of single files."""
        of = [f"data/prepared/{name}" for name in self._resolved.params.datasets]
        known = [Path(folder, part, listing.SUMMARY) for folder in of for part in ("", "train", "val")]
        return [*filter(Path.is_file, known), *Path(SEEN).glob(f"*/{listing.SUMMARY}")]

    def check_asked(self, name: str) -> None:
        """Stop the run when an experiment asks for more than its prepared data hold."""
        if self._plans and name not in self._checked:
            self._checked.add(name)
            try:
                for one in self._resolved.asked(name):
                    if self._is_prepared(one.dataset, one.split):
                        asked.compare(one, artifacts.read_object(one.counts))
            except UserError as e:
                stop(e)

    def _is_prepared(self, dataset: str, split: str) -> bool:
        """Whether the counts of a split are those of its store as it will be used."""
        folder = Path(f"data/prepared/{dataset}")
        apart = config.comes_apart(self._resolved.params.datasets[dataset])
        if apart and not (folder / f"{split}.lmdb").exists():
            return False
        read = self.listing_of(dataset, split if apart else None)
        counted = _time(folder / asked.COUNTS)
        return all(_time(Path(file)) <= counted for file in [str(folder / "config.json"), *read])

    def _list(self, file: Path, paths: Sequence[str]) -> int:
        """Write the listing of files where it has changed; returns the time of the newest file."""
        try:
            known = listing.known_of(file)
            now = listing.listed(paths, known)
        except UserError as e:
            stop(e)
        if now.known != known:
            artifacts.keep_json(file.with_name(listing.KNOWN), now.known)
        artifacts.keep_json(file, now.summary)
        return max((times[1] for times in now.known.values()), default=0)

    def _refuse_itself(self, dataset: str, paths: Sequence[str]) -> None:
        """A folder that holds what is prepared from it would change by being read."""
        stores = Path("data/prepared").resolve()
        for path in paths:
            if stores.is_relative_to(Path(path).resolve()):
                mend = "give a folder that holds the images alone"
                stop(UserError(f"dataset '{dataset}' is a folder with {stores} in it", path, mend))

    def _is_fetched(self, path: str) -> bool:
        return os.path.normpath(path) in {f"data/{file}" for file in self.published_files()}


def _weights(experiment: Any) -> dict[str, str]:
    """Key -> weights that an experiment names."""
    sections = (getattr(experiment, name, None) for name in ("train", "evaluate"))
    return {key: text for one in sections for key, text in getattr(one, "weights", {}).items()}


def _is_folder(source: Json) -> bool:
    return "folder" in source or "hub" in source


@cache
def _published_sources() -> dict[str, Json]:
    return yaml.load(FILE.read_bytes(), yaml_reader.LOADER)


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _how_to_get(key: str, source: str, path: str) -> str:
    if source == "imagenet" and key.endswith("path"):
        return (
            f"put the ImageNet folders train/ and val/ (one sub-folder per class) into {path},"
            f" or correct {key}, or use scale: demo"
        )
    return f"put it there, or correct {key}"
