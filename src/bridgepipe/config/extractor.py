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
    """What turns images into features and classes for the metrics."""

    kind: Literal["classifier", "inception", "resnet50"] = Field(
        description="classifier: a small one, trained here; inception and resnet50: the published ones"
    )
    dataset: Reference | None = Field(None, description="data that a classifier is trained on")
    steps: Annotated[Steps, Field(ge=2)] = Field(400, description="optimiser steps of a classifier")
    batch_size: Batch = Field(64, description="images per step of a classifier")
    lr: Rate = Field(5e-3, description="learning rate of a classifier")
    seed: Seed = Field(0, description="of a classifier's weights and order")

    @model_validator(mode="after")
    def _dataset_where_needed(self, info: ValidationInfo) -> Extractor:
        if (self.kind == "classifier") != (self.dataset is not None):
            raise ValueError("dataset is needed by kind: classifier, and by no other kind")
        if self.kind != "classifier":
            self.unread(info, {"steps", "batch_size", "lr", "seed"}, f"{self.kind} is published, not trained")
        return self
