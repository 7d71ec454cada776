"""params.yaml: every setting as one frozen class, how the file is read and checked, what each stage reads.

Imports no torch. `resolved` merges and checks the file; the other modules hold the classes.
"""

from bridgepipe.config.checked import merge
from bridgepipe.config.contents import (
    attributes_of,
    channels_of,
    classes_of,
    comes_apart,
    folders_of,
    is_paired,
    is_points,
    most_of,
    paths_of,
    pictures_of,
    read_of,
    size_of,
    splits_of,
    stores_of,
)
from bridgepipe.config.data import SOURCES, Dataset
from bridgepipe.config.extractor import Extractor
from bridgepipe.config.methods import (
    I2SB,
    METHODS,
    BoundarySearch,
    ClassTranslation,
    Experiment,
    Generation,
    Guide,
    Model,
    Params,
    PointModel,
    Runtime,
)
from bridgepipe.config.resolved import PLAN, RUNTIME, Resolved, load, read_yaml
from bridgepipe.config.schema import schema
from bridgepipe.config.values import Results, Strict

__all__ = [
    "I2SB",
    "METHODS",
    "PLAN",
    "RUNTIME",
    "SOURCES",
    "BoundarySearch",
    "ClassTranslation",
    "Dataset",
    "Experiment",
    "Extractor",
    "Generation",
    "Guide",
    "Model",
    "Params",
    "PointModel",
    "Resolved",
    "Results",
    "Runtime",
    "Strict",
    "attributes_of",
    "channels_of",
    "classes_of",
    "comes_apart",
    "folders_of",
    "is_paired",
    "is_points",
    "load",
    "merge",
    "most_of",
    "paths_of",
    "pictures_of",
    "read_of",
    "read_yaml",
    "schema",
    "size_of",
    "splits_of",
    "stores_of",
]
