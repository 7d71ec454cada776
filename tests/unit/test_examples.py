"""The examples run as they stand, for a few steps."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_bridge_is_trained_and_used_without_a_workflow_engine(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("example", EXAMPLES / "restore_digits.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    picture = example.main(2, tmp_path)
    assert picture.shape == (96, 256, 3)
    assert picture.dtype == np.uint8
    clean, corrupted, restored = np.split(picture.astype(float), 3)
    assert 1 < np.abs(clean - corrupted).mean() < 60
    assert np.abs(restored - corrupted).mean() > 0
