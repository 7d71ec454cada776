"""The 1,000 classes of ILSVRC2012 in the order in which every published network numbers them.

That order is the sorted one of the WordNet ids. ``ilsvrc_classes.txt`` holds an id and a name a line (names
as in torchvision), ``ilsvrc_validation.npz`` the class of each of the 50,000 validation images by the number
in its file name. Both are facts of the benchmark; the labels agree in the three public lists that they were
compared with.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading params.yaml needs the names alone
    import numpy as np

VALIDATION_FILE = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)


@cache
def _lines() -> tuple[tuple[str, str], ...]:
    text = Path(__file__).with_name("ilsvrc_classes.txt").read_text(encoding="utf8")
    return tuple((line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in text.splitlines())


def classes() -> list[str]:
    """WordNet ids, such as ``n01440764``, by the number of the class."""
    return [wnid for wnid, _ in _lines()]


def names() -> list[str]:
    """Names in English, such as ``tench``, by the number of the class."""
    return [name for _, name in _lines()]


@cache
def validation_labels() -> np.ndarray:
    """Class of ``ILSVRC2012_val_00000001.JPEG`` and those that follow, uint16 ``[50000]``."""
    import numpy as np

    with np.load(Path(__file__).with_name("ilsvrc_validation.npz"), allow_pickle=False) as file:
        return file["labels"]


def validation_class(file: str) -> str | None:
    """WordNet id of a validation image by the name of its file; None when it is not one of them."""
    match = VALIDATION_FILE.fullmatch(file)
    if match is None or not 1 <= int(match[1]) <= len(validation_labels()):
        return None
    return classes()[int(validation_labels()[int(match[1]) - 1])]
