"""The gallery of corruptions shows all that there are, each as it is done now."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import gallery

SHOWN = Path(__file__).parents[2] / "docs/corruptions.jpg"


def test_every_corruption_is_shown_as_it_is(tmp_path: Path) -> None:
    """To draw it anew: python -m benchmarks.gallery corruptions docs/corruptions.jpg"""
    gallery.corrupted(tmp_path / "drawn.jpg")
    with Image.open(SHOWN) as shown, Image.open(tmp_path / "drawn.jpg") as drawn:
        assert shown.size == drawn.size
        apart = np.abs(np.asarray(shown, np.float32) - np.asarray(drawn, np.float32))
    assert apart.mean() < 0.5  # other versions of fonts and codecs move some pixels
