"""The models of params.yaml: every section with its keys, types, limits and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")]
Size = Annotated[int, Field(ge=8, le=4096)]
Split = Literal["train", "val", "test"]
Variant = Literal["published", "exact"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Runtime(Strict):
    """How things run. Changes speed, never results: an edit re-runs nothing."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    compile: bool = Field(False, description="torch.compile the network")
    channels_last: bool = False
    threads: int = Field(2, ge=1, description="CPU threads of a compute job")
    batch_size: int = Field(64, ge=1, description="images per network call when sampling or evaluating")
    microbatch: int | None = Field(None, ge=1, description="images per call in training; null: whole batch")
    partitions: int = Field(1, ge=1, le=9999, description="parallel sampling jobs")
    save_every: int = Field(100, ge=1, description="training steps between saved states")
    tensorboard: bool = False


class Digits(Strict):
    """scikit-learn's 1,797 handwritten digits, embedded."""

    source: Literal["digits"]
    size: Size = 32
    seed: int = Field(0, ge=0, description="of the split")


class Photos(Strict):
    """Patches of scikit-learn's two sample photographs, embedded; photo-edges pairs them with their edges."""

    source: Literal["photos", "photo-edges"]
    size: Annotated[int, Field(ge=8, le=192)] = 64


class Folder(Strict):
    """A folder of images, one sub-folder per class or none."""

    source: Literal["folder"]
    path: str
    size: Size | tuple[Size, Size] = Field(256, description="pixels, or [height, width]")
    crop: Literal["adm", "torchvision", "stretch"] = "adm"
    seed: int = Field(0, ge=0, description="of the split")
    skip_bad: bool = Field(False, description="skip unreadable images instead of stopping")


class Pairs(Strict):
    """Two folders A/ and B/ matched by name, or images side by side; B (right) is restored from A (left)."""

    source: Literal["pairs"]
    path: str
    layout: Literal["folders", "side-by-side"] = "folders"
    reverse: bool = False
    size: Size | tuple[Size, Size] = Field(256, description="pixels, or [height, width]")
    crop: Literal["adm", "torchvision", "stretch"] = "adm"
    seed: int = Field(0, ge=0, description="of the split")
    skip_bad: bool = Field(False, description="skip unreadable pairs instead of stopping")


class ImageNet(Strict):
    """ImageNet folders train/ and val/, or I2SB's LMDB files of them."""

    source: Literal["imagenet", "i2sb-lmdb"]
    path: str
    size: Size = 256
    subset: str | None = Field(None, description="file with names of validation images, one a line")
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")
    skip_bad: bool = Field(False, description="skip unreadable images instead of stopping")


SOURCES: dict[str, type[Strict]] = {
    "digits": Digits,
    "photos": Photos,
    "photo-edges": Photos,
    "folder": Folder,
    "pairs": Pairs,
    "imagenet": ImageNet,
    "i2sb-lmdb": ImageNet,
}
Dataset = Annotated[Digits | Photos | Folder | Pairs | ImageNet, Field(discriminator="source")]


def splits_of(dataset: Strict) -> tuple[str, ...]:
    """Splits that a dataset comes in."""
    return dataset.splits if isinstance(dataset, ImageNet) else ("train", "val", "test")


def is_paired(dataset: Strict) -> bool:
    """Whether every image has a source image that it is restored from."""
    return isinstance(dataset, Pairs) or (isinstance(dataset, Photos) and dataset.source == "photo-edges")


def stores_of(dataset: Strict) -> tuple[str, ...]:
    """Stores that a dataset is prepared as: one for each split, and one for each split's sources."""
    splits = splits_of(dataset)
    return (*splits, *(f"{split}-source" for split in splits)) if is_paired(dataset) else splits


def paths_of(dataset: Strict) -> list[str]:
    """Files and folders that a dataset is made from; [] when it is embedded."""
    values = dataset.model_dump()
    return [values[key] for key in ("path", "subset") if values.get(key) is not None]


class Extractor(Strict):
    """What turns images into features and classes for the metrics."""

    kind: Literal["classifier", "inception", "resnet50"]
    dataset: str | None = Field(None, description="data that a classifier is trained on")
    steps: int = Field(400, ge=1)
    batch_size: int = Field(64, ge=1)
    lr: float = Field(5e-3, gt=0)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _dataset_where_needed(self) -> Extractor:
        if (self.kind == "classifier") != (self.dataset is not None):
            raise ValueError("dataset is needed by kind: classifier, and by no other kind")
        return self


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


class Train(Strict):
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
    init: str | None = Field(None, description="published ADM weights to start from; null: random")
    new_channels: Literal["zero", "published"] = Field(
        "zero", description="start of cond_x1's input channels"
    )
    published: str | None = Field(
        None, description="a name of sources.yaml: import these weights, don't train"
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


class Evaluate(Strict):
    extractor: str = Field(description="features of the FID and KID")
    reference: Split = Field("test", description="split of the real images")
    classifier: str = Field(description="classes of the accuracy")
    kid: bool = True


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

    @model_validator(mode="after")
    def _possible(self) -> I2SB:
        if self.ot_ode and self.sample.sampler == "implicit" and self.sample.eta:
            raise ValueError("sample.eta must be 0 with ot_ode, whose bridge has no noise")
        if self.sample.nfe >= self.interval:
            raise ValueError(f"sample.nfe must be below interval ({self.interval}), is {self.sample.nfe}")
        return self


class Params(Strict):
    """The whole of params.yaml before merging."""

    scale: Name
    runtime: Runtime = Runtime()
    datasets: dict[Name, Dataset]
    extractors: dict[Name, Extractor]
    scales: dict[Name, dict[Literal["i2sb"], dict[str, Any]]]
    experiments: dict[Literal["i2sb"], dict[Name, dict[str, Any]]]
