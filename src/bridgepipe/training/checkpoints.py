"""Averaged weights that a training keeps along the way, and how a result gets them under its own name.

They lie in the folder of the training, beside its state and out of reach of the workflow, which removes the
outputs of a rule before it runs it again: a folder for every training, so that one with other settings
overwrites nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.training.state import CODE

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
Same = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Checkpoints:
    """What one training keeps.

    Attributes:
        folder: folder of its files, one for every step and average.
        card: entries of each one's card, beside its step.
    """

    folder: Path
    card: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, identity: Mapping[str, Any], card: Mapping[str, Any]) -> Checkpoints:
        """Those of the training in a folder; an edit of its code makes it no other training."""
        known = artifacts.digest_of({key: value for key, value in identity.items() if key != CODE})
        return cls(folder / f"kept-{known[:12]}", {**identity, **card})

    def save(self, name: str, step: int, weights: Mapping[str, Tensor]) -> None:
        artifacts.save_tensors(self.folder / f"{name}{SUFFIX}", weights, {**self.card, "step": step})


def find(folder: Path, name: str, same: Same) -> Path:
    """The file of a checkpoint in the folder of a training.

    Args:
        folder: folder of the training, which may hold those of several settings.
        name: name of the checkpoint.
        same: whether the card of one is of the training that is meant.

    Raises:
        UserError: the checkpoint was not kept; those that were are named.
    """
    found = [file for file in sorted(folder.glob(f"kept-*/*{SUFFIX}")) if same(artifacts.load_card(file))]
    for file in found:
        if file.stem == name:
            return file
    names = ", ".join(sorted((file.stem for file in found), key=_by_step)) or "none"
    what = f"no checkpoint {name} of this training, which kept: {names}"
    mend = (
        "choose one of them; train.keep_every keeps only what it asks for before the step is made, so for"
        f" an earlier one train anew after `bridgepipe training-state {folder} --start-again`"
    )
    raise UserError(what, folder, mend)


def take(file: Path, output: Path, card: Mapping[str, Any]) -> None:
    """Give a checkpoint the place of a result: the same file where its card is as it should be."""
    stored = artifacts.load_card(file)
    if all(artifacts.canonical(stored.get(key)) == artifacts.canonical(value) for key, value in card.items()):
        with artifacts.atomic(output) as temporary:
            _link(file, temporary)
        return
    weights, stored = artifacts.load_tensors(file)
    artifacts.save_tensors(output, weights, {**stored, **card})


def _link(file: Path, other: Path) -> None:
    """Both are written once and never changed, so one copy on the disk does."""
    try:
        os.link(file, other)
        os.utime(other)  # not older than what it was made from
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, other)


def _by_step(name: str) -> tuple[int, str]:
    step = name.partition("-")[0]
    return int(step) if step.isdigit() else -1, name
