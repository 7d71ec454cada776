"""Device placement, precision, batching and multi-process execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bridgepipe.config.values import Batch, Distinct, Steps, Strict
from bridgepipe.names import Precision

# as accelerate names them
Tracker = Literal[
    "tensorboard", "wandb", "mlflow", "trackio", "dvclive", "aim", "clearml", "comet_ml", "swanlab"
]


class Runtime(Strict):
    """Device, batching and processes. They affect speed and last bits (docs/gpu.md); edits re-run nothing."""

    renamed: ClassVar[Mapping[str, str]] = {"tensorboard": "track"}

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="device of the networks; auto: a CUDA GPU when available, else the CPU"
    )
    precision: Precision = Field(
        "auto",
        description="tf32: reduced precision of matrix products on a GPU; fp32: full precision;"
        " auto: tf32 in the workflow, bf16 in restore and serve where the processor computes in it",
    )
    compile: bool = Field(False, description="torch.compile the network")
    channels_last: Literal["auto"] | bool = Field("auto", description="memory layout; auto: on a CPU")
    threads: int = Field(2, ge=1, le=1024, description="CPU threads per compute job")
    processes: int = Field(
        1,
        ge=1,
        le=1024,
        description="world size: processes, one GPU each, per job of training, sampling or features",
    )
    batch_size: Batch = Field(64, description="images per network call when sampling or evaluating")
    microbatch: Batch | None = Field(
        None, description="images per network call in training; null: the whole batch"
    )
    partitions: int = Field(
        1, ge=1, le=200, description="number of parallel sampling jobs; each adds planning time"
    )
    longest: int = Field(
        1440,
        ge=10,
        le=100_000,
        description="maximum minutes per job; longer work continues in the next job",
    )
    save_every: Steps = Field(100, description="training steps between saved states")
    track: Annotated[tuple[Tracker, ...], Distinct] = Field(
        (),
        description="trackers that receive settings, numbers and pictures of a training",
    )

    @model_validator(mode="after")
    def _possible(self) -> Runtime:
        if self.device == "cpu" and self.precision == "fp16":
            raise ValueError("precision fp16 is of GPUs; a CPU takes fp32 or bf16")
        if self.device == "mps" and self.processes > 1:
            raise ValueError("processes share GPUs of CUDA or a CPU, not mps")
        return self
