"""What every section of params.yaml shares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")]
Size = Annotated[int, Field(ge=8, le=4096)]
Split = Literal["train", "val", "test"]
Variant = Literal["published", "exact"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def named(cls, name: str) -> dict[str, Any]:
        """Values of an experiment that follow from its name, where none are written."""
        return {}
