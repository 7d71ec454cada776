"""How a network is trained, and what a set of its images is compared with."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from bridgepipe.config.values import Batch, FilePath, Rate, Reference, Seed, Split, Steps, Strict


class Recipe(Strict):
    """How a network is trained."""

    steps: Steps = Field(description="optimiser steps in all")
    batch_size: Batch = Field(64, description="images per optimiser step, over all processes")
    lr: Rate = Field(5e-5, description="learning rate of AdamW at the first step")
    lr_gamma: float = Field(1.0, gt=0, le=1, description="factor of the step decay")
    lr_step: Steps = Field(1000, description="steps between decays")
    weight_decay: float = Field(0.0, ge=0, le=10, description="weight decay of AdamW")
    ema: float = Field(
        0.99, ge=0, lt=1, description="decay of the average of the weights, per step; 0: the last weights"
    )
    grad_clip: float | None = Field(
        None, gt=0, le=1e6, description="largest norm of the gradient; null: unbounded"
    )
    flip: bool = Field(False, description="random horizontal flips")
    seed: Seed = Field(0, description="of weights, order and noise")
    log_every: Steps = Field(10, description="steps between rows of the loss")
    init: FilePath | None = Field(
        None, description="weights to start from, named as published is; null: random ones"
    )
    published: FilePath | None = Field(
        None,
        description="import these weights, don't train: a name of sources.yaml, hf:OWNER/NAME, an experiment"
        " METHOD/NAME, or the path of a file or folder of any published layout",
    )

    @property
    def weights(self) -> dict[str, str]:
        """Key -> the weights that are named there."""
        key = "init" if self.published is None else "published"
        named = getattr(self, key)
        return {} if named is None else {f"train.{key}": named}

    @property
    def views(self) -> dict[str, Any]:
        """How a training sees its images: arguments of `training.views.draw`."""
        return {"flip": self.flip}


class Distribution(Strict):
    """Comparison of a set of images with a set of real ones."""

    extractor: Reference = Field(description="features of the FID and KID")
    reference: Split = Field(
        "train", description="split of the real images; one with the originals makes the FID smaller"
    )
    kid: bool = Field(True, description="also measure the KID")
