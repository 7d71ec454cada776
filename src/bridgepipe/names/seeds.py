"""Names of repeats: ``NAME.seed-1`` is NAME with another seed, and differs from it in nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REPEAT = re.compile(r"\.seed-\d+(?=[. ]|$)")


def repeat(name: str, seed: int) -> str:
    """What an experiment is called that repeats another with a seed."""
    return f"{name}.seed-{seed}"


def repeated(name: str) -> str:
    """The experiment that one repeats; any other is its own."""
    return _REPEAT.sub("", name)


def but_for_seeds(settings: Any) -> Any:
    """Settings without their seeds, and with repeats named as what they repeat."""
    if isinstance(settings, Mapping):
        return {key: but_for_seeds(value) for key, value in settings.items() if key != "seed"}
    return repeated(settings) if isinstance(settings, str) else settings
