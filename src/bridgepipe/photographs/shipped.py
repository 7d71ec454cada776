"""Networks that come as a folder of weights and a model card: of this package, or a person's own.

``model.safetensors`` is written by `artifacts.save_tensors`; its own card holds the settings that it was
trained under. ``config.json`` beside it is the model card::

    settings     of the stage that samples, as in config/sample.json of an experiment
    content      digest of the weights
    trained_for  size: [smallest, largest side in pixels], statistics: {measure: [low, high]}, see likeness.py
    data, recipe, metrics, licence
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridgepipe import artifacts
from bridgepipe.artifacts import Card
from bridgepipe.errors import UserError
from bridgepipe.names.origins import MODEL

WEIGHTS = Path(__file__).with_name("weights")  # inside this package
CARD = "config.json"
LICENCE = "that of this package; all pictures it was trained on are named under data"
MEND = "give --experiment METHOD/NAME that you have trained, or --model FOLDER"


@dataclass(frozen=True)
class Shipped:
    """A file of weights and its model card; {} where there is none."""

    weights: Path
    card: Card


def find(name: str = "photos") -> Shipped:
    """Weights inside this package.

    Raises:
        UserError: this build carries none of this name.
    """
    weights = WEIGHTS / name / MODEL
    if not weights.exists():
        raise UserError("this build of bridgepipe carries no weights", name, MEND)
    return beside(weights)


def digest(name: str = "photos") -> str:
    """SHA-256 of the weights inside this package, from their card alone, so that planning stays fast."""
    return artifacts.read_object(WEIGHTS / name / CARD)["content"]


def beside(weights: Path) -> Shipped:
    """A file of weights with the card beside it.

    Raises:
        UserError: the card is of other weights, or damaged.
    """
    file = weights.with_name(CARD)
    card = artifacts.read_object(file) if file.exists() else {}
    content = artifacts.load_card(weights)[artifacts.CONTENT]
    if card and card["content"] != content:
        mend = f"give the two files that belong together; the content of {weights.name} is {content}"
        raise UserError("the model card is of other weights", file, mend)
    return Shipped(weights, card)
