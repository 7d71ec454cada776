"""Image-to-image Schrödinger bridges: restoration (Liu et al. 2023).

The settings, the stages that read them and the files of these stand together, because every key is named in
all three; that is why the file is longer than others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator

from bridgepipe.config.defined import Defined, Files, network_in
from bridgepipe.config.networks import PlainAdmNetwork, RestorationNetwork
from bridgepipe.config.recipe import Checkpoint, Distribution, Recipe
from bridgepipe.config.values import (
    Apart,
    Ask,
    Calls,
    Corruption,
    Distinct,
    FilePath,
    Items,
    Label,
    Noise,
    OfMethod,
    OnDataset,
    Reference,
    Results,
    Seed,
    Several,
    Split,
    Strict,
    Times,
    Variant,
    Varied,
    absent,
    optional,
)
from bridgepipe.names import Json, degradations

Share = Annotated[float, Field(ge=0, le=1)]


class Beginning(Recipe):
    """Initial weights and data augmentation of an I2SB training."""

    new_channels: Literal["zero", "published"] = Field(
        "zero", description="initial weights of the input channels that cond_x1 adds"
    )
    turn: bool = Field(False, description="augment with the eight symmetries of a square")
    colours: Share = Field(0.0, description="share of images with colour augmentation")

    @property
    def views(self) -> dict[str, Any]:
        return {"flip": self.flip, "turn": self.turn, "colours": self.colours}


class Emphasis(Strict):
    """Which training examples are drawn more often; the defaults are I2SB's."""

    at_end: Share = Field(
        0.0, description="share of images at the degraded end, from which one-call restoration starts"
    )
    clean: Share = Field(
        0.0, description="share of undegraded images, which the network should leave unchanged"
    )


class Train(Emphasis, Beginning):
    """Training of I2SB."""

    distil: Annotated[int, Field(ge=1, le=4)] | None = Field(
        None,
        description="network calls of a student that is distilled from the trained bridge in init, see"
        " docs/bridge-samplers.md; null: ordinary training",
        exclude_if=absent,
    )


class SamplerSettings(Strict):
    """Settings of the sampler from the degraded image to the clean one."""

    sampler: Literal["ancestral", "implicit"] = Field(
        "ancestral", description="ancestral: the published sampler; implicit: docs/bridge-samplers.md"
    )
    eta: Noise = Field(1.0, description="eta of the implicit sampler; 0: noise is drawn once")
    order: Literal[1, 2, 3] = Field(2, description="order of the implicit sampler")
    solver: Literal["multistep", "midpoint", "heun"] = Field(
        "multistep",
        description="second order of the implicit sampler from calls before a step, inside it or at its end",
    )
    spacing: Literal["uniform", "angle", "log_snr"] = Field(
        "uniform", description="how the times of the network calls are spaced"
    )
    consistent: bool = Field(
        False, description="project every prediction onto the observed data (data consistency)"
    )


class Sample(SamplerSettings, Checkpoint, Varied):
    """Which images are restored, and the sampler settings."""

    dataset: Reference | None = Field(
        None, description="name of the dataset to restore; null: the experiment's own"
    )
    whole: bool = Field(
        False,
        description="restore the whole split of the experiment's own dataset, whatever sample.dataset says",
    )
    split: Split = Field("test", description="split of the images that are restored")
    count: Items | None = Field(
        None, description="number of images, selected at random with equal shares per class; null: all"
    )
    nfe: Calls = Field(10, description="network calls per image")
    clip: bool = Field(False, description="clamp predictions to [-1, 1]")
    seed: Seed = Field(0, description="seed of the corruptions and of the sampler's noise")


class Evaluate(Distribution):
    """Metrics of restored images."""

    classifier: Reference | None = Field(
        description="extractor that measures the top-1 accuracy; null: not measured"
    )


class StudySampler(SamplerSettings):
    """Settings of one sampler of a study."""

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> StudySampler:
        if self.sampler != "implicit":
            self.unread(info, {"eta", "order", "solver"}, "they apply to the implicit sampler only")
        return self


class Study(Strict):
    """Quality against network calls."""

    renamed: ClassVar[Mapping[str, str]] = {"walks": "samplers"}

    nfe: Annotated[tuple[Calls, ...], Distinct] = Field(
        (1, 2, 3, 5, 10, 20, 50, 100),
        min_length=1,
        description="network calls per image, one point of each curve per number",
    )
    count: Several | None = Field(None, description="number of images per point; null: sample.count")
    samplers: Annotated[dict[Label, StudySampler], Apart] = Field(
        {"ancestral": StudySampler()}, min_length=1, description="samplers by their labels in the figure"
    )


def distilled_sampling(calls: int) -> Json:
    """The sampler settings that a student of so many calls is trained for."""
    return {"nfe": calls, "sampler": "ancestral", "spacing": "uniform"}


class Restoration(Strict):
    """The degradation, and the bridge between degraded and clean images."""

    corruption: Corruption = Field(
        description="degradation, see docs/corruptions.md; paired: the dataset holds pairs"
    )
    variant: Variant = Field(
        "published",
        description="published: degradations and pixels as in I2SB's code; exact: as in its paper",
    )
    mask_file: FilePath | None = Field(
        None, description="file of the published freeform masks; null: masks are drawn at random"
    )
    interval: Times = Field(1000, multiple_of=2, description="number of timesteps of the bridge")
    beta_max: float = Field(
        0.3,
        gt=0,
        le=100,
        description="largest beta times the interval; larger values add more noise in the middle",
    )
    t0: float = Field(
        1e-4, gt=0, le=100, description="noise level that the network receives at the clean end"
    )
    T: float = Field(
        1.0, gt=0, le=100, description="noise level that the network receives at the degraded end"
    )
    ot_ode: bool = Field(False, description="deterministic bridge, the paper's OT-ODE")
    cond_x1: bool = Field(False, description="condition the network on the degraded image")
    add_x1_noise: bool = Field(
        False, description="add white noise of standard deviation 1 to the degraded image"
    )

    @property
    def masked(self) -> bool:
        """Whether the degradation reads masks from ``mask_file``."""
        return self.corruption == "mixture" or self.corruption.startswith("inpaint-freeform")


class RestorationTraining(Restoration, OnDataset, OfMethod):
    """Settings of the training of a bridge."""

    method: Literal["i2sb"] = "i2sb"
    network: RestorationNetwork
    train: Train


class RestorationSampling(Restoration, OnDataset, OfMethod):
    """Settings of the restoration of images."""

    method: Literal["i2sb"] = "i2sb"
    sample: Sample


class I2SB(Restoration, OnDataset):
    """Image-to-image Schrödinger bridge (Liu et al. 2023)."""

    results: ClassVar[Results] = Results(
        metrics=("fid", "accuracy", "restoration"), figures=("grid", "path", "loss"), own_table=True
    )

    network: RestorationNetwork = Field(PlainAdmNetwork(), description="architecture and its arguments")
    train: Train
    sample: Sample = Sample()
    evaluate: Evaluate
    study: Study | None = Field(None, description="quality against network calls; null: no study")

    @property
    def studied(self) -> int | None:
        """Images of a study, by default those of the table: two numbers of one name are of as many images."""
        count = None if self.study is None else self.study.count
        return self.sample.count if count is None else count

    @property
    def sampled(self) -> str:
        """The dataset whose images are restored and measured."""
        return self.dataset if self.sample.whole else self.sample.dataset or self.dataset

    def references(self) -> dict[str, tuple[str, str]]:
        """Key -> (section, name) of everything that is named here and defined elsewhere."""
        return {
            "dataset": ("datasets", self.dataset),
            "sample.dataset": ("datasets", self.sampled),
            "evaluate.extractor": ("extractors", self.evaluate.extractor),
            **optional("evaluate.classifier", "extractors", self.evaluate.classifier),
            **self.train.references(),
        }

    def splits(self) -> dict[str, tuple[str | None, str]]:
        """Key -> (dataset, split) of everything that reads a split; None: the dataset of the model."""
        return {
            "sample.split": (self.sampled, self.sample.split),
            **self.evaluate.splits(self.dataset),
            **self.train.splits(self.dataset),
        }

    def asks(self) -> list[Ask]:
        counts = {"sample.count": self.sample.count, "study.count": self.study.count if self.study else None}
        return [(key, self.sampled, self.sample.split, count, None) for key, count in counts.items()]

    def stages(self) -> dict[str, Strict]:
        """The settings of each stage."""
        masks = self.mask_file if self.masked else None
        study = None if self.study is None else self.study.model_copy(update={"count": self.studied})
        training = {"train": RestorationTraining.of(self, mask_file=masks)}
        return {
            **({} if self.base else training),
            "sample": RestorationSampling.of(self, mask_file=masks),
            "evaluate": self.evaluate.known,
            **({} if study is None else {"study": study}),
        }

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """The files of other stages that each stage reads."""
        store = defined.split(self.sampled, self.sample.split)
        measured = defined.distribution(self.dataset, self.evaluate, self.train, store)
        restored, degraded = f"{folder}/restored.lmdb", f"{folder}/corrupted.lmdb"
        beside = {"corrupted": degraded, "originals": store}
        images = {"data": store, "sources": defined.sources(self.sampled, self.sample.split)}
        network = network_in(f"results/{self.base}" if self.base else folder, self.sample.file(self.train))
        sampling = {**network, **images}
        config, evaluate = (f"{folder}/config/{stage}.json" for stage in ("study", "evaluate"))
        sample = f"{folder}/config/sample.json"
        configs = {"config": config, "sample_config": sample}
        training = {} if self.base else {"train": defined.training(self.dataset, self.train, restored=True)}
        return {
            **training,
            "sample": sampling,
            "study": {**configs, "evaluate_config": evaluate, **sampling, **measured},
            "fid": {"config": evaluate, "images": restored, **beside, **measured},
            "restoration": {"restored": restored, **beside},
            "accuracy": {"restored": restored, **beside},
            "grid": {"restored": restored, **beside},
            "photographs": {"config": sample, **network},
        }

    def named_files(self) -> dict[str, str]:
        """Key -> path of every file, other than of weights, that a person names and that is read."""
        return {"mask_file": self.mask_file} if self.masked and self.mask_file is not None else {}

    @model_validator(mode="after")
    def _possible(self) -> I2SB:
        if self.t0 >= self.T:
            raise ValueError(f"t0 must be below T ({self.T:g}), is {self.t0:g}")
        if self.sample.nfe >= self.interval:
            raise ValueError(f"sample.nfe must be below interval ({self.interval}), is {self.sample.nfe}")
        if what := self._knobs(self.sample):
            raise ValueError(f"sample.{what}")
        for name, settings in self.study.samplers.items() if self.study else ():
            if what := self._knobs(settings):
                raise ValueError(f"study.samplers.{name}.{what}")
        if self.study and max(self.study.nfe) >= self.interval:
            raise ValueError(f"study.nfe must stay below interval ({self.interval})")
        return self

    def _knobs(self, how: SamplerSettings) -> str | None:
        """What is wrong with the settings of a sampler."""
        if how.consistent and not degradations.agrees(self.corruption):
            return f"consistent needs a corruption whose operator is known, which {self.corruption} is not"
        if how.sampler != "implicit":
            return None
        if self.ot_ode and how.eta:
            return "eta must be 0 with ot_ode, whose bridge has no noise"
        if how.solver != "multistep" and (how.order != 2 or how.eta):
            return f"solver {how.solver} takes order 2 and eta 0"
        if how.order == 3 and how.eta:
            return "eta must be 0 at order 3"
        return "eta must be 0 or 1 at order 2" if how.order == 2 and how.eta not in (0, 1) else None

    def contradiction(self, size: tuple[int, int]) -> tuple[str, str] | None:
        """The key that does not go with images of a size, and why; None: all do."""
        pixels = f"{size[0]} x {size[1]} pixels"
        jpeg = self.corruption == "mixture" or "jpeg" in degradations.kinds(self.corruption)
        if jpeg and self.variant == "published" and any(side % 16 for side in size):
            return "corruption", f"published JPEG takes multiples of 16 pixels, not {pixels}"
        quartered = self.corruption == "mixture" or self.corruption.startswith("sr4x-")
        if quartered and any(side % 4 for side in size):
            return "corruption", f"{pixels} cannot be reduced by 4"
        if self.mask_file is not None and self.masked and size != MASKS:
            return "mask_file", f"its masks are of {MASKS[0]} x {MASKS[1]} pixels, the images of {pixels}"
        found = self.network.contradiction(size)
        return found and (f"network.{found[0]}", found[1])


MASKS = (256, 256)  # published freeform ones
