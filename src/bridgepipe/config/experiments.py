"""Sections of params.yaml about experiments: what is trained, sampled and measured, and how it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bridgepipe.config.values import (
    Ask,
    Batch,
    Blocks,
    Calls,
    Corruption,
    Distinct,
    Dropout,
    FilePath,
    Items,
    Label,
    Multipliers,
    Noise,
    Rate,
    Reference,
    Seed,
    Several,
    Split,
    Steps,
    Strict,
    Times,
    Variant,
    Width,
    optional,
)
from bridgepipe.names import Precision


class Runtime(Strict):
    """How things run. An edit re-runs nothing: at most last bits move, see docs/gpu.md."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Precision = Field("tf32", description="tf32: as PyTorch on a GPU; fp32: exact there too")
    compile: bool = Field(False, description="torch.compile the network")
    channels_last: Literal["auto"] | bool = Field("auto", description="memory layout; auto: on a CPU")
    threads: int = Field(2, ge=1, le=1024, description="CPU threads of a compute job")
    processes: int = Field(
        1,
        ge=1,
        le=1024,
        description="processes, one GPU each, that share a job of training, sampling or features",
    )
    batch_size: Batch = Field(64, description="images per network call when sampling or evaluating")
    microbatch: Batch | None = Field(None, description="images per call in training; null: whole batch")
    partitions: int = Field(
        1, ge=1, le=200, description="parallel sampling jobs; planning takes time with each"
    )
    longest: int = Field(
        1440,
        ge=10,
        le=100_000,
        description="minutes that a job may ask for; one that needs more goes on in the next",
    )
    save_every: Steps = Field(100, description="training steps between saved states")
    tensorboard: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Runtime:
        if self.device == "cpu" and self.precision == "fp16":
            raise ValueError("precision fp16 is of GPUs; a CPU takes fp32 or bf16")
        if self.device == "mps" and self.processes > 1:
            raise ValueError("processes share GPUs of CUDA or a CPU, not mps")
        return self


class Network(Strict):
    """ADM U-Net, in the words of its constructor."""

    model_channels: Width = 32
    num_res_blocks: Blocks = 1
    channel_mult: Multipliers = (1, 2, 2)
    attention_resolutions: Annotated[tuple[int, ...], Distinct] = Field(
        (4,), description="downsampling rates with attention"
    )
    num_heads: int = Field(4, ge=1, le=1024)
    num_head_channels: int = Field(-1, ge=-1, le=1024, description="instead of num_heads; -1: by num_heads")
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    dropout: Dropout = 0.0

    def contradiction(self, size: tuple[int, int]) -> tuple[str, str] | None:
        """The key that does not go with images of a size, or with the other keys, and why; None: all do."""
        levels = len(self.channel_mult)
        attends = [2**level in self.attention_resolutions for level in range(levels)]
        unet = (self.model_channels, self.channel_mult, self.num_res_blocks, attends)
        if what := too_large(parameters(*unet, self.use_scale_shift_norm, self.resblock_updown)):
            return "channel_mult", what
        if what := too_small(size, levels, self.model_channels * self.channel_mult[-1]):
            return "channel_mult", what
        rates = [2**level for level in range(levels)]
        if none := [rate for rate in self.attention_resolutions if rate not in rates]:
            return (
                "attention_resolutions",
                f"no level has the rate {none[0]}; the levels have {listed(rates)}",
            )
        return self._heads()

    def _heads(self) -> tuple[str, str] | None:
        by_size = self.num_head_channels != -1
        key, divisor = (
            ("num_head_channels", self.num_head_channels) if by_size else ("num_heads", self.num_heads)
        )
        attending = [m for level, m in enumerate(self.channel_mult) if 2**level in self.attention_resolutions]
        for channels in sorted(self.model_channels * m for m in (*attending, self.channel_mult[-1])):
            if divisor < 1 or channels % divisor:
                return key, f"the {channels} channels of a level with attention do not divide by {divisor}"
        return None


class Recipe(Strict):
    """How a network is trained."""

    steps: Steps
    batch_size: Batch = Field(64, description="images per optimiser step, over all processes")
    lr: Rate = 5e-5
    lr_gamma: float = Field(1.0, gt=0, le=1, description="factor of the step decay")
    lr_step: Steps = Field(1000, description="steps between decays")
    weight_decay: float = Field(0.0, ge=0, le=10)
    ema: float = Field(0.99, ge=0, lt=1)
    grad_clip: float | None = Field(None, gt=0, le=1e6)
    flip: bool = Field(False, description="random horizontal flips")
    seed: Seed = 0
    log_every: Steps = 10
    published: Reference | None = Field(
        None, description="a name of sources.yaml: import these weights, don't train"
    )


class Train(Recipe):
    """Training of I2SB."""

    init: FilePath | None = Field(None, description="published ADM weights to start from; null: random")
    new_channels: Literal["zero", "published"] = Field(
        "zero", description="start of cond_x1's input channels"
    )


class Sample(Strict):
    dataset: Reference | None = Field(
        None, description="restore this dataset's split instead of the experiment's"
    )
    whole: bool = Field(False, description="ignore sample.dataset: restore the experiment's own whole split")
    split: Split = "test"
    count: Items | None = Field(
        None, description="so many images, by chance, as many of every class; null: all"
    )
    nfe: Calls = Field(10, description="network calls per image")
    clip: bool = Field(False, description="clamp predictions to [-1, 1]")
    sampler: Literal["ancestral", "implicit"] = Field(
        "ancestral", description="ancestral is the published one"
    )
    eta: Noise = Field(1.0, description="noise of the implicit sampler; 0: drawn once")
    order: Literal[1, 2] = Field(2, description="order of the implicit sampler")
    spacing: Literal["uniform", "angle", "log_snr"] = Field("uniform", description="where the calls lie")
    seed: Seed = 0


class Distribution(Strict):
    """Comparison of a set of images with a set of real ones."""

    extractor: Reference = Field(description="features of the FID and KID")
    reference: Split = Field(
        "train", description="split of the real images; one with the originals makes the FID smaller"
    )
    kid: bool = True


class Evaluate(Distribution):
    classifier: Reference | None = Field(description="classes of the accuracy; null: no accuracy")


class Walk(Strict):
    """One sampler of a study."""

    sampler: Literal["ancestral", "implicit"] = "ancestral"
    eta: Noise = 1.0
    order: Literal[1, 2] = 2
    spacing: Literal["uniform", "angle", "log_snr"] = "uniform"

    @model_validator(mode="after")
    def _possible(self) -> Walk:
        if self.sampler != "implicit":
            self.unread({"eta", "order"}, "they are of the implicit sampler")
        return self


class Study(Strict):
    """Quality against network calls."""

    nfe: Annotated[tuple[Calls, ...], Distinct] = Field((1, 2, 3, 5, 10, 20, 50, 100), min_length=1)
    count: Several | None = Field(
        None, description="images that are restored for every point; null: those of sample"
    )
    walks: dict[Label, Walk] = Field(
        {"ancestral": Walk()}, min_length=1, description="samplers by the name in the figure"
    )


class I2SB(Strict):
    """Image-to-image Schrödinger bridge (Liu et al. 2023)."""

    dataset: Reference
    corruption: Corruption = Field(description="a name of bridgepipe.corruptions, or paired")
    variant: Variant = "published"
    mask_file: FilePath | None = Field(None, description="published freeform masks; null: masks are drawn")
    interval: Times = Field(1000, multiple_of=2)
    beta_max: float = Field(0.3, gt=0, le=100)
    t0: float = Field(1e-4, gt=0, le=100)
    T: float = Field(1.0, gt=0, le=100)
    ot_ode: bool = False
    cond_x1: bool = False
    add_x1_noise: bool = False
    network: Network = Network()
    train: Train
    sample: Sample = Sample()
    evaluate: Evaluate
    study: Study | None = None

    @property
    def studied(self) -> int | None:
        """Images of a study, by default those of the table: two numbers of one name are of as many images."""
        count = None if self.study is None else self.study.count
        return self.sample.count if count is None else count

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
            **optional("evaluate.classifier", "extractors", self.evaluate.classifier),
        }

    def splits(self) -> dict[str, tuple[str | None, str]]:
        """Key -> (dataset, split) of everything that reads a split; None: the dataset of the model."""
        return {
            "sample.split": (self.sampled, self.sample.split),
            "evaluate.reference": (self.dataset, self.evaluate.reference),
        }

    def asks(self) -> list[Ask]:
        counts = {"sample.count": self.sample.count, "study.count": self.study.count if self.study else None}
        return [(key, self.sampled, self.sample.split, count, None) for key, count in counts.items()]

    def stages(self) -> dict[str, dict[str, Any]]:
        """What each stage reads."""
        e = self.model_dump(mode="json")
        sections = ("train", "sample", "evaluate", "network", "study")
        problem = {"method": "i2sb"} | {k: v for k, v in e.items() if k not in sections}
        problem["mask_file"] = e["mask_file"] if self.masked else None
        return {
            "train": {**problem, "network": e["network"], "train": e["train"]},
            "sample": {**problem, "sample": e["sample"]},
            "evaluate": e["evaluate"],
            **({"study": e["study"] | {"count": self.studied}} if self.study is not None else {}),
        }

    def files(self) -> dict[str, str]:
        """Key -> path of every file that a person names and that is read."""
        named = {
            "train.init": self.train.init if self.train.published is None else None,
            "mask_file": self.mask_file if self.masked else None,
        }
        return {key: path for key, path in named.items() if path is not None}

    @property
    def masked(self) -> bool:
        """Whether the corruption takes masks from ``mask_file``."""
        return self.corruption == "mixture" or self.corruption.startswith("inpaint-freeform")

    @model_validator(mode="after")
    def _possible(self) -> I2SB:
        if self.t0 >= self.T:
            raise ValueError(f"t0 must be below T ({self.T:g}), is {self.t0:g}")
        if self.sample.nfe >= self.interval:
            raise ValueError(f"sample.nfe must be below interval ({self.interval}), is {self.sample.nfe}")
        if what := self._knobs(self.sample):
            raise ValueError(f"sample.{what}")
        for name, walk in self.study.walks.items() if self.study else ():
            if what := self._knobs(walk):
                raise ValueError(f"study.walks.{name}.{what}")
        if self.study and max(self.study.nfe) >= self.interval:
            raise ValueError(f"study.nfe must stay below interval ({self.interval})")
        return self

    def _knobs(self, how: Sample | Walk) -> str | None:
        """What is wrong with the settings of the implicit sampler."""
        if how.sampler != "implicit":
            return None
        if self.ot_ode and how.eta:
            return "eta must be 0 with ot_ode, whose bridge has no noise"
        return "eta must be 0 or 1 at order 2" if how.order == 2 and how.eta not in (0, 1) else None

    def contradiction(self, size: tuple[int, int]) -> tuple[str, str] | None:
        """The key that does not go with images of a size, and why; None: all do."""
        pixels = f"{size[0]} x {size[1]} pixels"
        jpeg = self.corruption == "mixture" or self.corruption.startswith("jpeg-")
        if jpeg and self.variant == "published" and any(side % 16 for side in size):
            return "corruption", f"published JPEG takes multiples of 16 pixels, not {pixels}"
        quartered = self.corruption == "mixture" or self.corruption.startswith("sr4x-")
        if quartered and any(side % 4 for side in size):
            return "corruption", f"{pixels} cannot be reduced by 4"
        if self.mask_file is not None and self.masked and size != MASKS:
            return "mask_file", f"its masks are of {MASKS[0]} x {MASKS[1]} pixels, the images of {pixels}"
        found = self.network.contradiction(size)
        return found and (f"network.{found[0]}", found[1])


MOST = 2_000_000_000  # parameters: training holds four numbers for each, 32 GB
GROUPS = 32  # of group normalisation
MASKS = (256, 256)  # published freeform ones


def too_small(size: tuple[int, int], levels: int, channels: int) -> str | None:
    """Why images of a size cannot be halved so often; None: they can.

    Args:
        channels: of the last level. One number of a group would be normalised to nothing.
    """
    factor = 2 ** (levels - 1)
    if any(side % factor for side in size):
        return f"{levels} levels need sides that divide by {factor}, not {size[0]} x {size[1]} pixels"
    if size[0] * size[1] * channels <= GROUPS * factor**2:
        return f"{levels} levels leave one pixel of {channels} channels: take fewer levels, or more channels"
    return None


def too_large(count: int) -> str | None:
    """Why a network of so many parameters cannot be trained; None: it can."""
    return f"a U-Net of about {count:,} parameters; at most {MOST:,} are taken" if count > MOST else None


def parameters(
    first: int,
    multipliers: Sequence[int],
    blocks: int,
    attends: Sequence[bool],
    scale_shift: bool = False,
    resblocks: bool = False,
) -> int:
    """Weights of a U-Net to within a few per cent: those of its convolutions, attentions and embeddings.

    Args:
        first: channels of the first level, of which the multipliers give those of every level.
        blocks: per level.
        attends: whether a level has attention.
        scale_shift, resblocks: of `Network`.
    """

    def block(before: int, after: int) -> int:
        embedded = (8 if scale_shift else 4) * first * after
        return 9 * after * (before + after) + embedded + (before * after if before != after else 0)

    def resampled(level: int) -> int:
        return block(widths[level], widths[level]) if resblocks else 9 * widths[level] ** 2

    widths = [first * multiplier for multiplier in multipliers]
    attention = [4 * width**2 * attended for width, attended in zip(widths, attends, strict=True)]
    last, channels, skips = widths[-1], first, [first]
    total = 20 * first**2 + 2 * block(last, last) + 4 * last**2
    total += 2 * sum(resampled(level) for level in range(len(widths) - 1))
    for level, width in enumerate(widths):
        for _ in range(blocks):
            total += block(channels, width) + attention[level]
            channels = width
            skips.append(width)
        skips += [width] * (level < len(widths) - 1)
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(blocks + 1):
            total += block(channels + skips.pop(), width) + attention[level]
            channels = width
    return total


def listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
