"""The top of params.yaml, and the classes of the experiments by method."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import Field

from bridgepipe.config.boundary import BoundarySearch
from bridgepipe.config.colors import ColorTransfer
from bridgepipe.config.data import Dataset
from bridgepipe.config.ddib import ClassTranslation
from bridgepipe.config.defined import Defined, Files
from bridgepipe.config.extractor import Extractor
from bridgepipe.config.gaussian import Generation, Guide, Model
from bridgepipe.config.i2sb import I2SB
from bridgepipe.config.points import Domain, PointModel, PointTranslation
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.values import Apart, Name, Strict
from bridgepipe.names import Json

# the folder of the results -> the model of its experiments
METHODS: dict[str, type[Any]] = {
    "i2sb": I2SB,
    "model": Model,
    "guide": Guide,
    "spd": Generation,
    "boundary": BoundarySearch,
    "ddib/sample": Domain,
    "ddib/points": PointTranslation,
    "ddib/cloud": PointModel,
    "ddib/color": ColorTransfer,
    "ddib/classes": ClassTranslation,
}


class Experiment(Protocol):
    """Properties that every experiment has."""

    def references(self) -> dict[str, tuple[str, str]]:
        """Key -> (section, name) of everything that is named here and defined elsewhere."""
        ...

    def splits(self) -> dict[str, tuple[str | None, str]]:
        """Key -> (dataset, split) of everything that reads a split.

        ``model/NAME`` stands for the dataset of that model, None for that of the experiment's.
        """
        ...

    def stages(self) -> dict[str, Strict]:
        """The settings of each stage."""
        ...

    def files(self, folder: str, defined: Defined) -> dict[str, Files]:
        """What each stage reads of others: input -> file or files."""
        ...


class Params(Strict):
    """The whole of params.yaml before merging."""

    scale: Name = Field(description="the scale in use, a name of scales")
    runtime: Runtime = Runtime()
    datasets: Annotated[dict[Name, Dataset], Apart] = Field(description="images and points by name")
    extractors: Annotated[dict[Name, Extractor], Apart] = Field(
        description="what turns images into features, by name"
    )
    scales: dict[Name, dict[str, Json]]
    experiments: dict[str, Annotated[dict[Name, Json], Apart]]
