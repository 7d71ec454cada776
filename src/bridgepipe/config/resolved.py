"""params.yaml resolved: merging, checking, and what each stage reads.

With the models in the files beside it this is the only truth about the
configuration. The JSON schema that editors use is generated from them, the
workflow validates through them, and the file of each stage holds exactly the
values that the stage reads, so an edit re-runs those stages and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import Field

from bridgepipe.config import checks, yaml_reader
from bridgepipe.config.asked import FILE, Asked
from bridgepipe.config.checks.evaluation import extractor_problems
from bridgepipe.config.contents import paths_of, splits_of
from bridgepipe.config.defined import Defined
from bridgepipe.config.errors import nearest, validated
from bridgepipe.config.methods import METHODS, Params
from bridgepipe.config.values import Distinct, Strict
from bridgepipe.config.yaml_reader import KeyPath, Places
from bridgepipe.errors import UserError

PLAN = "results/plan"
RUNTIME = "results/config/runtime.json"
ONLY = "scales"  # the one key of an experiment that is not of its method: the scales at which it exists

# files of a method, beside the folders of its experiments
TABLES = {f"{table}.{ending}" for table in ("table", "cycle", "nfe") for ending in ("csv", "md", "png")}


class Scales(Strict):
    scales: Annotated[tuple[str, ...], Distinct] = Field(
        min_length=1, description="scales at which it exists; all by default"
    )


@dataclass(frozen=True)
class Merged:
    """The experiments of a scale by ``method/name``: those that make sense by themselves, and the others."""

    fitting: dict[str, Any]
    unfit: dict[str, UserError]

    def of(self, full: str) -> Any:
        """An experiment. Raises the UserError that says why it does not fit."""
        if full in self.unfit:
            raise self.unfit[full]
        return self.fitting[full]


class Resolved:
    """Validated parameters: every experiment merged, every reference checked.

    Every key and every name is checked at all scales. What has to fit together is checked at the scale in
    use, and at those that an experiment names in ``scales``; one that names none need not fit the others.

    Args:
        values: content of params.yaml.
        places: where each value is written, or the name of the file, for messages.

    Raises:
        UserError: unknown key, wrong type, impossible value or unknown name.
    """

    def __init__(self, values: Mapping[str, Any], places: Places | str = "params.yaml") -> None:
        self.values = values
        self.places = Places.of(values, places) if isinstance(places, str) else places
        self.params = validated(Params, values, self.places)
        self._known(("scale",), self.params.scale, self.params.scales)
        for method in self.params.experiments:
            self._known(("experiments", method), method, METHODS)
        for scale, defaults in self.params.scales.items():
            for method in defaults:
                self._known(("scales", scale, method), method, METHODS)
        self._check_parts()
        for name, extractor in self.params.extractors.items():
            if extractor.dataset is not None:
                self._known(("extractors", name, "dataset"), extractor.dataset, self.params.datasets)
            for problem in extractor_problems(extractor, self.params.datasets):
                self._refuse(problem, self.places.at("extractors", name, *problem.key.split(".")))
        at = {scale: self._merged(scale) for scale in self.params.scales}
        for scale in at:
            self._check(at, scale)
        self.experiments: dict[str, Any] = at[self.params.scale].fitting

    def at(self, full: str, key: str = "", scale: str | None = None) -> str:
        """Where a key of an experiment is written, for messages: in the experiment or in its scale.

        Args:
            full: ``method/name``.
            key: key inside it, ``section.key``; empty: the experiment itself.
            scale: scale at which it is looked at; None: the one in use.
        """
        return self.places.at(*self._path(full, key, scale))

    def _path(self, full: str, key: str, scale: str | None = None) -> KeyPath:
        method, name = full.rsplit("/", 1)
        keys = key.split(".") if key else []
        own = ("experiments", method, name, *keys)
        inherited = ("scales", scale or self.params.scale, method, *keys)
        return self.places.nearest(own, inherited)

    def _check_parts(self) -> None:
        """Every section for itself, since nothing may inherit it; what it lacks is asked for once merged."""
        for scale, methods in self.params.scales.items():
            for method, defaults in methods.items():
                validated(METHODS[method], defaults, self.places, ("scales", scale, method), part=True)
        for method, experiments in self.params.experiments.items():
            for name, written in experiments.items():
                path = ("experiments", method, name)
                own = {key: value for key, value in written.items() if key != ONLY}
                validated(METHODS[method], own, self.places, path, part=True)
                self._scales_of(path, written.get(ONLY))
                if name in TABLES:
                    mend = "give the experiment another name"
                    raise UserError(f"{name} is a file beside the experiments", self.places.at(*path), mend)

    def _merged(self, scale: str) -> Merged:
        """Every experiment at one scale."""
        found = Merged({}, {})
        for method, defaults in self.params.scales[scale].items():
            for name, written in self.params.experiments.get(method, {}).items():
                path = ("experiments", method, name)
                own = {key: value for key, value in written.items() if key != ONLY}
                if scale not in self._scales_of(path, written.get(ONLY)):
                    continue
                values = merge({**defaults, **METHODS[method].named(name)}, own)
                full, inherited = f"{method}/{name}", ("scales", scale, method)
                try:
                    found.fitting[full] = validated(METHODS[method], values, self.places, path, inherited)
                except UserError as error:
                    found.unfit[full] = error
        return found

    def _scales_of(self, path: KeyPath, only: Any) -> Iterable[str]:
        """Scales at which an experiment exists: those that it names, all by default."""
        if only is None:
            return self.params.scales
        for name in validated(Scales, {ONLY: only}, self.places, path).scales:
            self._known((*path, ONLY), name, self.params.scales)
        return only

    def _check(self, at: Mapping[str, Merged], scale: str) -> None:
        """Every name that an experiment mentions is defined; one that is bound to the scale fits there."""
        for full in (*at[scale].unfit, *at[scale].fitting):
            self._check_names(full, at[scale], scale)
            try:
                if self._bound(full, scale):
                    self._check_fit(full, at[scale], scale)
            except UserError as error:
                raise self._with_scales(error, full, at, scale) from None

    def _bound(self, full: str, scale: str) -> bool:
        """Whether an experiment has to fit a scale: the one in use, or one that it names."""
        return scale == self.params.scale or ONLY in self._own(full)

    def _own(self, full: str) -> Mapping[str, Any]:
        """What is written in an experiment itself."""
        method, name = full.rsplit("/", 1)
        return self.params.experiments[method][name]

    def _check_names(self, full: str, merged: Merged, scale: str) -> None:
        """Names that are not defined; where an experiment need not fit, those of any scale are."""
        experiment = merged.fitting.get(full)
        for place, (section, used) in experiment.references().items() if experiment else ():
            self._known(self.at(full, place, scale), used, self._defined(section, full, merged, scale))

    def _check_fit(self, full: str, merged: Merged, scale: str) -> None:
        """Everything that an experiment names goes with it at a scale."""
        resolved, experiment = merged.fitting, merged.of(full)
        for section, used in experiment.references().values():
            if section in METHODS:
                merged.of(f"{section}/{used}")
        for place, (dataset, split) in experiment.splits().items():
            of = dataset or f"model/{experiment.model}"
            of = resolved[of].dataset if of in resolved else of
            self._known(self.at(full, place, scale), split, splits_of(self.params.datasets[of]))
        defined = Defined(self.params.datasets, self.params.extractors, resolved)
        for problem in checks.problems(full, experiment, self._own(full), defined):
            self._refuse(problem, self.at(full, problem.key, scale))

    def _with_scales(self, error: UserError, full: str, at: Mapping[str, Merged], scale: str) -> UserError:
        """The error, and that an experiment may be kept out of a scale, where it fits others."""
        if ONLY in self._own(full):
            return error
        fits = [other for other in at if other != scale and self._fits(full, at[other], other)]
        mend = f"{error.mend}; or keep {full} out of this scale: scales: [{', '.join(fits)}]"
        return UserError(error.what, error.where, mend) if fits else error

    def _fits(self, full: str, merged: Merged, scale: str) -> bool:
        try:
            self._check_fit(full, merged, scale)
        except (UserError, KeyError):  # KeyError: it does not exist there
            return False
        return True

    def _defined(self, section: str, full: str, merged: Merged, scale: str) -> Iterable[str]:
        """Names of a section that an experiment may mention at a scale."""
        if section not in METHODS:
            return getattr(self.params, section)
        if not self._bound(full, scale):
            return self.params.experiments.get(section, {})
        every = (*merged.fitting, *merged.unfit)
        return [other.rsplit("/", 1)[1] for other in every if other.rsplit("/", 1)[0] == section]

    def _refuse(self, problem: checks.Problem, where: str) -> NoReturn:
        mend = nearest(problem.value, problem.names) if problem.names else problem.mend
        raise UserError(problem.what, where, mend)

    def _known(self, where: KeyPath | str, name: str, valid: Iterable[str]) -> None:
        """Refuse a name that is not valid.

        Args:
            where: path of its key, or the place for the message.
            name: as written.
            valid: the names that exist.
        """
        if name not in set(valid):
            place = where if isinstance(where, str) else self.places.at(*where)
            raise UserError(f"unknown name '{name}'", place, nearest(name, valid))

    def experiment(self, name: str) -> Any:
        """The merged experiment ``method/name``.

        Raises:
            UserError: there is no such experiment.
        """
        if name not in self.experiments:
            raise UserError(f"unknown experiment '{name}'", self.places.file, nearest(name, self.experiments))
        return self.experiments[name]

    def sources_in_use(self) -> list[Strict]:
        """Datasets that the experiments name."""
        named = [r for e in self.experiments.values() for r in e.references().values()]
        return [self.params.datasets[n] for n in sorted({n for kind, n in named if kind == "datasets"})]

    def names(self, method: str) -> list[str]:
        """Names of the experiments of a method."""
        return [name for full in self.experiments for m, name in [full.rsplit("/", 1)] if m == method]

    @property
    def methods(self) -> list[str]:
        """Methods with experiments."""
        return sorted({name.rsplit("/", 1)[0] for name in self.experiments})

    def of(self, method: str) -> list[str]:
        """Experiments ``method/name`` of a method."""
        return [f"{method}/{name}" for name in self.names(method)]

    def stages(self, name: str) -> dict[str, dict[str, Any]]:
        """What each stage of an experiment reads: ``{"train": …, "sample": …, "evaluate": …}``."""
        return {stage: read.as_json() for stage, read in self.experiment(name).stages().items()}

    def asked(self, full: str) -> list[Asked]:
        """What an experiment asks of datasets whose content only they can tell."""
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

    def files(self) -> defaultdict[str, dict[str, Any]]:
        """What all stages read: [stage][method][name][input], where ``ddib/sample`` are two keys.

        The input ``config`` is the stage's own configuration, where it has one and names no other.
        """
        files: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for full, experiment in self.experiments.items():
            *parts, name = full.split("/")
            configured = experiment.stages()
            for stage, inputs in experiment.files(f"results/{full}", self.defined).items():
                own = {"config": f"results/{full}/config/{stage}.json"} if stage in configured else {}
                known = reduce(lambda folder, part: folder.setdefault(part, {}), parts, files[stage])
                known[name] = own | inputs
        return files

    def asked_files(self) -> dict[str, Any]:
        """What each experiment that may ask something of data asks: path -> content."""
        asking = [name for name, experiment in self.experiments.items() if experiment.asks()]
        asked = {name: [asdict(one) for one in self.asked(name)] for name in asking}
        return {f"results/{name}/config/{FILE}": {"asked": ones} for name, ones in asked.items()}

    def stage_files(self) -> dict[str, Any]:
        """Every configuration file that the workflow depends on: path -> content."""
        files: dict[str, Any] = {}
        for name, dataset in self.params.datasets.items():
            files[f"data/prepared/{name}/config.json"] = dataset.model_dump(mode="json")
        for name, extractor in self.params.extractors.items():
            files[f"data/checkpoints/{name}.json"] = extractor.model_dump(mode="json")
        for name in self.experiments:
            for stage, content in self.stages(name).items():
                files[f"results/{name}/config/{stage}.json"] = content
        files[RUNTIME] = self.params.runtime.model_dump(mode="json")
        return files


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Content of a params file, as `yaml_reader.read` reads it."""
    return yaml_reader.read(path).values


def load(path: str | Path = "params.yaml") -> Resolved:
    """Read, merge and validate a params file.

    Raises:
        UserError: as `yaml_reader.read` and `Resolved` say.
    """
    document = yaml_reader.read(path)
    return Resolved(document.values, document.places)


def merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` over ``defaults``, two levels deep: sections of one kind merge, anything else is replaced."""
    merged = dict(defaults)
    for key, value in own.items():
        merged[key] = {**merged[key], **value} if _alike(merged.get(key), value) else value
    return merged


def _alike(default: Any, own: Any) -> bool:
    """Whether both are sections, and of the same kind where they name one."""
    both = isinstance(own, Mapping) and isinstance(default, Mapping)
    return both and own.get("kind", default.get("kind")) == default.get("kind")
