"""Sections of params.yaml about boundaries: attributes found in a model's latents, and edits along them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from bridgepipe.config.boundary_settings import (
    BothSplits,
    Cut,
    Edit,
    EditMeasures,
    Fit,
    Inversion,
    Judge,
    Measures,
    Mixing,
    OfAttribute,
    OfModel,
    OneSplit,
    Search,
    Step,
)
from bridgepipe.config.defined import Defined, Files, network_in
from bridgepipe.config.values import (
    Ask,
    Cost,
    Results,
    Seed,
    Several,
    Strict,
    optional,
)


class BoundaryMixing(Cut, OfAttribute, OneSplit, OfModel):
    """Settings of the search for the mixing step."""

    seed: Seed
    C: Cost
    mixing: Mixing


class BoundaryLatents(OfAttribute, BothSplits, OfModel):
    """Settings of the inversion of images.

    Attributes:
        images: number of images per split, including those around the threshold.
    """

    images: Several | None
    seed: Seed
    threshold: float | None
    t: Literal["auto"] | Step
    inversion: Inversion


class BoundaryFit(Fit, Cut, OfAttribute):
    """Settings of the fit of a boundary."""


class BoundaryEdit(Strict):
    """Settings of the edits."""

    edit: Edit


class BoundaryMeasures(Measures, OfAttribute, BothSplits, OfModel):
    """Settings of the metrics of edits."""


class BoundaryJudge(Judge, Cut, OfAttribute, OneSplit):
    """Settings of the training of a judge of the attribute."""


class BoundarySearch(OfAttribute, OfModel):
    """A boundary between images with and without an attribute, and edits across it."""

    results: ClassVar[Results] = Results(
        metrics=("accuracy", "edit"), figures=("mixing", "strip", "flips"), own_table=True
    )

    inversion: Inversion = Inversion()
    mixing: Mixing = Mixing()
    search: Search = Search()
    edit: Edit = Edit()
    evaluate: EditMeasures

    @property
    def t(self) -> int | None:
        """The timestep, if the configuration gives it."""
        return None if self.search.t == "auto" else self.search.t

    def references(self) -> dict[str, tuple[str, str]]:
        return {
            "model": ("model", self.model),
            "dataset": ("datasets", self.dataset),
            "evaluate.extractor": ("extractors", self.evaluate.extractor),
            **optional("evaluate.classifier", "extractors", self.evaluate.classifier),
        }

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {
            "search.split": (self.dataset, self.search.split),
            "search.test": (self.dataset, self.search.test),
        }

    def asks(self) -> list[Ask]:
        train, test = self.search.split, self.search.test
        edited = self.edit.images if self.edit.source == "images" else None
        kinds = {"attribute": self.attribute, "against": self.against}
        return [
            ("mixing.images", self.dataset, train, self.mixing.images, None),
            ("search.images", self.dataset, train, self.search.images, None),
            ("edit.images", self.dataset, test, edited, None),
            *((key, self.dataset, train, self.mixing.folds, name) for key, name in kinds.items() if name),
            *((key, self.dataset, test, 1, name) for key, name in kinds.items() if name),
        ]

    def stages(self) -> dict[str, Strict]:
        s, judged = self.search, self.evaluate
        judge = {} if judged.classifier is not None else {"judge": BoundaryJudge.of(s, self, judged.judge)}
        return {
            "mixing": BoundaryMixing.of(s, self),
            "latents": BoundaryLatents.of(s, self, images=s.inverted),
            "search": BoundaryFit.of(s, self),
            "edit": BoundaryEdit.of(self),
            "evaluate": BoundaryMeasures.of(s, self, judged),
            **judge,
        }

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files that the stages read, among them the mixing step when t is auto, and the judge."""
        recipe = defined.experiments[f"model/{self.model}"].train
        model = network_in(f"results/model/{self.model}", self.file(recipe))
        fit, held_out = (
            defined.split(self.dataset, split) for split in (self.search.split, self.search.test)
        )
        edits = {name: f"{folder}/{name}.lmdb" for name in ("edited", "control", "plain")}
        edits |= {"data": held_out}
        known = self.evaluate.classifier
        judge = f"{folder}/judge.safetensors" if known is None else defined.weights(known)
        mixing = [f"{folder}/mixing.json"] if self.t is None else []
        return {
            "mixing": {**model, "data": fit},
            "latents": {**model, "train": fit, "test": held_out, "mixing": mixing},
            "edit": model,
            "judge": {"config": f"{folder}/config/judge.json", "train": fit},
            "strip": edits,
            "flips": {"csv": f"{folder}/edit.csv", "metric": f"{folder}/edit.json"},
            "evaluate": {
                **edits,
                "train": fit,
                "classifier": judge,
                **defined.extractor(self.evaluate.extractor),
            },
        }

    @model_validator(mode="after")
    def _possible(self) -> BoundarySearch:
        if self.edit.raw_h and self.edit.source == "images":
            raise ValueError("edit.raw_h is of edit.source: samples")
        if self.against == self.attribute:
            raise ValueError("attribute and against must differ")
        if self.attribute in self.evaluate.preserved:
            raise ValueError("evaluate.preserved names the attribute that is edited")
        return self
