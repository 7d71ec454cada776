"""Settings of the validation of a network while it is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bridgepipe.config.values import Calls, Distinct, Reference, Several, Split, Steps, Strict, optional

Measured = Literal["psnr", "fid", "accuracy"]
HIGHER = ("psnr", "accuracy")  # is better


class Validation(Strict):
    """Validation while a network is trained, on images that the training never sees."""

    every: Steps = Field(description="training steps between validations")
    split: Split = Field("val", description="split that is validated on, which is not train")
    images: Several = Field(
        64, description="number of images or points, selected at random with equal shares per class"
    )
    metrics: Annotated[tuple[Measured, ...], Distinct] = Field(
        (),
        description="what is measured beside the loss: psnr, fid and accuracy of restored images; fid of"
        " samples, and accuracy of class-conditional ones; accuracy of a guide on its noisy images",
    )
    extractor: Reference | None = Field(
        None, description="name of the extractor of fid and of accuracy; a guide needs none"
    )
    nfe: Calls = Field(
        10, description="network calls per restored image, or per sample, which the ddim sampler draws"
    )
    grid: int = Field(
        0, ge=0, le=256, description="number of images in the picture of every validation; 0: no pictures"
    )
    best: Literal["loss"] | Measured = Field(
        "loss", description="loss or metric by which checkpoint: best is chosen"
    )

    @property
    def higher_is_better(self) -> bool:
        return self.best in HIGHER

    @property
    def draws(self) -> bool:
        """Whether images are restored or sampled."""
        return bool(self.metrics) or self.grid > 0

    @property
    def numbers(self) -> dict[str, Any]:
        """The settings that decide which numbers there are."""
        return self.model_dump(mode="json", exclude={"grid"})

    def references(self) -> dict[str, tuple[str, str]]:
        return optional("train.validation.extractor", "extractors", self.extractor)

    @model_validator(mode="after")
    def _possible(self) -> Validation:
        if self.split == "train":
            raise ValueError("validation.split is train, whose images the training sees: take val or test")
        if self.best not in ("loss", *self.metrics):
            raise ValueError(f"validation.best is {self.best}, which validation.metrics does not have")
        if self.extractor is not None and not {"fid", "accuracy"} & set(self.metrics):
            raise ValueError("validation.extractor is not read: metrics has neither fid nor accuracy")
        if self.grid > self.images:
            raise ValueError(f"validation.grid shows {self.grid} of {self.images} images")
        return self
