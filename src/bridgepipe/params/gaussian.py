"""Sections of params.yaml about Gaussian diffusion models and what is done with them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bridgepipe.names import Sampler, Spacing, Times
from bridgepipe.params.common import Strict, Variant
from bridgepipe.params.experiments import Distribution, Network, Recipe


class Process(Strict):
    """How data become noise, and what the network predicts."""

    schedule: Literal["linear", "cosine", "scaled_linear", "shortest_path"] = "linear"
    T: int = Field(1000, ge=2)
    c1: float | None = Field(None, gt=0, description="of shortest_path's c1 / (c2 + k)^m; null: fitted")
    c2: float | None = Field(None, gt=0)
    m: float | None = Field(None, gt=0)
    variant: Variant = "published"
    prediction: Literal["eps", "x0", "v"] = "eps"
    variance: Literal["fixed_large", "fixed_small", "learned", "learned_range"] = "fixed_large"
    rescale_timesteps: bool = Field(False, description="the network is told t 1000/T")
    loss: Literal["mse", "rescaled_mse", "kl", "rescaled_kl"] = "mse"
    times: Times = Field("uniform", description="how training draws them")

    @property
    def fitted(self) -> bool:
        """Whether the spectrum is fitted to the training data."""
        return self.schedule == "shortest_path" and self.c1 is None

    @model_validator(mode="after")
    def _possible(self) -> Process:
        given = [v is not None for v in (self.c1, self.c2, self.m)]
        if any(given) and not all(given):
            raise ValueError("c1, c2 and m go together")
        if self.schedule == "shortest_path" and (self.variance.startswith("learned") or "kl" in self.loss):
            raise ValueError("shortest_path needs a fixed variance and an mse loss")
        return self


class AdmNetwork(Network):
    kind: Literal["adm"]


class DdpmNetwork(Strict):
    """U-Net of DDPM, in the words of its constructor."""

    kind: Literal["ddpm"]
    ch: int = Field(128, ge=32, multiple_of=32)
    num_res_blocks: int = Field(2, ge=1)
    attn_resolutions: tuple[int, ...] = Field((16,), description="sizes in pixels with attention")
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4, 4)
    dropout: float = Field(0.0, ge=0, lt=1)


class PointNetwork(Strict):
    """DDIB's network of points."""

    kind: Literal["points"] = "points"
    model_channels: int = Field(256, ge=64, multiple_of=32)
    num_res_blocks: int = Field(3, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    frequencies: int = Field(0, ge=0, le=8, description="octaves of sines of the coordinates; 0 as published")


class Model(Strict):
    """A Gaussian diffusion model of images, trained once and used by every experiment that names it."""

    dataset: str
    conditional: bool = Field(False, description="the network is told the class")
    drop_labels: float = Field(0.0, ge=0, lt=1, description="share of labels hidden in training")
    process: Process = Process()
    network: Annotated[AdmNetwork | DdpmNetwork, Field(discriminator="kind")]
    train: Recipe

    def references(self) -> dict[str, tuple[str, str]]:
        return {"dataset": ("datasets", self.dataset)}

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {"dataset": (self.dataset, "train")}

    def stages(self) -> dict[str, dict[str, Any]]:
        return {"train": {"method": "model", **self.model_dump(mode="json")}}

    @model_validator(mode="after")
    def _possible(self) -> Model:
        if self.drop_labels and not self.conditional:
            raise ValueError("drop_labels needs conditional: true")
        if self.conditional and self.network.kind != "adm":
            raise ValueError("conditional needs a network of kind adm")
        return self


class Guide(Strict):
    """A classifier of noisy images, which guides a model of the same process."""

    dataset: str
    process: Process = Process()
    network: Network = Network()
    pool: Literal["attention", "adaptive"] = "attention"
    train: Recipe

    def references(self) -> dict[str, tuple[str, str]]:
        return {"dataset": ("datasets", self.dataset)}

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {"dataset": (self.dataset, "train")}

    def stages(self) -> dict[str, dict[str, Any]]:
        return {"train": {"method": "guide", **self.model_dump(mode="json")}}


class Generate(Strict):
    """How samples are drawn."""

    sampler: Sampler = "ancestral"
    nfe: int = Field(100, ge=1, description="network calls per sample, at most")
    eta: float = Field(0.0, ge=0, description="noise of the sampler ddim")
    spacing: Spacing = "uniform"
    clip: bool = Field(True, description="clamp predictions of the clean image to [-1, 1]")
    count: int = Field(256, ge=2, description="samples")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Generate:
        if self.eta and self.sampler != "ddim":
            raise ValueError("sample.eta is of the sampler ddim alone")
        return self


class GaussianWalk(Strict):
    """One sampler of a study."""

    sampler: Sampler = "ddim"
    eta: float = Field(0.0, ge=0)
    spacing: Spacing = "uniform"
    clip: bool = True


class GaussianStudy(Strict):
    """FID against network calls."""

    nfe: tuple[Annotated[int, Field(ge=3)], ...] = (5, 10, 20, 50, 100)
    count: int = Field(256, ge=2, description="samples of every point")
    walks: dict[str, GaussianWalk] = Field(
        {"ddim": GaussianWalk()}, description="samplers by the name in the figure"
    )


class Generation(Strict):
    """Samples of a model: DDPM, DDIM and Shortest-Path Diffusion."""

    model: str = Field(description="a name of experiments.model")
    sample: Generate = Generate()
    evaluate: Distribution
    study: GaussianStudy | None = None

    def references(self) -> dict[str, tuple[str, str]]:
        return {
            "model": ("model", self.model),
            "evaluate.extractor": ("extractors", self.evaluate.extractor),
        }

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {"evaluate.reference": (None, self.evaluate.reference)}

    def stages(self) -> dict[str, dict[str, Any]]:
        e = self.model_dump(mode="json")
        study = {} if e["study"] is None else {"study": {**e["study"], "seed": e["sample"]["seed"]}}
        sample = {"method": "spd", "model": e["model"], "sample": e["sample"]}
        return {"sample": sample, "evaluate": e["evaluate"], **study}
