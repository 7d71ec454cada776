"""Recorded inputs and outputs of the published systems.

``data/`` holds them in the layout of their manifest: ``group/case.npz`` with
``in.*``, ``noise.*``, ``const.*`` and ``out.*`` arrays, and network weights as
safetensors. Tolerances are the manifest's: absolute, per output, never loosened.
A few large weight files are not shipped; point BRIDGEPIPE_REFERENCE at the full
set to run their cases too, otherwise these skip and say so.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

DATA = Path(__file__).parent / "data"
FULL_SET = os.environ.get("BRIDGEPIPE_REFERENCE")


def find(path: str) -> Path:
    """The shipped file, or the one of the full set; the test skips when neither is there."""
    roots = [DATA, *([Path(FULL_SET)] if FULL_SET else [])]
    for root in roots:
        if (root / path).exists():
            return root / path
    pytest.skip(f"{path} is not shipped; set BRIDGEPIPE_REFERENCE to the folder of the full set")


@dataclass(frozen=True)
class Case:
    name: str
    config: dict[str, Any]
    weights: dict[str, str]
    arrays: dict[str, np.ndarray]
    atol: dict[str, float]
    notes: str

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(np.array(self.arrays[key]))

    @property
    def outputs(self) -> list[str]:
        return [key for key in self.arrays if key.startswith("out.")]


@cache
def manifest() -> dict[str, Any]:
    with gzip.open(DATA / "manifest.json.gz", "rt", encoding="utf8") as f:
        return json.load(f)


def names(group: str) -> list[str]:
    """Names of all cases whose name starts with ``group``."""
    return [c["case"] for c in manifest()["cases"] if c["case"].startswith(group)]


def case(name: str) -> Case:
    entry = next(c for c in manifest()["cases"] if c["case"] == name)
    with np.load(find(entry["file"]), allow_pickle=False) as f:
        arrays = {key: f[key] for key in f.files}
    return Case(
        name=name,
        config=entry.get("config") or {},
        weights=entry.get("weights") or {},
        arrays=arrays,
        atol={key: spec["atol"] for key, spec in entry["keys"].items() if "atol" in spec},
        notes=entry.get("notes", ""),
    )


def shapes(name: str) -> dict[str, list[int]]:
    """State-dict keys and shapes of a published checkpoint, in its order."""
    with gzip.open(find(f"02_checkpoint_keys/{name}.json.gz"), "rt", encoding="utf8") as f:
        content = json.load(f)
    return content.get("shapes", content)


def weights(path: str) -> dict[str, Tensor]:
    return load_file(find(path))


def recipe(state: Mapping[str, Tensor], seed: int, gain: float = 1.0) -> dict[str, Tensor]:
    """Weights that need no file: a fixed function of key, shape, seed and gain."""
    return {key: torch.from_numpy(_recipe(key, tuple(v.shape), seed, gain)) for key, v in state.items()}


def _recipe(key: str, shape: tuple[int, ...], seed: int, gain: float) -> np.ndarray:
    if "num_batches_tracked" in key:
        return np.zeros(shape, np.int64)
    random = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
    z = random.standard_normal(size=shape).astype(np.float32)
    if key.endswith("running_var"):
        return np.float32(1) + np.float32(0.1) * np.abs(z)
    if len(shape) == 1 and key.endswith(".weight"):
        return np.float32(1) + np.float32(0.1) * z
    if key.endswith(("bias", "running_mean")) or len(shape) == 1:
        return np.float32(0.05) * z
    return z * np.float32(gain) / np.float32(np.sqrt(np.prod(shape[1:])))


def assert_close(case: Case, key: str, value: Tensor | np.ndarray | float) -> None:
    """``value`` equals ``out.{key}`` within the case's own absolute tolerance."""
    key = key if key.startswith("out.") else f"out.{key}"
    expected = case.arrays[key]
    actual = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    assert actual.shape == expected.shape, f"{case.name} {key}: {actual.shape} != {expected.shape}"
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0)
    limit = case.atol.get(key, 0.0)
    assert difference <= limit, f"{case.name} {key}: off by {difference:.3g}, tolerance {limit:.3g}"
