"""Settings of boundaries: inversion, mixing step, search, edits and their measures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bridgepipe.config.values import (
    Batch,
    Cost,
    Distinct,
    Noise,
    Rate,
    Reference,
    Seed,
    Several,
    Split,
    Steps,
    Strict,
    Times,
    Variant,
    Written,
)
from bridgepipe.names.nfe import EditingSolverName
from bridgepipe.names.timesteps import truncated

Step = Annotated[int, Field(ge=1, le=100_000)]
Distance = Annotated[float, Field(ge=-1e6, le=1e6)]


class Inversion(Strict):
    """How images become latents."""

    count: Times = Field(40, description="indices on the way, both ends included")
    variant: Variant = Field("exact", description="published: h is that of the call before")
    solver: EditingSolverName = Field("ddim", description="solver of the ODE on the way to the latents")


class Mixing(Strict):
    """The curve on which the mixing step is found."""

    last: Step = Field(960, description="index at which it ends")
    count: Times = Field(25, description="indices of the inversion")
    every: Step = Field(4, description="one in so many of them is measured")
    images: Several = Field(200, description="images of the curve, half of each kind")
    tolerance: float = Field(0.1, gt=0, lt=1, description="distance to the shell that counts as settled")
    folds: int = Field(5, ge=2, le=1000, description="of the cross-validation")

    @model_validator(mode="after")
    def _possible(self) -> Mixing:
        if self.count > self.last + 1:
            raise ValueError(f"count is {self.count}, but there are {self.last + 1} indices up to last")
        if self.every >= self.count:
            raise ValueError(f"every is {self.every} of {self.count} indices: none above 0 is measured")
        if self.images < 2 * self.folds:
            raise ValueError(f"{self.folds} folds need {2 * self.folds} images, images is {self.images}")
        return self

    @property
    def measured(self) -> list[int]:
        """Steps of the curve above 0."""
        steps = truncated(self.last, self.count)
        return [t for k, t in enumerate(steps) if t > 0 and (k % self.every == 0 or k == len(steps) - 1)]


class OfAttribute(Strict):
    """The attribute, or class, whose images lie on one side of the boundary."""

    attribute: Written = Field(description="name of an attribute, or of a class")
    against: Written | None = Field(None, description="class of the images without; null: all others")

    def differs_from(self, made_for: Mapping[str, Any]) -> str | None:
        """How what something was made for differs from this; None: it does not."""
        for key, now in {"attribute": self.attribute, "against": self.against}.items():
            if made_for[key] != now:
                return f"of the {key} {made_for[key]}, the configuration says {now}"
        return None


class OfModel(Strict):
    """The model whose latents are searched, and the images."""

    model: Reference = Field(description="a name of experiments.model")
    dataset: Reference = Field(description="a name of datasets: images with and without the attribute")


class OneSplit(Strict):
    split: Split = Field("train", description="split on which the boundary is searched")


class BothSplits(OneSplit):
    test: Split = Field("test", description="split on which the accuracy is measured and edits are made")


class Cut(Strict):
    """Where the values of an attribute are cut in two."""

    threshold: float | None = Field(None, description="above it lies the attribute; null: the median")
    middle: float = Field(0.0, ge=0, le=0.95, description="share of unclear images that is left out")


class Fit(Strict):
    """The classifier between latents of both kinds."""

    C: Cost = Field(1.0, description="cost of an image on the wrong side")
    C_z: Cost | None = Field(None, description="the same in z; null: as C. Small: edits change more")
    solver: Literal["gram", "svc"] = Field("gram", description="svc: as published; gram: the same, faster")
    balance: Literal["none", "weights", "subsample"] = Field(
        "none", description="of kinds of different number: nothing, weights, or as many of both"
    )
    seed: Seed = Field(0, description="of the choice of images")


class Search(Cut, Fit, BothSplits):
    """Images of both kinds, and the classifier between their latents."""

    t: Literal["auto"] | Step = Field("auto", description="step of the latents; auto: the mixing step")
    images: Several | None = Field(
        None, description="so many images of each split, by chance, besides the middle; null: all"
    )

    @property
    def inverted(self) -> int | None:
        """Images of each split that are inverted: so many that ``images`` are left without the middle."""
        if self.images is None:
            return None
        least = int(self.images / (1 - self.middle))
        return next(
            n for n in count(max(least - 1, self.images)) if n - round(self.middle * n) >= self.images
        )

    @model_validator(mode="after")
    def _possible(self) -> Search:
        if self.split == self.test:
            raise ValueError(
                f"split and test are both {self.test}: test on images that the search has not seen"
            )
        return self


class Edit(Strict):
    """Strips of edited images."""

    start: Distance = Field(-3.0, description="first distance, along the unit normal")
    end: Distance = Field(3.0, description="last distance, along the unit normal")
    n: int = Field(7, ge=1, le=1000, description="distances from start to end")
    source: Literal["images", "samples"] = Field(
        "images", description="what is edited: images of the test split, or samples of the model"
    )
    images: Several = Field(64, description="how many are edited")
    count: Times = Field(40, description="indices on the way back, both ends included")
    variant: Variant = Field("exact", description="published: h lags one step behind")
    kind: Literal["ddim", "ddpm"] = Field(
        "ddim", description="way back: DDIM's, or DDPM's with fresh noise at each step"
    )
    eta: Noise = Field(0.0, description="noise of ddim; published: 1")
    relative: bool = Field(True, description="distances are moved by, not to; published: false")
    h_steps: Step = Field(1, description="steps at which h is displaced")
    raw_h: bool = Field(False, description="h moves along the coefficients, as in the published samples")
    solver: EditingSolverName = Field("ddim", description="solver of the ODE on the way back")
    generate: Times = Field(100, description="indices of the way from noise to t, of samples")
    seed: Seed = Field(0, description="of the choice of images and of the noise")

    @model_validator(mode="after")
    def _possible(self) -> Edit:
        if self.variant == "published" and (self.relative or self.h_steps != 1 or self.solver != "ddim"):
            raise ValueError("the published edit needs relative: false, h_steps: 1 and solver: ddim")
        if self.start >= self.end and self.n > 1:
            raise ValueError("start must be below end")
        if self.h_steps >= self.count:
            raise ValueError(f"h_steps is {self.h_steps}, but there are {self.count - 1} steps back")
        return self


class Judge(Strict):
    """A small classifier of the attribute, trained on the images where no other knows it."""

    steps: Annotated[Steps, Field(ge=2)] = Field(400, description="optimiser steps")
    batch_size: Batch = Field(64, description="images per step")
    lr: Rate = Field(5e-3, description="learning rate")
    seed: Seed = Field(0, description="of its weights and order")


class Measures(Strict):
    """What edits are measured by, besides a judge that is trained for them."""

    renamed: ClassVar[Mapping[str, str]] = {"kept": "preserved"}

    extractor: Reference = Field(description="features of the FID")
    classifier: Reference | None = Field(
        None, description="extractor that tells the attribute by the class; null: a judge is trained"
    )
    preserved: Annotated[tuple[Written, ...], Distinct] = Field(
        (), description="other attributes, which edits should not change; measured, or told by the classifier"
    )
    seed: Seed = Field(
        0, description="of the halves: the best distance is chosen on one and reported on the other"
    )


class EditMeasures(Measures):
    """What edits are measured by."""

    judge: Judge = Judge()
