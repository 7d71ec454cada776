"""Feature extractors of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from bridgepipe.config.values import (
    Batch,
    Rate,
    Reference,
    Seed,
    Steps,
    Strict,
)


class Extractor(Strict):
    """A network that extracts features or predicts classes for the metrics."""

    kind: Literal["classifier", "inception", "resnet50"] = Field(
        description="classifier: a small one, trained here; inception, resnet50: published networks"
    )
    dataset: Reference | None = Field(None, description="name of the dataset to train a classifier on")
    steps: Annotated[Steps, Field(ge=2)] = Field(400, description="optimiser steps of a classifier")
    batch_size: Batch = Field(64, description="images per step of a classifier")
    lr: Rate = Field(5e-3, description="learning rate of a classifier")
    seed: Seed = Field(0, description="seed of a classifier's weights and order of images")

    @model_validator(mode="after")
    def _dataset_where_needed(self, info: ValidationInfo) -> Extractor:
        if (self.kind == "classifier") != (self.dataset is not None):
            raise ValueError("dataset is needed by kind: classifier, and by no other kind")
        if self.kind != "classifier":
            self.unread(info, {"steps", "batch_size", "lr", "seed"}, f"{self.kind} is published, not trained")
        return self
