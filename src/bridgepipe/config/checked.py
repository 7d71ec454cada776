"""params.yaml merged and checked: keys, names, and whether what experiments name goes together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

from pydantic import Field

from bridgepipe.config import checks
from bridgepipe.config.checks.evaluation import extractor_problems
from bridgepipe.config.contents import splits_of
from bridgepipe.config.defined import Defined
from bridgepipe.config.derived import Derived
from bridgepipe.config.errors import nearest, validated
from bridgepipe.config.methods import METHODS, Params
from bridgepipe.config.values import Distinct, Strict
from bridgepipe.config.yaml_reader import KeyPath, Places
from bridgepipe.errors import UserError
from bridgepipe.names import Json, seeds

# keys by which an experiment stands for several
OF_EXPERIMENTS = (("pairs",), ("train", "seeds"), ("sample", "seeds"), ("sample", "variants"))
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


class Checked:
    """Validated parameters: every experiment merged, every reference checked.

    Every key and every name is checked at all scales. What has to fit together is checked at the scale in
    use, and at those that an experiment names in ``scales``; one that names none need not fit the others.

    Args:
        values: content of params.yaml.
        places: position of each value in its file, or the name of the file, for messages.

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
        derived = Derived(self.params.experiments, self.places).derive()
        self.places, self._bases, self._groups = derived.places, derived.bases, derived.groups
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
            full: full name of the experiment, ``method/name``.
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
                path = ("scales", scale, method)
                validated(METHODS[method], defaults, self.places, path, part=True)
                for keys in OF_EXPERIMENTS:
                    if _has(defaults, keys):
                        where = self.places.at(*path, *keys)
                        raise UserError(f"{keys[-1]} are of an experiment", where, "write them there")
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
                full, inherited = f"{method}/{name}", ("scales", scale, method)
                called = seeds.repeated(self._bases.get(full, full)).rsplit("/", 1)[1]
                values = merge({**defaults, **METHODS[method].named(called)}, own)
                try:
                    made = validated(METHODS[method], values, self.places, path, inherited)
                    found.fitting[full] = made.sharing(self._bases.get(full))
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
            self._check_repeat(full, at[scale].fitting, scale)
            try:
                if self._bound(full, scale):
                    self._check_fit(full, at[scale], scale)
            except UserError as error:
                raise self._with_scales(error, full, at, scale) from None

    def _bound(self, full: str, scale: str) -> bool:
        """Whether an experiment has to fit a scale: the one in use, or one that it names."""
        return scale == self.params.scale or ONLY in self.own(full)

    def own(self, full: str) -> Mapping[str, Any]:
        """What is written in an experiment itself: its difference from its scale."""
        method, name = full.rsplit("/", 1)
        return self.params.experiments[method][name]

    def _check_names(self, full: str, merged: Merged, scale: str) -> None:
        """Names that are not defined; where an experiment need not fit, those of any scale are."""
        experiment = merged.fitting.get(full)
        for place, (section, used) in experiment.references().items() if experiment else ():
            self._known(self.at(full, place, scale), used, self._defined(section, full, merged, scale))

    def _check_repeat(self, full: str, fitting: Mapping[str, Any], scale: str) -> None:
        """The training of a repeat differs in its seed alone, which no metric file can tell."""
        base = seeds.repeated(full)
        if base == full or not {base, full} <= fitting.keys():
            return
        own, first = (fitting[name].stages().get("train") for name in (full, base))
        if own and first and seeds.but_for_seeds(own.as_json()) != seeds.but_for_seeds(first.as_json()):
            what = f"{full} is called a repeat of {base}, but is trained in another way"
            raise UserError(what, self.at(full, "", scale), f"write train: {{seeds: [...]}} in {base}")

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
        for problem in checks.problems(full, experiment, self.own(full), defined):
            self._refuse(problem, self.at(full, problem.key, scale))

    def _with_scales(self, error: UserError, full: str, at: Mapping[str, Merged], scale: str) -> UserError:
        """The error, and that an experiment may be kept out of a scale, where it fits others."""
        if ONLY in self.own(full):
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
        every = (full for full in (*merged.fitting, *merged.unfit) if full not in self._bases)
        return [other.rsplit("/", 1)[1] for other in every if other.rsplit("/", 1)[0] == section]

    def _refuse(self, problem: checks.Problem, where: str) -> NoReturn:
        mend = nearest(problem.value, problem.names) if problem.names else problem.mend
        raise UserError(problem.what, where, mend)

    def _known(self, where: KeyPath | str, name: str, valid: Iterable[str]) -> None:
        """Refuse a name that is not valid.

        Args:
            where: path of its key, or the place for the message.
            name: the name as written.
            valid: the names that exist.
        """
        if name not in set(valid):
            place = where if isinstance(where, str) else self.places.at(*where)
            raise UserError(f"unknown name '{name}'", place, nearest(name, valid))


def merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> Json:
    """``own`` over ``defaults``, two levels deep: sections of one kind merge, anything else is replaced."""
    merged = dict(defaults)
    for key, value in own.items():
        merged[key] = {**merged[key], **value} if _alike(merged.get(key), value) else value
    return merged


def _has(values: Any, keys: Iterable[str]) -> bool:
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def _alike(default: Any, own: Any) -> bool:
    """Whether both are sections, and of the same kind where they name one."""
    both = isinstance(own, Mapping) and isinstance(default, Mapping)
    return both and own.get("kind", default.get("kind")) == default.get("kind")
