"""A trained restorer as two files that others can use: its weights, and a model card."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bridgepipe import artifacts
from bridgepipe.config.i2sb import RestorationSampling, RestorationTraining
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data import subset
from bridgepipe.data.parts import Part
from bridgepipe.data.pixels import to_uint8
from bridgepipe.data.store import ImageStore
from bridgepipe.errors import UserError
from bridgepipe.methods.i2sb import Problem
from bridgepipe.methods.trained import Trained, home_of
from bridgepipe.names.degradations import parse
from bridgepipe.photographs import likeness
from bridgepipe.runtime.rng import ItemNoise
from bridgepipe.stages import metrics, restoration

MEASURED = 512  # patches whose measures stand for what the network was trained on
SIDES = [32, 8192]  # pixels; it is restored in tiles, so that only tiny pictures are unlike what it knows


def share(trained: Path, place: Path, data: Path, speed: Runtime) -> None:
    """Write a trained restorer: weights in bfloat16, and the card of the model beside them.

    The card tells how well these very weights restore, which differ from those of the experiment by rounding.

    Args:
        trained: results folder of the restoration.
        place: file of the weights.
        data: folder of prepared datasets.
        speed: of the restoration that is measured.
    """
    home = home_of(trained)
    training = read_stage(home / "config/train.json", RestorationTraining)
    sampling = read_stage(trained / "config/sample.json", RestorationSampling)
    weights, made = artifacts.load_tensors(home / sampling.sample.file(training.train))
    images = ImageStore(data / training.dataset / "train.lmdb")
    if images.digest != made["data"]:
        raise UserError("other images than it was trained on", images.path, "prepare those of the training")
    made |= {"float32_sha256": made.pop(artifacts.CONTENT)}
    how, rounded = sampling.sample, {k: v.to(torch.bfloat16) for k, v in weights.items()}
    with tempfile.TemporaryDirectory() as folder:
        tried = Path(folder, place.name)
        artifacts.save_tensors(tried, rounded, made)
        card = {
            "settings": sampling.as_json(),
            "content": artifacts.load_card(tried)[artifacts.CONTENT],
            "trained_for": {"size": SIDES, "statistics": statistics(images, sampling)},
            "data": {
                "dataset": training.dataset,
                "images": len(images),
                "licences": made.get("licences", {}),
            },
            "recipe": {"network": training.network.as_json(), "train": training.train.as_json()},
            "metrics": measured(
                Trained(tried, trained / "config/train.json"),
                sampling,
                data / (how.dataset or training.dataset) / f"{how.split}.lmdb",
                speed,
            ),
            "licence": "that of this package; all pictures it was trained on are named under data",
        }
    artifacts.save_tensors(place, rounded, made)
    artifacts.write_json(place.with_suffix(".json"), card)
    print(place)


def measured(trained: Trained, sampling: RestorationSampling, originals: Path, speed: Runtime) -> Any:
    """What ``restoration.json`` would hold of a network: restored images of the split that is sampled.

    Args:
        originals: store of that split.
    """
    with tempfile.TemporaryDirectory() as folder:
        restored, corrupted, found = (Path(folder, name) for name in ("a.lmdb", "b.lmdb", "found.json"))
        restoration.sample(sampling, trained, originals, restored, corrupted, Part(), None, speed)
        metrics.restoration_metric(restored, corrupted, originals, found)
        return artifacts.read_object(found)


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
