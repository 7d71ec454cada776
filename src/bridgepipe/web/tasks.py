"""What the page can do with a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from bridgepipe.config.runtime import Runtime
from bridgepipe.photographs.files import Photo
from bridgepipe.web.queue import Told


@dataclass(frozen=True)
class Made:
    """A result.

    Attributes:
        name: that it is downloaded under.
        content: its file.
        before: what it is to be compared with, where that is not the picture itself.
        notes: what a person should know of it.
    """

    name: str
    content: bytes
    before: bytes | None = None
    notes: Sequence[str] = ()


class Options(BaseModel):
    """What a visitor chooses; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Task(Protocol):
    """Something to be done with pictures.

    Attributes:
        options: what a visitor chooses.
        pictures: how many it needs.
    """

    options: type[Options]
    pictures: int

    def work(self, photos: Sequence[Photo], options: Any) -> float:
        """How much it is, in units that take the same time."""
        ...

    def run(self, photos: Sequence[Photo], options: Any, told: Told) -> Made:
        """Do it."""
        ...
