"""Sections of params.yaml about experiments: what is trained, sampled and measured, and how it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bridgepipe.names import Precision
from bridgepipe.params.common import Split, Strict, Variant


class Runtime(Strict):
    """How things run. Changes speed, never results: an edit re-runs nothing."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Precision = Field("tf32", description="tf32: as PyTorch on a GPU; fp32: exact there too")
    compile: bool = Field(False, description="torch.compile the network")
    channels_last: Literal["auto"] | bool = Field("auto", description="memory layout; auto: on a CPU")
    threads: int = Field(2, ge=1, description="CPU threads of a compute job")
    processes: int = Field(
        1, ge=1, description="processes, one GPU each, that share a job of training, sampling or features"
    )
    batch_size: int = Field(64, ge=1, description="images per network call when sampling or evaluating")
    microbatch: int | None = Field(None, ge=1, description="images per call in training; null: whole batch")
    partitions: int = Field(1, ge=1, le=9999, description="parallel sampling jobs")
    save_every: int = Field(100, ge=1, description="training steps between saved states")
    tensorboard: bool = False


class Network(Strict):
    """ADM U-Net, in the words of its constructor."""

    model_channels: int = Field(32, ge=32, multiple_of=32)
    num_res_blocks: int = Field(1, ge=1)
    channel_mult: tuple[int, ...] = (1, 2, 2)
    attention_resolutions: tuple[int, ...] = Field((4,), description="downsampling rates with attention")
    num_heads: int = Field(4, ge=1)
    num_head_channels: int = -1
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)


class Recipe(Strict):
    """How a network is trained."""

    steps: int = Field(ge=1)
    batch_size: int = Field(64, ge=1, description="images per optimiser step, over all processes")
    lr: float = Field(5e-5, gt=0)
    lr_gamma: float = Field(1.0, gt=0, le=1, description="factor of the step decay")
    lr_step: int = Field(1000, ge=1, description="steps between decays")
    weight_decay: float = Field(0.0, ge=0)
    ema: float = Field(0.99, ge=0, lt=1)
    grad_clip: float | None = Field(None, gt=0)
    flip: bool = Field(False, description="random horizontal flips")
    seed: int = Field(0, ge=0)
    log_every: int = Field(10, ge=1)
    published: str | None = Field(
        None, description="a name of sources.yaml: import these weights, don't train"
    )


class Train(Recipe):
    """Training of I2SB."""

    init: str | None = Field(None, description="published ADM weights to start from; null: random")
    new_channels: Literal["zero", "published"] = Field(
        "zero", description="start of cond_x1's input channels"
    )


class Sample(Strict):
    dataset: str | None = Field(None, description="restore this dataset's split instead of the experiment's")
    whole: bool = Field(False, description="ignore sample.dataset: restore the experiment's own whole split")
    split: Split = "test"
    count: int | None = Field(None, ge=1, description="only the first images; null: all")
    nfe: int = Field(10, ge=1, description="network calls per image")
    clip: bool = Field(False, description="clamp predictions to [-1, 1]")
    sampler: Literal["ancestral", "implicit"] = Field(
        "ancestral", description="ancestral is the published one"
    )
    eta: float = Field(1.0, ge=0, description="noise of the implicit sampler; 0: drawn once")
    order: Literal[1, 2] = Field(2, description="order of the implicit sampler")
    spacing: Literal["uniform", "angle", "log_snr"] = Field("uniform", description="where the calls lie")
    seed: int = Field(0, ge=0)


class Distribution(Strict):
    """Comparison of a set of images with a set of real ones."""

    extractor: str = Field(description="features of the FID and KID")
    reference: Split = Field("test", description="split of the real images")
    kid: bool = True


class Evaluate(Distribution):
    classifier: str = Field(description="classes of the accuracy")


class Walk(Strict):
    """One sampler of a study."""

    sampler: Literal["ancestral", "implicit"] = "ancestral"
    eta: float = Field(1.0, ge=0)
    order: Literal[1, 2] = 2
    spacing: Literal["uniform", "angle", "log_snr"] = "uniform"


class Study(Strict):
    """Quality against network calls."""

    nfe: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 3, 5, 10, 20, 50, 100)
    count: int = Field(128, ge=2, description="images that are restored for every point")
    walks: dict[str, Walk] = Field({"ancestral": Walk()}, description="samplers by the name in the figure")


class I2SB(Strict):
    """Image-to-image Schrödinger bridge (Liu et al. 2023)."""

    dataset: str
    corruption: str = Field(description="a name of bridgepipe.corruptions, or paired")
    variant: Variant = "published"
    mask_file: str | None = Field(None, description="published freeform masks; null: masks are drawn")
    interval: int = Field(1000, ge=2, multiple_of=2)
    beta_max: float = Field(0.3, gt=0)
    t0: float = Field(1e-4, gt=0)
    T: float = Field(1.0, gt=0)
    ot_ode: bool = False
    cond_x1: bool = False
    add_x1_noise: bool = False
    network: Network = Network()
    train: Train
    sample: Sample = Sample()
    evaluate: Evaluate
    study: Study | None = None

    @property
    def sampled(self) -> str:
        """Dataset whose images are restored and measured."""
        return self.dataset if self.sample.whole else self.sample.dataset or self.dataset

    def references(self) -> dict[str, tuple[str, str]]:
        """Key -> (section, name) of everything that is named here and defined elsewhere."""
        return {
            "dataset": ("datasets", self.dataset),
            "sample.dataset": ("datasets", self.sampled),
            "evaluate.extractor": ("extractors", self.evaluate.extractor),
            "evaluate.classifier": ("extractors", self.evaluate.classifier),
        }

    def splits(self) -> dict[str, tuple[str | None, str]]:
        """Key -> (dataset, split) of everything that reads a split; None: the dataset of the model."""
        return {
            "sample.split": (self.sampled, self.sample.split),
            "evaluate.reference": (self.dataset, self.evaluate.reference),
        }

    def stages(self) -> dict[str, dict[str, Any]]:
        """What each stage reads."""
        e = self.model_dump(mode="json")
        sections = ("train", "sample", "evaluate", "network", "study")
        problem = {"method": "i2sb"} | {k: v for k, v in e.items() if k not in sections}
        return {
            "train": {**problem, "network": e["network"], "train": e["train"]},
            "sample": {**problem, "sample": e["sample"]},
            "evaluate": e["evaluate"],
            **({"study": e["study"]} if e["study"] is not None else {}),
        }

    @model_validator(mode="after")
    def _possible(self) -> I2SB:
        if self.ot_ode and self.sample.sampler == "implicit" and self.sample.eta:
            raise ValueError("sample.eta must be 0 with ot_ode, whose bridge has no noise")
        if self.sample.nfe >= self.interval:
            raise ValueError(f"sample.nfe must be below interval ({self.interval}), is {self.sample.nfe}")
        return self
