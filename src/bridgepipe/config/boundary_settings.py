"""Settings of boundaries: inversion, mixing step, search, edits and their measures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from bridgepipe.config.recipe import Checkpoint
from bridgepipe.config.values import (
    Batch,
    Cost,
    Distinct,
    FilePath,
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
    absent,
)
from bridgepipe.names.nfe import EditingSolverName
from bridgepipe.names.timesteps import truncated

Step = Annotated[int, Field(ge=1, le=100_000)]
Distance = Annotated[float, Field(ge=-1e6, le=1e6)]


class Inversion(Strict):
    """Inversion of images to latents."""

    count: Times = Field(40, description="number of timesteps, both ends included")
    variant: Variant = Field(
        "exact", description="published: h comes from the call before; exact: from the same timestep"
    )
    solver: EditingSolverName = Field("ddim", description="ODE solver of the inversion")


class Mixing(Strict):
    """The curve that determines the mixing step."""

    last: Step = Field(960, description="last timestep of the curve")
    count: Times = Field(25, description="number of timesteps of the inversion")
    every: Step = Field(4, description="measure every n-th of them")
    images: Several = Field(200, description="number of images, half of them with the attribute")
    tolerance: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="relative distance to the shell below which the latents count as Gaussian",
    )
    folds: int = Field(5, ge=2, le=1000, description="number of cross-validation folds")

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
    """The attribute or class on one side of the boundary."""

    attribute: Written = Field(description="name of an attribute, or of a class")
    against: Written | None = Field(None, description="class on the other side; null: all other images")

    def differs_from(self, made_for: Mapping[str, Any]) -> str | None:
        """How the attributes that a file was made for differ from these; None: they are the same."""
        for key, now in {"attribute": self.attribute, "against": self.against}.items():
            if made_for[key] != now:
                return f"of the {key} {made_for[key]}, the configuration says {now}"
        return None


class OfModel(Checkpoint):
    """The model that provides the latents, which of its weights, and the images."""

    model: Reference = Field(description="name of an experiment of experiments.model")
    dataset: Reference = Field(description="name of the dataset with the images")


class OneSplit(Strict):
    split: Split = Field("train", description="split that the boundary is fitted on")


class BothSplits(OneSplit):
    test: Split = Field(
        "test", description="split that the accuracy is measured on and whose images are edited"
    )


class Cut(Strict):
    """How the values of an attribute are split in two."""

    threshold: float | None = Field(None, description="values above it have the attribute; null: the median")
    middle: float = Field(0.0, ge=0, le=0.95, description="share of images around the threshold to leave out")


class Fit(Strict):
    """The linear classifier between the latents of both sides."""

    C: Cost = Field(1.0, description="penalty C of the support vector machine")
    C_z: Cost | None = Field(None, description="C in z-space; null: C. Smaller values make edits change more")
    solver: Literal["gram", "svc"] = Field(
        "gram", description="svc: the published solver; gram: the same result, faster"
    )
    balance: Literal["none", "weights", "subsample"] = Field(
        "none", description="class imbalance: ignore it, reweight, or subsample the larger class"
    )
    seed: Seed = Field(0, description="seed that selects images")


class Search(Cut, Fit, BothSplits):
    """The images of both sides, and the classifier between their latents."""

    t: Literal["auto"] | Step = Field("auto", description="timestep of the latents; auto: the mixing step")
    images: Several | None = Field(
        None, description="number of images per split, selected at random, not counting middle; null: all"
    )

    @property
    def inverted(self) -> int | None:
        """The number of images to invert per split: enough for ``images`` to remain without the middle."""
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
    """Settings of the edits: a strip of edited images for each image."""

    start: Distance = Field(-3.0, description="first distance, along the unit normal")
    end: Distance = Field(3.0, description="last distance, along the unit normal")
    n: int = Field(7, ge=1, le=1000, description="number of distances from start to end")
    source: Literal["images", "samples"] = Field(
        "images", description="what is edited: images of the test split, or samples of the model"
    )
    images: Several = Field(64, description="number of images to edit")
    count: Times = Field(40, description="number of timesteps of the decoding, both ends included")
    variant: Variant = Field("exact", description="published: h lags one timestep behind; exact: it does not")
    kind: Literal["ddim", "ddpm"] = Field(
        "ddim", description="decoding: by DDIM, or by DDPM with fresh noise at each timestep"
    )
    eta: Noise = Field(0.0, description="eta of DDIM; published: 1")
    relative: bool = Field(True, description="move by the distance; false, as published: move to it")
    h_steps: Step = Field(1, description="number of timesteps at which h is displaced")
    raw_h: bool = Field(False, description="move h along the raw coefficients, as in the published samples")
    solver: EditingSolverName = Field("ddim", description="ODE solver of the decoding")
    generate: Times = Field(100, description="for source: samples, number of timesteps from noise to t")
    seed: Seed = Field(0, description="seed that selects images and draws noise")

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
    """A small classifier of the attribute, trained where no other classifier predicts it."""

    steps: Annotated[Steps, Field(ge=2)] = Field(400, description="optimiser steps")
    batch_size: Batch = Field(64, description="images per step")
    lr: Rate = Field(5e-3, description="learning rate")
    seed: Seed = Field(0, description="seed of the weights and of the order of images")


class ClipScore(Strict):
    """How well edited images fit a text."""

    text: Written = Field(description="what an image with the attribute shows, such as a smiling face")
    weights: FilePath = Field(
        "clip/vit-b-32", description="weights of CLIP's ViT-B/32: a name in sources.yaml, or a file"
    )


class Measures(Strict):
    """Metrics of edits, apart from the judge that is trained for them."""

    renamed: ClassVar[Mapping[str, str]] = {"kept": "preserved"}

    extractor: Reference = Field(description="name of the extractor of the FID")
    classifier: Reference | None = Field(
        None, description="extractor whose classes give the attribute; null: a judge is trained"
    )
    preserved: Annotated[tuple[Written, ...], Distinct] = Field(
        (),
        description="other attributes that edits should preserve; measured, or predicted by the classifier",
    )
    seed: Seed = Field(
        0, description="seed of the two halves: one selects the best distance, results are of the other"
    )
    clip: ClipScore | None = Field(
        None, description="CLIP score of edited images; null: not measured", exclude_if=absent
    )
    identity: FilePath | None = Field(
        None,
        description="face recognition that tells how far edits change the identity: a name in sources.yaml"
        " such as identity/w600k-r50, or an ONNX file; null: not measured",
        exclude_if=absent,
    )

    @property
    def weights(self) -> dict[str, str]:
        """Key -> the weights that are named there."""
        named = {"clip.weights": None if self.clip is None else self.clip.weights, "identity": self.identity}
        return {f"evaluate.{key}": text for key, text in named.items() if text is not None}


class EditMeasures(Measures):
    """Metrics of edits."""

    judge: Judge = Judge()
