"""The models of params.yaml: every section with its keys, types, limits and defaults."""

from bridgepipe.params.common import Strict
from bridgepipe.params.data import SOURCES, is_paired, paths_of, splits_of, stores_of
from bridgepipe.params.experiments import I2SB, Params, Runtime

__all__ = [
    "I2SB",
    "SOURCES",
    "Params",
    "Runtime",
    "Strict",
    "is_paired",
    "paths_of",
    "splits_of",
    "stores_of",
]
