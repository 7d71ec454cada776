"""Sections of params.yaml about boundaries: attributes found in a model's latents, and edits along them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from bridgepipe.params.common import Split, Strict, Variant

Solver = Literal["ddim", "heun", "multistep2", "multistep3"]


class Inversion(Strict):
    """How images become latents."""

    count: int = Field(40, ge=2, description="indices on the way, both ends included")
    variant: Variant = Field("exact", description="published: h is that of the call before")
    solver: Solver = "ddim"


class Mixing(Strict):
    """The curve on which the mixing step is found."""

    last: int = Field(960, ge=1, description="index at which it ends")
    count: int = Field(25, ge=2, description="indices of the inversion")
    every: int = Field(4, ge=1, description="one in so many of them is measured")
    images: int = Field(200, ge=2)
    tolerance: float = Field(0.1, gt=0, lt=1, description="distance to the shell that counts as settled")
    folds: int = Field(5, ge=2, description="of the cross-validation")


class Search(Strict):
    """Images of both kinds, and the classifier between their latents."""

    t: Literal["auto"] | int = Field("auto", description="step of the latents; auto: the mixing step")
    split: Split = "train"
    test: Split = Field("test", description="split on which the accuracy is measured and edits are made")
    images: int | None = Field(None, ge=2, description="so many images of each split, by chance; null: all")
    seed: int = Field(0, ge=0, description="of their choice")
    C: float = Field(1.0, gt=0, description="cost of an image on the wrong side")
    C_z: float | None = Field(None, gt=0, description="the same in z; null: as C. Small: edits change more")
    solver: Literal["gram", "svc"] = Field("gram", description="svc: as published; gram: the same, faster")
    balance: Literal["none", "weights", "subsample"] = "none"
    threshold: float | None = Field(None, description="above it lies the attribute; null: the median")
    middle: float = Field(0.0, ge=0, lt=1, description="share of unclear images that is left out")


class Edit(Strict):
    """Strips of edited images."""

    start: float = -3.0
    end: float = 3.0
    n: int = Field(7, ge=1, description="distances from start to end")
    source: Literal["images", "samples"] = "images"
    images: int = Field(64, ge=1, description="how many are edited")
    count: int = Field(40, ge=2, description="indices on the way back, both ends included")
    variant: Variant = Field("exact", description="published: h lags one step behind")
    kind: Literal["ddim", "ddpm"] = "ddim"
    eta: float = Field(0.0, ge=0, description="noise of ddim; published: 1")
    relative: bool = Field(True, description="distances are moved by, not to; published: false")
    h_steps: int = Field(1, ge=1, description="steps at which h is displaced")
    raw_h: bool = Field(False, description="h moves along the coefficients, as in the published samples")
    solver: Solver = "ddim"
    generate: int = Field(100, ge=2, description="indices of the way from noise to t, of samples")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Edit:
        if self.variant == "published" and (self.relative or self.h_steps != 1 or self.solver != "ddim"):
            raise ValueError("the published edit needs relative: false, h_steps: 1 and solver: ddim")
        if self.start >= self.end and self.n > 1:
            raise ValueError("start must be below end")
        return self


class Judge(Strict):
    """A small classifier of the attribute, trained on the images where no other knows it."""

    steps: int = Field(400, ge=1)
    batch_size: int = Field(64, ge=1)
    lr: float = Field(5e-3, gt=0)
    seed: int = Field(0, ge=0)


class EditMeasures(Strict):
    """What edits are measured by."""

    extractor: str = Field(description="features of the FID")
    classifier: str | None = Field(
        None, description="extractor that tells the attribute by the class; null: a judge is trained"
    )
    judge: Judge = Judge()
    kept: tuple[str, ...] = Field((), description="other attributes, known by the classifier or by measuring")


class BoundarySearch(Strict):
    """A boundary between images with and without an attribute, and edits across it."""

    model: str = Field(description="a name of experiments.model")
    dataset: str
    attribute: str = Field(description="name of an attribute, or of a class")
    against: str | None = Field(None, description="class of the images without; null: all others")
    inversion: Inversion = Inversion()
    mixing: Mixing = Mixing()
    search: Search = Search()
    edit: Edit = Edit()
    evaluate: EditMeasures

    @property
    def t(self) -> int | None:
        """The step, where it is given."""
        return None if self.search.t == "auto" else self.search.t

    def references(self) -> dict[str, tuple[str, str]]:
        known = {
            "model": ("model", self.model),
            "dataset": ("datasets", self.dataset),
            "evaluate.extractor": ("extractors", self.evaluate.extractor),
        }
        if self.evaluate.classifier is not None:
            known["evaluate.classifier"] = ("extractors", self.evaluate.classifier)
        return known

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {
            "search.split": (self.dataset, self.search.split),
            "search.test": (self.dataset, self.search.test),
        }

    def stages(self) -> dict[str, dict[str, Any]]:
        e = self.model_dump(mode="json")
        s, edit, judged = e["search"], e["edit"], e["evaluate"]
        of = {"model": e["model"], "dataset": e["dataset"]}
        kind = {"attribute": e["attribute"], "against": e["against"]}
        cut = {"threshold": s["threshold"], "middle": s["middle"]}
        chosen = {"images": s["images"], "seed": s["seed"], "threshold": s["threshold"]}
        judge = {**kind, **cut, **judged["judge"]} if judged["classifier"] is None else None
        return {
            "mixing": {**of, **kind, **cut, "seed": s["seed"], "C": s["C"], "mixing": e["mixing"]},
            "latents": {**of, **kind, **chosen, "t": s["t"], "inversion": e["inversion"]},
            "search": {**kind, **cut, **{key: s[key] for key in ("C", "C_z", "solver", "balance", "seed")}},
            "edit": {"edit": edit},
            "evaluate": {**of, **kind, **{key: judged[key] for key in ("extractor", "classifier", "kept")}},
            **({"judge": judge} if judge else {}),
        }

    @model_validator(mode="after")
    def _possible(self) -> BoundarySearch:
        if self.edit.raw_h and self.edit.source == "images":
            raise ValueError("edit.raw_h is of edit.source: samples")
        return self
