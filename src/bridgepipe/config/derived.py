"""Experiments that one stands for: repeats with other seeds, variants of ``sample``, pairs of classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from bridgepipe.config.errors import validated
from bridgepipe.config.methods import METHODS
from bridgepipe.config.values import NAME, Pairs, Repeated, Strict, Varied
from bridgepipe.config.yaml_reader import KeyPath, Places
from bridgepipe.errors import UserError
from bridgepipe.names import Json, seeds

T = TypeVar("T", bound=Strict)
Experiments = dict[str, Json]  # of one method, by name


@dataclass
class Derived:
    """Experiments as they are written, with those that follow from them in their places.

    Attributes:
        experiments: method -> name -> what is written.
        places: where it is written, also that of what follows.
        bases: variant ``method/name``, or repeat of a sampling -> the experiment whose network it uses.
        groups: experiment ``method/name`` with pairs, which is none itself -> the experiments of its pairs.
    """

    experiments: dict[str, Experiments]
    places: Places
    bases: dict[str, str] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def derive(self) -> Derived:
        """Put repeats and variants behind their experiments, and pairs in place of theirs."""
        repeats = {section: partial(self._repeats, section) for section in ("train", "sample")}
        for add in (repeats["train"], self._variants, repeats["sample"], self._pairs):
            for method, experiments in self.experiments.items():
                self.experiments[method] = dict(add(method, experiments))
        return self

    def _repeats(self, section: str, method: str, experiments: Experiments) -> Iterator[tuple[str, Json]]:
        for name, written in experiments.items():
            path = ("experiments", method, name)
            first, *others = self._seeds_of(section, method, written, path) or (None,)
            yield name, written if first is None else _seeded(written, section, first)
            for seed in others:
                full = seeds.repeat(name, seed)
                self._place(full, path, {(section, "seed"): (*path, section, "seeds")}, experiments)
                if section == "sample":
                    base = f"{method}/{name}"
                    self.bases[f"{method}/{full}"] = self.bases.get(base, base)
                yield full, _without_study(_seeded(written, section, seed), method)

    def _seeds_of(self, section: str, method: str, written: Json, path: KeyPath) -> tuple[int, ...]:
        """Seeds that are written in a section; none where it may not have them, which is told later."""
        kind, how = METHODS[method].model_fields.get(section), written.get(section)
        if kind is None or not issubclass(kind.annotation, Repeated) or not isinstance(how, Mapping):
            return ()
        found = self._checked(Repeated, how, (*path, section)).seeds or ()
        if found and "seed" in how:
            raise UserError(
                "seeds and a seed", self.places.at(*path, section, "seeds"), "keep one of the two"
            )
        if found and section == "train" and "seeds" in (written.get("sample") or {}):
            where = self.places.at(*path, "sample", "seeds")
            raise UserError("seeds of the training and of the sampling", where, "keep one of the two")
        return found

    def _variants(self, method: str, experiments: Experiments) -> Iterator[tuple[str, Json]]:
        for name, written in experiments.items():
            path, plain = ("experiments", method, name), without_variants(written)
            yield name, plain
            for variant, how in self._variants_of(method, written, path).items():
                own = _without_study(_over(plain, "sample", how), method)
                full = f"{name}.{variant}"
                where = (*path, "sample", "variants", variant)
                self._place(full, path, {("sample",): where}, experiments)
                self.bases[f"{method}/{full}"] = f"{method}/{name}"
                yield full, own

    def _variants_of(self, method: str, written: Json, path: KeyPath) -> Mapping[str, Any]:
        sample = written.get("sample")
        kind = METHODS[method].model_fields.get("sample")
        if kind is None or not issubclass(kind.annotation, Varied) or not isinstance(sample, Mapping):
            return {}
        found = self._checked(Varied, sample, (*path, "sample")).variants or {}
        for variant in (name for name, how in found.items() if "variants" in how):
            where = self.places.at(*path, "sample", "variants", variant)
            raise UserError("variants of a variant", where, "write all of them side by side")
        return found

    def _pairs(self, method: str, experiments: Experiments) -> Iterator[tuple[str, Json]]:
        for name, written in experiments.items():
            path = ("experiments", method, name)
            if "pairs" not in written or not issubclass(METHODS[method], Pairs):
                yield name, written
                continue
            plain = {key: value for key, value in written.items() if key != "pairs"}
            for key in ("source", "target"):
                if key in plain:
                    raise UserError(f"pairs and a {key}", self.places.at(*path, key), "keep one of the two")
            for source, target in (self._checked(Pairs, written, path).pairs or {}).items():
                where = (*path, "pairs", source)
                full = f"{name}.{self._called(source, target, where)}"
                self._place(full, path, {("source",): where, ("target",): where}, experiments)
                self.groups.setdefault(f"{method}/{name}", []).append(f"{method}/{full}")
                number = int(source) if source.isdecimal() else source
                yield full, {**plain, "source": number, "target": target}

    def _called(self, *of: Any) -> str:
        """Name of a pair, which a folder is called by."""
        *ends, where = of
        name = "-".join(re.sub("[^a-zA-Z0-9_.-]+", "-", str(end)) for end in ends)
        if not re.fullmatch(NAME, name):
            what = f"no folder can be called {name!r}"
            raise UserError(what, self.places.at(*where), "give the classes by their numbers")
        return name

    def _checked(self, kind: type[T], values: Mapping[str, Any], path: KeyPath) -> T:
        """The keys of a section that are none of an experiment."""
        own = {key: value for key, value in values.items() if key in kind.model_fields}
        return validated(kind, own, self.places, path)

    def _place(
        self, full: str, base: KeyPath, moved: Mapping[KeyPath, KeyPath], experiments: Experiments
    ) -> None:
        """Note that an experiment is written where ``base`` is, and some of its keys elsewhere.

        Raises:
            UserError: the name is taken.
        """
        new, where = (*base[:2], full), next(iter(moved.values()))
        if full in experiments or new in self.places.marks:
            what = f"there is an experiment {full} already"
            raise UserError(what, self.places.at(*where), "give one of them another name")
        marks = dict(self.places.marks)
        for inside, written in {(): base, **moved}.items():
            marks |= {
                (*new, *inside, *path[len(written) :]): mark
                for path, mark in self.places.marks.items()
                if path[: len(written)] == written
            }
        self.places = replace(self.places, marks=marks)


def without_variants(written: Mapping[str, Any]) -> Json:
    """What is written in an experiment itself."""
    sample = written.get("sample")
    if not isinstance(sample, Mapping) or "variants" not in sample:
        return dict(written)
    return {**written, "sample": {key: value for key, value in sample.items() if key != "variants"}}


def _without_study(written: Json, method: str) -> Json:
    """A study is of the network, once."""
    return written | ({"study": None} if "study" in METHODS[method].model_fields else {})


def _seeded(written: Json, section: str, seed: int) -> Json:
    how = {key: value for key, value in written[section].items() if key != "seeds"}
    return {**written, section: {**how, "seed": seed}}


def _over(written: Json, section: str, own: Mapping[str, Any]) -> Json:
    return {**written, section: {**written.get(section, {}), **own}}
