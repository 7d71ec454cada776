"""Sections of params.yaml about Gaussian diffusion models and what is done with them.

Longer than other files, so that the settings of a model stand beside those of its guides and samples.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator

from bridgepipe.config.defined import Defined, Files, network_in
from bridgepipe.config.networks import AdmNetwork, DdpmNetwork, Network
from bridgepipe.config.recipe import Checkpoint, Distribution, Recipe
from bridgepipe.config.values import (
    Apart,
    Calls,
    Distinct,
    Label,
    Noise,
    OfMethod,
    OwnSpacing,
    Reference,
    Results,
    Seed,
    Several,
    Strict,
    Times,
    Variant,
    Varied,
)
from bridgepipe.names import Drawn
from bridgepipe.names.nfe import SamplerName

Constant = Annotated[float, Field(gt=0, le=1e6)]


class Noising(Strict):
    """The noise schedule."""

    schedule: Literal["linear", "cosine", "scaled_linear", "shortest_path"] = Field(
        "linear", description="noise schedule; shortest_path treats every spatial frequency separately"
    )
    T: Times = Field(1000, description="number of timesteps")
    c1: Constant | None = Field(
        None, description="c1 of shortest_path's power law c1 / (c2 + k)^m; null: fitted"
    )
    c2: Constant | None = Field(None, description="c2 of the same power law; null: fitted")
    m: Constant | None = Field(None, description="m of the same power law; null: fitted")
    variant: Variant = Field(
        "published",
        description="published: shortest_path in float32, as its authors' code; exact: in float64",
    )
    rescale_timesteps: bool = Field(False, description="the network receives t * 1000 / T in place of t")

    @property
    def fitted(self) -> bool:
        """Whether the spectrum is fitted to the training data."""
        return self.schedule == "shortest_path" and self.c1 is None

    @model_validator(mode="after")
    def _schedule(self) -> Noising:
        given = [v is not None for v in (self.c1, self.c2, self.m)]
        if any(given) and not all(given):
            raise ValueError("c1, c2 and m go together")
        check_betas(self.schedule, self.T)
        return self

    def contradiction(self, size: tuple[int, int]) -> str | None:
        """Why the constants give images of a size no schedule that falls at every step; None: they do.

        alpha_bar is (1 - S^tau) / (1 - S): at every power S its steps have to be above the rounding.
        """
        if self.schedule != "shortest_path" or self.c1 is None or self.c2 is None or self.m is None:
            return None
        published = self.variant == "published"
        rounding, largest = (2**-24, 87.0) if published else (2**-53, 700.0)
        for k in frequencies(size):
            log = math.log(self.c1) - self.m * math.log(self.c2 + k)
            if abs(log) > largest:
                return f"the power at frequency {k:.3g} is 10^{log / math.log(10):.0f}"
            if published and abs(log) / self.T < rounding:
                return f"the power at frequency {k:.3g} is 1, where the published formula divides by 0"
            if log < 0 and math.exp(log) * -log / self.T < rounding:
                return f"the power {math.exp(log):.1e} at frequency {k:.3g} is lost to rounding"
        return None


def frequencies(size: tuple[int, int]) -> list[float]:
    """Distinct radial frequencies of images, in cycles per shorter side, ascending."""
    height, width = size
    squares = {
        (y / height) ** 2 + (x / width) ** 2 for y in range(height // 2 + 1) for x in range(width // 2 + 1)
    }
    return [min(size) * math.sqrt(square) for square in sorted(squares)]


def check_betas(schedule: str, T: int) -> None:
    """Raise ValueError when the largest beta of a schedule reaches 1."""
    if schedule == "linear" and T <= 20:
        raise ValueError(f"schedule: linear needs T above 20, as its betas reach 20 / T; T is {T}")


class Process(Noising):
    """The diffusion process, and what the network predicts."""

    prediction: Literal["eps", "x0", "v"] = Field(
        "eps", description="what the network predicts: the noise, the clean image, or v = a eps - s x0"
    )
    variance: Literal["fixed_large", "fixed_small", "learned", "learned_range"] = Field(
        "fixed_large",
        description="variance of an ancestral step: beta, the posterior's, or learned between the two",
    )
    loss: Literal["mse", "rescaled_mse", "kl", "rescaled_kl"] = Field(
        "mse", description="mean squared error or variational bound, as ADM names them"
    )
    times: Drawn = Field("uniform", description="how training samples timesteps")

    @model_validator(mode="after")
    def _possible(self) -> Process:
        if self.schedule == "shortest_path" and (self.variance.startswith("learned") or "kl" in self.loss):
            raise ValueError("shortest_path needs a fixed variance and an mse loss")
        return self


class Model(Strict):
    """A Gaussian diffusion model of images, trained once and used by every experiment that names it."""

    dataset: Reference = Field(description="name of the dataset to train on")
    conditional: bool = Field(False, description="class-conditional: the network receives the label")
    drop_labels: float = Field(
        0.0, ge=0, lt=1, description="share of labels that training replaces by the null label"
    )
    process: Process = Field(Process(), description="diffusion process")
    network: Annotated[AdmNetwork | DdpmNetwork, Field(discriminator="kind")] = Field(
        description="architecture and its arguments"
    )
    train: Recipe

    def references(self) -> dict[str, tuple[str, str]]:
        return {"dataset": ("datasets", self.dataset), **self.train.references()}

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {"dataset": (self.dataset, "train"), **self.train.splits(self.dataset)}

    def stages(self) -> dict[str, Strict]:
        return {"train": ModelTraining.of(self)}

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files of other stages that each stage reads."""
        return {"train": defined.training(self.dataset, self.train, self.process.fitted)}

    @model_validator(mode="after")
    def _possible(self) -> Model:
        if self.drop_labels and not self.conditional:
            raise ValueError("drop_labels needs conditional: true")
        if self.conditional and self.network.kind != "adm":
            raise ValueError("conditional needs a network of kind adm")
        return self


class ModelTraining(Model, OfMethod):
    """Settings of the training of a model."""

    method: Literal["model"] = "model"


class Guide(Strict):
    """A classifier of noisy images that guides a model of the same process."""

    dataset: Reference = Field(description="name of the dataset to train the classifier on")
    process: Noising = Noising()
    network: Network = Network()
    pool: Literal["attention", "adaptive"] = Field(
        "attention",
        description="pooling of the features: attention, as in ADM's classifiers, or their mean",
    )
    train: Recipe

    def references(self) -> dict[str, tuple[str, str]]:
        return {"dataset": ("datasets", self.dataset), **self.train.references()}

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {"dataset": (self.dataset, "train"), **self.train.splits(self.dataset)}

    def stages(self) -> dict[str, Strict]:
        return {"train": GuideTraining.of(self)}

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files of other stages that each stage reads."""
        return {"train": defined.training(self.dataset, self.train, self.process.fitted)}


class GuideTraining(Guide, OfMethod):
    """Settings of the training of a guide."""

    method: Literal["guide"] = "guide"


class Generate(Checkpoint, Varied):
    """How samples are generated."""

    sampler: SamplerName = Field(
        "ancestral",
        description="ancestral is DDPM's; the others solve the ODE, ddim with noise where eta is above 0",
    )
    nfe: Calls = Field(100, description="maximum network calls per sample")
    eta: Noise = Field(0.0, description="eta of the ddim sampler")
    spacing: OwnSpacing = Field(
        None,
        validate_default=True,
        description="spacing of the timesteps: uniform, quadratic, or in log SNR; null: the sampler's own",
    )
    clip: bool = Field(True, description="clamp predictions of the clean image to [-1, 1]")
    count: Several = Field(256, description="number of samples")
    seed: Seed = Field(0, description="seed of the samples' noise")
    variant: Variant = Field(
        "exact",
        description="published: 8-bit pixels are truncated, and clip does nothing to Shortest-Path Diffusion;"
        " exact: they are rounded, and clip holds",
    )

    @model_validator(mode="before")
    @classmethod
    def _spelled_as_by_adm(cls, data: Any) -> Any:
        """``nfe: ddim25``, of ADM's ``timestep_respacing``, is 25 calls of the ddim sampler."""
        nfe = data.get("nfe") if isinstance(data, dict) else None
        spelled = re.fullmatch(r"ddim([1-9]\d{0,5})", nfe) if isinstance(nfe, str) else None
        if spelled is None:
            return data
        if data.get("sampler", "ddim") != "ddim":
            raise ValueError(f"sample.nfe {nfe} is of the ddim sampler, sample.sampler is {data['sampler']}")
        return {**data, "nfe": int(spelled[1]), "sampler": "ddim"}

    @model_validator(mode="after")
    def _possible(self) -> Generate:
        if self.eta and self.sampler != "ddim":
            raise ValueError("sample.eta applies to the ddim sampler only")
        return self


class GaussianSamplerSettings(Strict):
    """Settings of one sampler of a study."""

    sampler: SamplerName = Field("ddim", description="as sample.sampler")
    eta: Noise = Field(0.0, description="eta of the ddim sampler")
    spacing: OwnSpacing = Field(None, validate_default=True, description="as sample.spacing")
    clip: bool = Field(True, description="clamp predictions of the clean image to [-1, 1]")

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> GaussianSamplerSettings:
        if self.sampler != "ddim":
            self.unread(info, {"eta"}, "it applies to the ddim sampler only")
        return self


class GaussianStudy(Strict):
    """FID against network calls."""

    renamed: ClassVar[Mapping[str, str]] = {"walks": "samplers"}

    nfe: Annotated[tuple[Annotated[Calls, Field(ge=3)], ...], Distinct] = Field(
        (5, 10, 20, 50, 100),
        min_length=1,
        description="network calls per sample, one point of each curve per number",
    )
    count: Several | None = Field(None, description="samples per point; null: sample.count")
    samplers: Annotated[dict[Label, GaussianSamplerSettings], Apart] = Field(
        {"ddim": GaussianSamplerSettings()},
        min_length=1,
        description="samplers by their labels in the figure",
    )


class GenerationStudy(GaussianStudy):
    """Settings of the study of a model's samplers."""

    count: Several
    seed: Seed
    variant: Variant


class GenerationSampling(OfMethod):
    """Settings of the generation of samples."""

    method: Literal["spd"] = "spd"
    model: Reference
    sample: Generate


class Generation(Strict):
    """Samples of a model: DDPM, DDIM and Shortest-Path Diffusion."""

    results: ClassVar[Results] = Results(metrics=("fid",), figures=("grid",), own_table=True)

    model: Reference = Field(description="name of an experiment of experiments.model")
    sample: Generate = Generate()
    evaluate: Distribution
    study: GaussianStudy | None = Field(None, description="FID against network calls; null: no study")

    @property
    def studied(self) -> int:
        """Samples of a study, by default as many as those of the table."""
        count = None if self.study is None else self.study.count
        return self.sample.count if count is None else count

    def references(self) -> dict[str, tuple[str, str]]:
        return {
            "model": ("model", self.model),
            "evaluate.extractor": ("extractors", self.evaluate.extractor),
        }

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return self.evaluate.splits(None)

    def stages(self) -> dict[str, Strict]:
        shared = {"seed": self.sample.seed, "variant": self.sample.variant, "count": self.studied}
        study = {} if self.study is None else {"study": GenerationStudy.of(self.study, **shared)}
        return {"sample": GenerationSampling.of(self), "evaluate": self.evaluate.known, **study}

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files of other stages that each stage reads."""
        dataset = defined.experiments[f"model/{self.model}"].dataset
        recipe = defined.experiments[f"model/{self.model}"].train
        measured = defined.distribution(dataset, self.evaluate, recipe)
        model = network_in(f"results/model/{self.model}", self.sample.file(recipe))
        study, evaluate = (f"{folder}/config/{stage}.json" for stage in ("study", "evaluate"))
        return {
            "sample": model,
            "study": {"config": study, "evaluate_config": evaluate, **model, **measured},
            "fid": {"config": evaluate, "images": f"{folder}/samples.lmdb", **measured},
            "grid": {"images": f"{folder}/samples.lmdb"},
        }
