"""A trained restorer as two files that others can use: its weights, and a model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.config.i2sb import RestorationSampling, RestorationTraining
from bridgepipe.config.stage_files import read_stage
from bridgepipe.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from bridgepipe.data.store import ImageStore

MEASURED = 512  # patches whose measures stand for what the network was trained on
SIDES = [32, 8192]  # pixels; it is restored in tiles, so that only tiny pictures are unlike what it knows


@groups.people.verb()
def share(
    experiment: Annotated[str, typer.Argument(help="a trained restoration, i2sb/NAME")],
    folder: Annotated[Path, typer.Option(help="of the two files")],
    name: Annotated[str | None, typer.Option(help="of the files; default: the experiment's")] = None,
    results: Annotated[Path, typer.Option(help="folder of experiments")] = Path("results"),
    data: Annotated[Path, typer.Option(help="folder of prepared datasets")] = Path("data/prepared"),
) -> None:
    """Write a trained restorer for `restore --model`: weights in bfloat16, and the card of the model."""
    import torch

    from bridgepipe.data.store import ImageStore

    trained = results / experiment
    training = read_stage(trained / "config/train.json", RestorationTraining)
    sampling = read_stage(trained / "config/sample.json", RestorationSampling)
    weights, made = artifacts.load_tensors(trained / "model.safetensors")
    images = ImageStore(data / training.dataset / "train.lmdb")
    if images.digest != made["data"]:
        raise UserError("other images than it was trained on", images.path, "prepare those of the training")
    place = folder / f"{name or Path(experiment).name}.safetensors"
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
    from bridgepipe.data import subset
    from bridgepipe.names.degradations import parse
    from bridgepipe.photographs import likeness

    ranges = likeness.ranges(_degraded(images, sampling, subset.choose_from))
    (part, *others), _ = parse(sampling.corruption)
    if not others and part.family.start == "jpeg-file":
        ranges[likeness.JPEG_QUALITY] = [part.low, part.high]
    return ranges


def _degraded(images: ImageStore, sampling: RestorationSampling, choose: Any) -> list[np.ndarray]:
    """Some of the images [H,W,3] as the network sees them."""
    from bridgepipe.data.pixels import to_uint8
    from bridgepipe.methods.i2sb import Problem
    from bridgepipe.runtime.rng import ItemNoise

    items = choose(images, min(MEASURED, len(images))).tolist()
    corrupt = Problem(images.image_size, sampling).corrupt
    seen = corrupt(images.batch(items), ItemNoise(sampling.sample.seed, "corruption", items), items)
    return list(to_uint8(seen.image, "exact"))
