"""What `test_processes` runs in each of two processes; every process leaves what it has in FOLDER.

Run without a launcher it is the one process that the two are compared with.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bridgepipe import artifacts
from bridgepipe.config.gaussian import Generate, Process
from bridgepipe.config.i2sb import Restoration, Sample
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.validation import Validation
from bridgepipe.errors import UserError
from bridgepipe.evaluation import accuracy, fid
from bridgepipe.methods import gaussian, i2sb, spd
from bridgepipe.runtime import running
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.runtime.rng import ItemNoise
from bridgepipe.stages.validation import _Measure
from bridgepipe.training import loop
from bridgepipe.training.objective import Batch, Objective
from bridgepipe.training.validation import Validator

RECIPE = Recipe(steps=12, batch_size=8, lr=1e-2, lr_gamma=0.5, lr_step=5, ema=0.9, flip=True, log_every=1)
RUNNING = Runtime(device="cpu", save_every=4)
TRAININGS = {
    "even": (RECIPE, RUNNING),
    "odd": (RECIPE.model_copy(update={"batch_size": 7}), RUNNING),
    "pieces": (RECIPE.model_copy(update={"batch_size": 7}), RUNNING.model_copy(update={"microbatch": 2})),
    "clipped": (RECIPE.model_copy(update={"grad_clip": 0.1}), RUNNING),
}
IMAGES = np.random.default_rng(0).integers(0, 256, (23, 16, 16, 3), dtype=np.uint8)
LABELS = np.arange(23) % 5
BATCH = 5
UNET = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1,), "attention_resolutions": ()}


class Tiny:
    """20 fixed images of 1x4x4."""

    images = torch.linspace(-1, 1, 20 * 16).reshape(20, 1, 4, 4).sin()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.images[list(indices)]


class Points:
    """20 fixed points."""

    points = torch.linspace(-1, 1, 40).reshape(20, 2)

    def __len__(self) -> int:
        return len(self.points)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.points[list(indices)]


class Clean:
    """IMAGES as networks see them."""

    def __len__(self) -> int:
        return len(IMAGES)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(IMAGES[list(indices)]).permute(0, 3, 1, 2).float() / 127.5 - 1


class Projection:
    """Features and logits by a fixed matrix."""

    name, digest, resize = "projection", "0", "none"
    matrix = torch.from_numpy(np.random.default_rng(1).standard_normal((768, 8))).float()

    def features(self, images: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(images).reshape(len(images), -1)).float() @ self.matrix

    def logits(self, images: Sequence[np.ndarray]) -> Tensor:
        return self.features(images)[:, :5]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv2d(4, 1, 3, padding=1))


def objective(network: nn.Module, batch: Batch) -> Tensor:
    noise = batch.rng.normal(batch.images.shape[1:])
    return (network(batch.images + noise) - batch.images).square().flatten(1).mean(1)


def stopping(network: nn.Module, batch: Batch) -> Tensor:
    """Asks the last process, and no other, to stop in its sixth step."""
    rank, world = running.rank_and_world_size()
    stopping.calls += 1  # type: ignore[attr-defined]
    if rank == world - 1 and stopping.calls == 6:  # type: ignore[attr-defined]
        os.kill(os.getpid(), signal.SIGUSR1)
    return objective(network, batch)


stopping.calls = 0  # type: ignore[attr-defined]


def train(
    folder: Path,
    recipe: Recipe,
    speed: Runtime,
    loss: Objective,
    points: nn.Module | None = None,
    validator: Validator | None = None,
) -> dict[str, Tensor]:
    trained, data = (network(), Tiny()) if points is None else (points, Points())
    identity = {"data": "tiny"}
    return loop.train(trained, loss, data, recipe, speed, folder, identity, validator=validator)


def validator() -> Validator:
    """Of 13 of the images, 5 at a time."""
    how, model = Validation(every=3, images=13), running.Inference(network(), RUNNING)
    model.batch_size = BATCH
    noise = partial(ItemNoise, 0, "validation")
    nothing: Any = None
    objectives = {"loss": objective}
    measure = _Measure(objectives, Tiny(), list(range(13)), noise, how, model, None, nothing, None, None)
    return Validator(how, {}, measure)


def trainings(folder: Path) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for name, (recipe, speed) in TRAININGS.items():
        yield name, train(folder / name, recipe, speed, objective)
    train(folder / "longer", RECIPE.model_copy(update={"steps": 6}), RUNNING, objective)
    yield "longer", train(folder / "longer", RECIPE, RUNNING, objective)
    yield "validated", train(folder / "validated", RECIPE, RUNNING, objective, validator=validator())
    stopping.calls = 0  # type: ignore[attr-defined]
    with pytest.raises(Interrupted, match="stopped after step 6"):
        train(folder / "halted", RECIPE, RUNNING, stopping, validator=validator())
    train(folder / "halted", RECIPE, RUNNING, objective, validator=validator())
    for name in ("stopped", "left"):
        stopping.calls = 0  # type: ignore[attr-defined]
        with pytest.raises(Interrupted, match="stopped after step 6"):
            train(folder / name, RECIPE, RUNNING, stopping)
    points, recipe = (
        gaussian.Diffusion((2,), Process(schedule="cosine", T=3, times="loss_aware")),
        TRAININGS["odd"][0],
    )
    learning = gaussian.Denoising(points)
    drawn = recipe.model_copy(update={"flip": False})
    yield "learning", train(folder / "learning", drawn, RUNNING, learning, gaussian.network("points", points))
    yield "learnt", learning.state_dict()
    yield "stopped", train(folder / "stopped", RECIPE, RUNNING, objective)


def shaken(network: nn.Module) -> nn.Module:
    """With weights that are nowhere zero: an untrained network puts out nothing."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return network


def restore(items: Sequence[int]) -> np.ndarray:
    problem = i2sb.Problem((16, 16), Restoration(corruption="jpeg-5", interval=20))
    unet = i2sb.network((16, 16), False, 0, **UNET)
    restorer = i2sb.Restorer(shaken(unet), problem, "0", runtime=Runtime(device="cpu", batch_size=BATCH))
    return restorer.restore(Clean(), items, Sample(nfe=3)).image


def generate(items: Sequence[int]) -> np.ndarray:
    diffusion = gaussian.Diffusion((3, 16, 16), Process(T=100))
    unet = gaussian.network("adm", diffusion, **UNET)
    model = gaussian.Model(shaken(unet), diffusion, "0", runtime=Runtime(device="cpu", batch_size=BATCH))
    return spd.images(model, items, Generate(nfe=3))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    running.accelerator("cpu")
    rank, world = running.rank_and_world_size()
    here = folder / f"{rank}-of-{world}"
    for name, weights in trainings(folder / f"training-{world}"):
        artifacts.save_tensors(here / f"{name}.safetensors", weights, {})
    for name, work in {"restored": restore, "generated": generate}.items():
        results = running.shared(work, range(3, 23), BATCH, name)
        if not running.is_main():
            running.exhaust(results)
        else:
            np.save(here / f"{name}.npy", np.concatenate(list(results)))
    fid.statistics(Projection(), IMAGES, BATCH).save(here / "statistics.safetensors")
    fid.statistics(Projection(), IMAGES, 64).save(here / "one-batch.safetensors")
    found = accuracy.classifier_accuracy(Projection(), IMAGES, LABELS, BATCH)
    refused = ""
    try:
        train(folder / "small", RECIPE.model_copy(update={"batch_size": 1}), RUNNING, objective)
    except UserError as e:
        refused = str(e)
    said = {"accuracy": dataclasses.asdict(found), "refused": refused, "gathered": running.all_gather(rank)}
    (here / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
