"""How things run: device, precision, batches, processes."""

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
    """How things run. An edit re-runs nothing: at most last bits move, see docs/gpu.md."""

    renamed: ClassVar[Mapping[str, str]] = {"tensorboard": "track"}

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="where networks run; auto: a GPU of CUDA when there is one, else the CPU"
    )
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
    track: Annotated[tuple[Tracker, ...], Distinct] = Field(
        (), description="trackers that a training tells its settings, numbers and pictures"
    )

    @model_validator(mode="after")
    def _possible(self) -> Runtime:
        if self.device == "cpu" and self.precision == "fp16":
            raise ValueError("precision fp16 is of GPUs; a CPU takes fp32 or bf16")
        if self.device == "mps" and self.processes > 1:
            raise ValueError("processes share GPUs of CUDA or a CPU, not mps")
        return self
