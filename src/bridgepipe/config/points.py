"""Sections of params.yaml about DDIB between sets of points: domains of the plane, colours of photographs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator

from bridgepipe.config.defined import Defined, Files, network_in
from bridgepipe.config.gaussian import check_betas
from bridgepipe.config.networks import PointNetwork
from bridgepipe.config.recipe import Checkpoint, Checkpoints, Recipe
from bridgepipe.config.values import (
    Apart,
    Calls,
    Items,
    Label,
    OfMethod,
    OwnSpacing,
    Reference,
    Results,
    Seed,
    Strict,
    Times,
    Varied,
)
from bridgepipe.names import Drawn, Json, Spacing
from bridgepipe.names.nfe import INVERTIBLE, SOLVER_TRAITS, SolverName


class PointProcess(Strict):
    """The diffusion process of points, and what the network predicts."""

    schedule: Literal["linear", "cosine", "scaled_linear"] = Field("linear", description="noise schedule")
    T: Times = Field(1000, description="number of timesteps")
    rescale_timesteps: bool = Field(False, description="the network receives t * 1000 / T in place of t")
    prediction: Literal["eps", "x0", "v"] = Field(
        "eps", description="what the network predicts: the noise, the clean point, or v = a eps - s x0"
    )
    times: Drawn = Field("uniform", description="how training samples timesteps")

    @property
    def fitted(self) -> bool:
        """Points have no spectrum."""
        return False

    @model_validator(mode="after")
    def _possible(self) -> PointProcess:
        check_betas(self.schedule, self.T)
        return self


class SolverSettings(Strict):
    """Settings of the ODE solver, in both directions."""

    solver: SolverName = Field("obelm", description="ODE solver, in both directions")
    nfe: Annotated[Calls, Field(ge=3)] | None = Field(
        50, description="maximum network calls per direction; null: every timestep"
    )
    spacing: Spacing = Field("log_snr", description="how the times of the network calls are spaced")
    grid: Literal["exact", "ddib"] = Field(
        "exact", description="exact: the same timesteps in both directions; ddib: as published"
    )

    @model_validator(mode="after")
    def _possible(self) -> SolverSettings:
        if self.grid != "exact" and not SOLVER_TRAITS[self.solver].reaches_data:
            raise ValueError(f"grid must be exact with {self.solver}, whose rule ends before pure noise")
        return self


class CycleSettings(SolverSettings):
    """Settings of a cycle a -> b -> a."""

    renamed: ClassVar[Mapping[str, str]] = {"keep": "state_pair"}

    state_pair: bool = Field(
        True, description="start the way back from obelm's final state pair; false: from the points alone"
    )

    @model_validator(mode="after")
    def _read(self, info: ValidationInfo) -> CycleSettings:
        if not SOLVER_TRAITS[self.solver].invertible:
            self.unread(info, {"state_pair"}, f"only {' and '.join(INVERTIBLE)} has a pair of states")
        if self.nfe is None:
            self.unread(info, {"spacing"}, "every step is taken")
        return self


# of every step; nothing reads the spacing
FULL = CycleSettings.model_construct(solver="ddim", nfe=None, spacing="uniform", grid="ddib", state_pair=True)
ALL_STEPS = "DDIM, all steps"


def _cycles() -> dict[str, CycleSettings]:
    return {
        **{
            f"DDIM {n}": CycleSettings(solver="ddim", nfe=n, spacing="uniform", grid="ddib")
            for n in (50, 100, 250)
        },
        "multistep3 50": CycleSettings(solver="multistep3"),
        "UniPC-3 50": CycleSettings(solver="unipc3"),
        "O-BELM 50, points alone": CycleSettings(state_pair=False),
        "O-BELM 50, state pair": CycleSettings(),
    }


class Generated(Checkpoint, Varied):
    """How points are sampled from a model, and how many points are encoded to test its latents."""

    solver: SolverName = Field("unipc3", description="ODE solver")
    nfe: Annotated[Calls, Field(ge=3)] = Field(50, description="maximum network calls per point")
    spacing: OwnSpacing = Field(
        None,
        validate_default=True,
        description="how the times of the network calls are spaced; null: the solver's own",
    )
    count: Annotated[Items, Field(ge=100)] = Field(80_000, description="number of samples")
    latents: Annotated[Items, Field(ge=100)] = Field(10_000, description="number of test points to encode")
    seed: Seed = Field(0, description="seed of the samples' noise")


class PointModel(Strict):
    """A Gaussian diffusion model of points."""

    dataset: Reference = Field(
        description="name of a dataset; default: the dataset with the experiment's name"
    )
    process: PointProcess = PointProcess()
    network: PointNetwork = PointNetwork()
    train: Recipe

    @classmethod
    def named(cls, name: str) -> Json:
        """The dataset of the same name."""
        return {"dataset": name}

    def references(self) -> dict[str, tuple[str, str]]:
        return {"dataset": ("datasets", self.dataset), **self.train.references()}

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {"dataset": (self.dataset, "test"), **self.train.splits(self.dataset)}

    def stages(self) -> dict[str, Strict]:
        return {} if self.base else {"train": PointTraining.of(self)}

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files of other stages that each stage reads."""
        return {} if self.base else {"train": defined.training(self.dataset, self.train)}


class PointTraining(PointModel, OfMethod):
    """Settings of the training of a model of points."""

    method: Literal["points"] = "points"


class Domain(PointModel):
    """A domain of the plane: its model, and samples of it."""

    results: ClassVar[Results] = Results(metrics=("metrics",), figures=("scatter", "loss"))

    sample: Generated = Generated()

    def stages(self) -> dict[str, Strict]:
        return {**super().stages(), "sample": self.sample}

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files of other stages that each stage reads."""
        true = defined.split(self.dataset, "test")
        measured = {"samples": f"{folder}/samples.safetensors", "truth": true}
        return {
            **super().files(folder, defined),
            "sample": {
                **network_in(f"results/{self.base}" if self.base else folder, self.sample.file(self.train)),
                "data": true,
            },
            "evaluate": measured,
        }


class Ends(Strict):
    """The source model and the target model of a translation."""

    models: ClassVar[str]  # the section of both

    source: Reference = Field(description="name of the source model")
    target: Reference = Field(description="name of the target model")

    def references(self) -> dict[str, tuple[str, str]]:
        return {"source": (self.models, self.source), "target": (self.models, self.target)}

    def splits(self) -> dict[str, tuple[str | None, str]]:
        return {}

    @model_validator(mode="after")
    def _two(self) -> Ends:
        if self.source == self.target:
            raise ValueError("source and target must differ")
        return self


class BetweenNetworks(Ends, Checkpoints):
    """The models of a translation, and which of their weights are used."""

    @property
    def networks(self) -> tuple[tuple[str, Checkpoint], tuple[str, Checkpoint]]:
        """The experiment of each model, and which of its weights are used."""
        return (f"{self.models}/{self.source}", self), (f"{self.models}/{self.target}", self.of_target)

    def both_models(self, defined: Defined) -> Files:
        """Weights of both models, and the settings of their trainings."""
        a, b = (
            network_in(f"results/{name}", weights.file(defined.experiments[name].train))
            for name, weights in self.networks
        )
        source = {"source": a["model"], "source_config": a["train_config"]}
        return {**source, "target": b["model"], "target_config": b["train_config"]}

    def test_points(self, defined: Defined) -> tuple[str, str]:
        """The test points of the source and of the target."""
        source, target = (
            defined.split(defined.experiments[name].dataset, "test") for name, _ in self.networks
        )
        return source, target


class Pairwise(Ends):
    """Two domains, and the seed that selects points."""

    seed: Seed = Field(0, description="seed that selects points")


class PointTranslating(Pairwise):
    """Settings of the translation of points."""

    translate: SolverSettings
    count: Items


class PointCycles(Pairwise):
    """Settings of the cycles of points."""

    cycle: dict[Label, CycleSettings]
    count: Items


class PointDistances(Strict):
    """Settings of the metrics of translated points."""

    exact: int
    seed: Seed


class PointTranslation(Pairwise, BetweenNetworks):
    """DDIB from one domain of the plane to another; by default, the name ``a-b`` gives both domains."""

    models: ClassVar[str] = "ddib/sample"
    results: ClassVar[Results] = Results(
        metrics=("transport", "cycle"), figures=("map",), tables=("table", "cycle")
    )

    translate: SolverSettings = SolverSettings()
    count: Annotated[Items, Field(ge=100)] = Field(
        10_000, description="number of points of the source's test split to translate"
    )
    exact: int = Field(
        2000, ge=10, le=50_000, description="points per exact transport plan; the time grows with their cube"
    )
    cycle: Annotated[dict[Label, CycleSettings], Apart] = Field(
        _cycles(), min_length=1, description="solver settings by their column in the table of cycles"
    )
    full: bool = Field(False, description="add the published cycle: DDIM at every timestep, grid ddib")
    cycle_count: Annotated[Items, Field(ge=10)] = Field(500, description="number of points to cycle")

    @classmethod
    def named(cls, name: str) -> Json:
        """What follows from the experiment's name."""
        source, _, target = name.partition("-")
        return {"source": source, "target": target}

    @model_validator(mode="after")
    def _columns(self) -> PointTranslation:
        if self.full and ALL_STEPS in self.cycle:
            raise ValueError(f"cycle has a column '{ALL_STEPS}', which full: true adds")
        return self

    def stages(self) -> dict[str, Strict]:
        cycle = self.cycle | ({ALL_STEPS: FULL} if self.full else {})
        return {
            "translate": PointTranslating.of(self),
            "cycle": PointCycles.of(self, cycle=cycle, count=self.cycle_count),
            "evaluate": PointDistances.of(self),
        }

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files of other stages that each stage reads."""
        models, (data, truth) = self.both_models(defined), self.test_points(defined)
        return {
            "translate": {**models, "data": data},
            "cycle": {**models, "data": data, "truth": truth},
            "evaluate": {"translated": f"{folder}/translated.safetensors", "truth": truth},
        }
