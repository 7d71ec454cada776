"""params.yaml resolved: merging, checking, and what each stage reads.

With the models in the files beside it this is the only truth about the
configuration. The JSON schema that editors use is generated from them, the
workflow validates through them, and the file of each stage holds exactly the
values that the stage reads, so an edit re-runs those stages and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

from bridgepipe.config import including
from bridgepipe.config.asked import FILE, Asked
from bridgepipe.config.checked import Checked
from bridgepipe.config.contents import paths_of
from bridgepipe.config.defined import Defined
from bridgepipe.config.errors import nearest
from bridgepipe.config.values import Strict
from bridgepipe.errors import UserError
from bridgepipe.names import Json, seeds

PLAN = "results/plan"
RUNTIME = "results/config/runtime.json"


class Resolved(Checked):
    """Validated parameters, and what follows from them: experiments, what stages read, files of stages."""

    def experiment(self, name: str) -> Any:
        """The merged experiment ``method/name``.

        Raises:
            UserError: there is no such experiment.
        """
        if name not in self.experiments:
            raise UserError(f"unknown experiment '{name}'", self.places.file, nearest(name, self.experiments))
        return self.experiments[name]

    def matching(self, *asked: str) -> list[str]:
        """Experiments that are asked for by their names, with their repeats, or by their methods; none: all.

        Raises:
            UserError: no experiment is called so, or begins so.
        """
        for name in asked:
            if not any(f"{full}/".startswith(f"{name}/") for full in self.experiments):
                known = [*self.methods, *self.experiments]
                raise UserError(f"no method or experiment '{name}'", self.places.file, nearest(name, known))
        return [
            full
            for full in self.experiments
            if not asked
            or any(f"{one}/".startswith(f"{name}/") for name in asked for one in (full, seeds.repeated(full)))
        ]

    def sources_in_use(self) -> list[Strict]:
        """Datasets that the experiments name."""
        named = [r for e in self.experiments.values() for r in e.references().values()]
        return [self.params.datasets[n] for n in sorted({n for kind, n in named if kind == "datasets"})]

    def names(self, method: str) -> list[str]:
        """Names of the experiments of a method."""
        return [name for full in self.experiments for m, name in [full.rsplit("/", 1)] if m == method]

    @property
    def groups(self) -> dict[str, list[str]]:
        """Names of the experiments that each group of the scale in use stands for, by the group's name."""
        found = {name: [one for one in of if one in self.experiments] for name, of in self._groups.items()}
        return {name: of for name, of in found.items() if of}

    @property
    def methods(self) -> list[str]:
        """Methods with experiments."""
        return sorted({name.rsplit("/", 1)[0] for name in self.experiments})

    def of(self, method: str) -> list[str]:
        """Experiments ``method/name`` of a method."""
        return [f"{method}/{name}" for name in self.names(method)]

    def stages(self, name: str) -> dict[str, Json]:
        """What each stage of an experiment reads: ``{"train": …, "sample": …, "evaluate": …}``."""
        return {stage: read.as_json() for stage, read in self.experiment(name).stages().items()}

    def asked(self, full: str) -> list[Asked]:
        """What an experiment needs of datasets whose content is known only once they are prepared."""
        found = []
        for key, of, split, count, label in self.experiment(full).asks():
            dataset = self.experiments[of].dataset if of in self.experiments else of
            if count is not None and paths_of(self.params.datasets[dataset]):  # others are known
                # without the line, which every edit above it would change
                where = f"{self.places.file}: {'.'.join(map(str, self._path(full, key)))}"
                attribute = full.startswith("boundary/")
                found.append(Asked(full, where, dataset, split, count, label, attribute))
        return found

    @property
    def defined(self) -> Defined:
        """What experiments can name at the scale in use."""
        return Defined(self.params.datasets, self.params.extractors, self.experiments)

    def files(self) -> defaultdict[str, Json]:
        """What all stages read: [stage][method][name][input], where ``ddib/sample`` are two keys.

        The input ``config`` is the stage's own configuration, where it has one and names no other.
        """
        files: defaultdict[str, Json] = defaultdict(dict)
        for full, experiment in self.experiments.items():
            *parts, name = full.split("/")
            configured = experiment.stages()
            for stage, inputs in experiment.files(f"results/{full}", self.defined).items():
                own = {"config": f"results/{full}/config/{stage}.json"} if stage in configured else {}
                known = reduce(lambda folder, part: folder.setdefault(part, {}), parts, files[stage])
                known[name] = own | inputs
        return files

    def asked_files(self) -> Json:
        """What each experiment that may ask something of data asks: path -> content."""
        asking = [name for name, experiment in self.experiments.items() if experiment.asks()]
        asked = {name: [asdict(one) for one in self.asked(name)] for name in asking}
        return {f"results/{name}/config/{FILE}": {"asked": ones} for name, ones in asked.items()}

    def stage_files(self) -> Json:
        """Every configuration file that the workflow depends on: path -> content."""
        files: Json = {}
        for name, dataset in self.params.datasets.items():
            files[f"data/prepared/{name}/config.json"] = dataset.model_dump(mode="json")
        for name, extractor in self.params.extractors.items():
            files[f"data/checkpoints/{name}.json"] = extractor.model_dump(mode="json")
        for name in self.experiments:
            for stage, content in self.stages(name).items():
                files[f"results/{name}/config/{stage}.json"] = content
        files[RUNTIME] = self.params.runtime.model_dump(mode="json")
        return files


def read_yaml(path: str | Path) -> Json:
    """Content of a params file, as `including.read` reads it."""
    return including.read(path).values


def load(path: str | Path = "params.yaml") -> Resolved:
    """Read, merge and validate a params file.

    Raises:
        UserError: as `including.read` and `Resolved` say.
    """
    document = including.read(path)
    return Resolved(document.values, document.places)
