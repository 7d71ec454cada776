"""What an objective sees of a training: a piece of the global batch. And what it learns from its losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from bridgepipe.runtime.rng import Noise
from bridgepipe.training.views import AS_STORED, Views


class Images(Protocol):
    """What training reads: an ImageStore, or anything like it."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Tensor:
        """float32 NCHW in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Batch:
    """A piece of the global batch.

    Attributes:
        images: [b,C,H,W] in [-1, 1].
        items: index of each in the data.
        rng: the randomness of their places in the training.
        view: augmentation of the images.
        step: steps that are made.
    """

    images: Tensor
    items: list[int]
    rng: Noise
    view: Views = AS_STORED
    step: int = 0

    def of(self, other: Images) -> Tensor:
        """The same items of another store, seen alike: what is paired with the images."""
        return self.view(other.batch(self.items).to(self.images.device))


# The loss of every item of a piece, float32 [b].
Objective = Callable[[nn.Module, Batch], Tensor]


@runtime_checkable
class Learning(Protocol):
    """An objective that learns from the losses of every step, alike in every process."""

    def begin(self) -> None:
        """Called when a step begins, or begins again."""
        ...

    def finish(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Called after a step; ``gather`` concatenates the rows of all processes."""
        ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...
