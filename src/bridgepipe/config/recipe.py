"""Training settings, and settings of the comparison with real images."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bridgepipe.config.validation import Validation
from bridgepipe.config.values import (
    Batch,
    Distinct,
    FilePath,
    Rate,
    Reference,
    Repeated,
    Seed,
    Split,
    Steps,
    Strict,
    absent,
)
from bridgepipe.names.origins import MODEL

Decay = Annotated[float, Field(ge=0, lt=1)]
CHECKPOINTS = "checkpoints"  # folder of the others
BEST = "best"
VALIDATIONS = "validation.csv"  # beside them
SHOWN = 8  # steps in a message
MOST_KEPT = 1000  # checkpoints of one training


class Recipe(Repeated):
    """Training settings of a network."""

    steps: Steps = Field(description="total optimiser steps")
    batch_size: Batch = Field(64, description="images per optimiser step, across all processes")
    lr: Rate = Field(5e-5, description="initial learning rate of AdamW")
    lr_gamma: float = Field(1.0, gt=0, le=1, description="factor of the step decay")
    lr_step: Steps = Field(1000, description="steps between decays")
    weight_decay: float = Field(0.0, ge=0, le=10, description="weight decay of AdamW")
    lr_anneal_steps: Steps | None = Field(
        None,
        description="steps after which the learning rate has decayed linearly to 0; null: no annealing",
        exclude_if=absent,
    )
    ema: Decay | Annotated[tuple[Decay, ...], Distinct, Field(min_length=1, max_length=8)] = Field(
        0.99,
        description="decay of the moving average of the weights per step; 0: no averaging. Of several,"
        " the first is used unless sample.ema names another",
    )
    grad_clip: float | None = Field(
        None, gt=0, le=1e6, description="maximum gradient norm; null: no clipping"
    )
    flip: bool = Field(False, description="random horizontal flips")
    seed: Seed = Field(0, description="seed of the initial weights, the order of images and the noise")
    log_every: Steps = Field(10, description="steps between logged losses")
    keep_every: Steps | None = Field(
        None,
        description="steps between checkpoints for sample.checkpoint; null: no checkpoints",
        exclude_if=absent,
    )
    validation: Validation | None = Field(
        None,
        description="validation every so many steps, which also keeps the best checkpoint; null: none",
        exclude_if=absent,
    )
    init: FilePath | None = Field(
        None, description="initial weights, named like published; null: random initialisation"
    )
    published: FilePath | None = Field(
        None,
        description="weights to import in place of training: a name in sources.yaml, hf:OWNER/NAME, an"
        " experiment METHOD/NAME, or the path of a file or folder in any published layout",
    )

    @property
    def weights(self) -> dict[str, str]:
        """Key -> the weights that are named there."""
        key = "init" if self.published is None else "published"
        named = getattr(self, key)
        return {} if named is None else {f"train.{key}": named}

    def references(self) -> dict[str, tuple[str, str]]:
        """As of an experiment: what its training names and another section defines."""
        return {} if self.validation is None else self.validation.references()

    def splits(self, dataset: str) -> dict[str, tuple[str | None, str]]:
        """As of an experiment: splits beside that of the training."""
        return {} if self.validation is None else {"train.validation.split": (dataset, self.validation.split)}

    @property
    def views(self) -> dict[str, Any]:
        """Data augmentation: arguments of `training.views.draw`."""
        return {"flip": self.flip}

    @property
    def decays(self) -> tuple[float, ...]:
        """Of every average of the weights; the first is the one of ``model.safetensors``."""
        return self.ema if isinstance(self.ema, tuple) else (self.ema,)

    def validates(self, step: int) -> bool:
        """Whether the first average after ``step`` steps is validated."""
        return self.validation is not None and step % self.validation.every == 0

    @property
    def validated(self) -> Validation | None:
        """How the training that takes place is validated: none does where weights are imported."""
        return self.validation if self.published is None else None

    def keeps(self, step: int) -> bool:
        """Whether the averages after ``step`` steps are kept as checkpoints."""
        if step == self.steps:
            return self.keep_every is not None or len(self.decays) > 1
        return self.keep_every is not None and step % self.keep_every == 0

    @property
    def kept_steps(self) -> list[int]:
        """Steps whose averages are kept."""
        passed = [] if self.keep_every is None else range(self.keep_every, self.steps, self.keep_every)
        return [*passed, *([self.steps] if self.keeps(self.steps) else [])]

    @property
    def checkpoints(self) -> list[str]:
        """Names of everything that the training keeps beside its last weights."""
        if self.published is not None:
            return []
        names = [checkpoint_name(step, decay, self) for step in self.kept_steps for decay in self.decays]
        found = [name for name in names if name is not None]
        return found if self.validation is None else [*found, BEST]

    @model_validator(mode="after")
    def _lasting(self) -> Recipe:
        if self.lr_anneal_steps is not None and self.lr_anneal_steps < self.steps:
            raise ValueError(
                f"the learning rate is 0 after {self.lr_anneal_steps} steps (lr_anneal_steps), steps are"
                f" {self.steps}"
            )
        if len(self.kept_steps) > MOST_KEPT:
            raise ValueError(
                f"keep_every keeps {len(self.kept_steps)} checkpoints, at most {MOST_KEPT} can be"
            )
        every = {
            "keep_every": self.keep_every,
            "validation.every": None if self.validation is None else self.validation.every,
        }
        for key, steps in every.items():
            if steps is not None and steps > self.steps:
                raise ValueError(f"{key} is {steps}, the training ends after {self.steps} steps")
        return self


def checkpoint_name(step: int, decay: float, recipe: Recipe) -> str | None:
    """What an average is called after a step; None of the one that is ``model.safetensors``."""
    if decay == recipe.decays[0]:
        return None if step == recipe.steps else str(step)
    return f"{step}-ema-{decay!r}"


def _brief(steps: list[int]) -> str:
    """Steps as a person reads them, the last ones where there are many."""
    shown = ", ".join(map(str, steps[-SHOWN:]))
    return shown if len(steps) <= SHOWN else f"{steps[0]}, {steps[1]}, ..., {shown}"


class Checkpoint(Strict):
    """Which of the weights that a training kept are used."""

    checkpoint: Steps | Literal["best"] | None = Field(
        None,
        description="step whose averaged weights are used, one that train.keep_every keeps; best: the one"
        " that train.validation finds best; null: the last",
        exclude_if=absent,
    )
    ema: Decay | None = Field(
        None,
        description="which average is used, by its decay, where train.ema has several; null: the first",
        exclude_if=absent,
    )

    def missing(self, recipe: Recipe) -> tuple[str, str, str] | None:
        """Key of what a training does not keep, what is wrong, and what to write; None: it keeps all."""
        if recipe.published is not None and (self.checkpoint, self.ema) != (None, None):
            key = "ema" if self.checkpoint is None else "checkpoint"
            return key, "the weights are imported, so there is one file of them", "remove it"
        if self.ema is not None and self.ema not in recipe.decays:
            known = ", ".join(map(repr, recipe.decays))
            return "ema", f"no average of decay {self.ema!r} is trained", f"choose from train.ema: {known}"
        if self.checkpoint == "best":
            return self._no_best(recipe)
        steps = [*recipe.kept_steps, recipe.steps]
        if self.checkpoint is not None and self.checkpoint not in steps:
            what = f"no checkpoint of step {self.checkpoint} is kept"
            return "checkpoint", what, f"choose from {_brief(sorted({*steps}))}, or change train.keep_every"
        return None

    def _no_best(self, recipe: Recipe) -> tuple[str, str, str] | None:
        if recipe.validation is None:
            what = "the training finds no best checkpoint"
            return "checkpoint", what, "set train.validation, or name a step"
        if self.ema not in (None, recipe.decays[0]):
            what = f"the best checkpoint is of the average of decay {recipe.decays[0]!r}"
            return "ema", what, "remove it, or name a step"
        return None

    def file(self, recipe: Recipe) -> str:
        """Where they lie in the folder of an experiment."""
        if self.checkpoint == "best":
            return f"{CHECKPOINTS}/{BEST}.safetensors"
        step = recipe.steps if self.checkpoint is None else self.checkpoint
        name = checkpoint_name(step, recipe.decays[0] if self.ema is None else self.ema, recipe)
        return MODEL if name is None else f"{CHECKPOINTS}/{name}.safetensors"


class Checkpoints(Checkpoint):
    """Which weights of the source model and of the target model of a translation are used."""

    target_weights: Checkpoint | None = Field(
        None,
        description="checkpoint and ema of the target model; null: those of the source model",
        exclude_if=absent,
    )

    @property
    def of_target(self) -> Checkpoint:
        return self if self.target_weights is None else self.target_weights


class Distribution(Strict):
    """Settings of the comparison of a set of images with real ones."""

    extractor: Reference = Field(description="name of the extractor of the FID and KID")
    reference: Split = Field(
        "train", description="split of the real images; a split that holds the originals lowers the FID"
    )
    statistics: FilePath | None = Field(
        None,
        pattern=r"\.(npz|safetensors)$",
        description="reference in place of that split: NPZ of ADM's layout, images or mu and sigma",
        exclude_if=absent,
    )
    released: Annotated[dict[Split, FilePath], Field(min_length=1)] | None = Field(
        None,
        description="published statistics by the split that they are of, NPZ with mu and sigma: taken where"
        " it is the reference, without KID",
        exclude_if=absent,
    )
    kid: bool = Field(True, description="also measure the KID")

    @property
    def known(self) -> Self:
        """These settings, with published statistics of the reference named as what is compared with."""
        file = (
            None
            if self.released is None or self.statistics is not None
            else self.released.get(self.reference)
        )
        update = {} if file is None else {"statistics": file, "kid": False}
        return self.model_copy(update={**update, "released": None})

    def splits(self, dataset: str | None) -> dict[str, tuple[str | None, str]]:
        """Entry of an experiment's `splits`: no images of a reference whose statistics are published."""
        return {} if self.known.statistics else {"evaluate.reference": (dataset, self.reference)}

    @model_validator(mode="after")
    def _of_moments(self) -> Self:
        given = "kid" in self.model_fields_set and self.kid
        if given and self.known.statistics is not None and self.statistics is None:
            raise ValueError(
                "kid needs images of the reference, and released has its mean and covariance alone"
            )
        return self
