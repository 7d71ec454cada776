"""A trained restorer as two files that others can use: its weights, and a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bridgepipe import artifacts
from bridgepipe.config.i2sb import RestorationSampling, RestorationTraining
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data import subset
from bridgepipe.data.pixels import to_uint8
from bridgepipe.data.store import ImageStore
from bridgepipe.errors import UserError
from bridgepipe.methods.i2sb import Problem
from bridgepipe.names.degradations import parse
from bridgepipe.photographs import likeness
from bridgepipe.runtime.rng import ItemNoise

MEASURED = 512  # patches whose measures stand for what the network was trained on
SIDES = [32, 8192]  # pixels; it is restored in tiles, so that only tiny pictures are unlike what it knows


def share(trained: Path, place: Path, data: Path) -> None:
    """Write a trained restorer: weights in bfloat16, and the card of the model beside them.

    Args:
        trained: results folder of the restoration.
        place: file of the weights.
        data: folder of prepared datasets.
    """
    training = read_stage(trained / "config/train.json", RestorationTraining)
    sampling = read_stage(trained / "config/sample.json", RestorationSampling)
    weights, made = artifacts.load_tensors(trained / sampling.sample.file(training.train))
    images = ImageStore(data / training.dataset / "train.lmdb")
    if images.digest != made["data"]:
        raise UserError("other images than it was trained on", images.path, "prepare those of the training")
    made |= {"float32_sha256": made.pop(artifacts.CONTENT)}
    artifacts.save_tensors(place, {k: v.to(torch.bfloat16) for k, v in weights.items()}, made)
    measured = trained / "restoration.json"
    card = {
        "settings": sampling.as_json(),
        "content": artifacts.load_card(place)[artifacts.CONTENT],
        "trained_for": {"size": SIDES, "statistics": statistics(images, sampling)},
        "data": {"dataset": training.dataset, "images": len(images), "licences": made.get("licences", {})},
        "recipe": {"network": training.network.as_json(), "train": training.train.as_json()},
        **({"metrics": artifacts.read_object(measured)} if measured.exists() else {}),
        "licence": "that of this package; all pictures it was trained on are named under data",
    }
    artifacts.write_json(place.with_suffix(".json"), card)
    print(place)


def statistics(images: ImageStore, sampling: RestorationSampling) -> dict[str, list[float]]:
    """Between which values the measures of the degraded training images lie."""
    ranges = likeness.ranges(_degraded(images, sampling, subset.choose_from))
    (part, *others), _ = parse(sampling.corruption)
    if not others and part.family.start == "jpeg-file":
        ranges[likeness.JPEG_QUALITY] = [part.low, part.high]
    return ranges


def _degraded(images: ImageStore, sampling: RestorationSampling, choose: Any) -> list[np.ndarray]:
    """Some of the images [H,W,3] as the network sees them."""
    items = choose(images, min(MEASURED, len(images))).tolist()
    corrupt = Problem(images.image_size, sampling).corrupt
    seen = corrupt(images.batch(items), ItemNoise(sampling.sample.seed, "corruption", items), items)
    return list(to_uint8(seen.image, "exact"))
