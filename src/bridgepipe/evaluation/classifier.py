"""A small classifier, trained by the pipeline on its own data where no published network fits.

It names the class of a demo image and lends its penultimate layer to the FID.
Values made with it compare runs of this pipeline with one another and with
nothing else; its name in every protocol says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from bridgepipe.artifacts import Card, load_card, load_tensors, save_tensors
from bridgepipe.data.pixels import from_uint8
from bridgepipe.errors import UserError, reading
from bridgepipe.evaluation.extractors import Batch, digest_tensors
from bridgepipe.evaluation.features import Images
from bridgepipe.names.classes import trained_classes
from bridgepipe.networks.convnet import ConvNet
from bridgepipe.runtime import devices, running
from bridgepipe.runtime.progress import Progress
from bridgepipe.runtime.rng import generator
from bridgepipe.training.optimizer import AdamW

KIND = "small classifier"
STATE_EVERY = 50  # of a training, between two states
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of AdamW, for every parameter


class SmallClassifier:
    """A trained `ConvNet` as an extractor that also knows classes.

    Args:
        network: the trained network.
        image_size: height and width of the images that it was trained on; it refuses others.
        device: device that it runs on.
        classes: names of the classes, by number; their numbers when None.

    Attributes:
        card: card of its file; {} before it is saved.
    """

    name = "small classifier trained by bridgepipe"

    def __init__(
        self,
        network: ConvNet,
        image_size: Sequence[int],
        device: torch.device | str = "cpu",
        classes: Sequence[str] | None = None,
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.digest = digest_tensors(network.state_dict())
        self.classes = list(classes or map(str, range(network.head.out_features)))
        self.card: Card = {}
        self.resize = f"none, {self.image_size[0]}x{self.image_size[1]}"

    @torch.no_grad()
    def features(self, images: Batch) -> Tensor:
        """Penultimate layer: float32 ``[B, width]``.

        Raises:
            UserError: an image has another size than the training images.
        """
        return self.network.features(self._input(images))

    @torch.no_grad()
    def logits(self, images: Batch) -> Tensor:
        """Scores of the classes, float32 ``[B, classes]``; raises as `features`."""
        return self.network(self._input(images))

    def save(self, path: str | Path, card: Mapping[str, Any]) -> None:
        """Write the weights with ``card`` and what `load` needs to build the network."""
        width, classes = self.network.head.in_features, self.network.head.out_features
        shape = {"image_size": list(self.image_size), "classes": classes, "width": width}
        about = {"kind": KIND, "network": shape, "class_names": self.classes}
        save_tensors(path, self.network.state_dict(), {**card, **about})

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: torch.device | str = "cpu",
        config: Mapping[str, Any] | None = None,
    ) -> SmallClassifier:
        """Read a file of `save`.

        Args:
            config: configuration under which it must have been trained; None: any.

        Raises:
            UserError: missing, damaged, not a classifier, or trained under another configuration.
        """
        recorded = {"config": config} if config is not None and "config" in load_card(path) else {}
        weights, card = load_tensors(path, {"kind": KIND, **recorded})
        network = ConvNet(card["network"]["classes"], card["network"]["width"])
        with reading(path, "not the weights of this classifier", "give a file that train-classifier wrote"):
            network.load_state_dict(weights)
        found = cls(network, card["network"]["image_size"], device, card.get("class_names"))
        found.card = card
        return found

    def _input(self, images: Batch) -> Tensor:
        for image in images:
            if image.shape[:2] != self.image_size:
                raise UserError(
                    f"the classifier was trained on {self.image_size} pixels, an image has {image.shape[:2]}",
                    self.name,
                    "train it on data of the same size, or choose another extractor",
                )
        x = from_uint8(np.stack(list(images))).to(next(self.network.parameters()).device)
        return x.contiguous(memory_format=torch.channels_last)


def train_classifier(
    images: Images,
    labels: Sequence[int] | np.ndarray | None,
    *,
    steps: int = 400,
    batch_size: int = 64,
    lr: float = 5e-3,
    seed: int = 0,
    shift: int = 2,
    flip: bool = False,
    width: int = 64,
    classes: Sequence[str] | None = None,
) -> SmallClassifier:
    """Train on all images: AdamW, one-cycle learning rate, cross-entropy.

    On one CPU thread: the order of sums would follow the number of threads, and
    with it the digest that decides whether two values are comparable.

    Args:
        images: uint8 HWC arrays of one size, sides of at least 8.
        labels: class of every image, 0 and up.
        steps, batch_size: length of the training.
        lr: peak learning rate.
        seed: seed of the initial weights, the order and the augmentation, >= 0.
        shift: images are moved by up to so many pixels each way, borders repeated.
        flip: mirror half of them (wrong for digits and letters).
        width: number of features.
        classes: names of the classes; those of ``images`` where it is a store.

    Raises:
        UserError: no labels or not one per image, a class without images, or images of several sizes;
            the loss or a weight is not finite.
    """
    truth = _checked_labels(images, labels)
    classes = trained_classes(truth, classes or getattr(images, "classes", None), "classifier")
    image_size = images[0].shape[:2]
    network = _initial(len(classes), width, seed)
    optimizer = AdamW(network.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    order = _order(len(images), steps * batch_size, seed).reshape(steps, batch_size)
    state = _TrainingState(network, optimizer, schedule)
    with devices.one_thread(), Progress(steps, state.step, "classifier", "step") as progress:
        for step in range(state.step, steps):
            x = _augmented(images, order[step], image_size, shift, flip, generator(seed, "classifier", step))
            loss = F.cross_entropy(network(x), torch.from_numpy(truth[order[step]]))
            if not loss.isfinite():
                raise UserError(f"the loss is {loss.item()} at step {step + 1}", "classifier", "lower its lr")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            state.after(step + 1)
            progress.after(1)
    # the last update has no loss after it
    if not all(v.isfinite().all() for v in network.state_dict().values()):
        raise UserError(f"its weights are not finite after step {steps}", "classifier", "lower its lr")
    return SmallClassifier(network, image_size, classes=classes)


class _TrainingState:
    """State of a training in a block of `finished.resumable`: a call after a kill goes on from it.

    Attributes:
        step: steps that are done.
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer, schedule: LRScheduler) -> None:
        self._network, self._optimizer, self._keeper, self.step = network, optimizer, running.keeper(), 0
        if self._keeper is None:
            return
        self._work = self._keeper.begin("classifier")
        if states := list(self._keeper.batches(self._work)):
            self.step, *state = states[-1]
            self._load(state)
            schedule.load_state_dict(
                {**schedule.state_dict(), "last_epoch": self.step - 1, "_step_count": self.step}
            )
            schedule.step()  # learning rate and momentum follow from the step alone

    def after(self, step: int) -> None:
        """Save the state every ``STATE_EVERY`` steps."""
        if self._keeper is not None and step % STATE_EVERY == 0:
            moments = self._optimizer.state_dict()["state"].values()
            tensors = [of[name] for of in moments for name in MOMENTS]
            self._keeper.add(self._work, (step, *self._network.state_dict().values(), *tensors))

    def _load(self, state: list[Tensor]) -> None:
        names = list(self._network.state_dict())
        self._network.load_state_dict(dict(zip(names, state, strict=False)))
        rest = state[len(names) :]
        moments = [rest[i : i + len(MOMENTS)] for i in range(0, len(rest), len(MOMENTS))]
        by_parameter = {i: dict(zip(MOMENTS, of, strict=True)) for i, of in enumerate(moments)}
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": by_parameter, "param_groups": groups})


def _initial(classes: int, width: int, seed: int) -> ConvNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNet(classes, width).train()


def _order(n: int, total: int, seed: int) -> np.ndarray:
    """Indices of ``total`` draws: all images in a new order, again and again."""
    epochs = range(-(-total // n))
    return np.concatenate([generator(seed, "classifier order", e).permutation(n) for e in epochs])[:total]


def _augmented(
    images: Images,
    indices: np.ndarray,
    image_size: tuple[int, int],
    shift: int,
    flip: bool,
    rng: np.random.Generator,
) -> Tensor:
    """Moved and mirrored images: float32 ``[B, 3, H, W]``."""
    moves = rng.integers(-shift, shift + 1, (len(indices), 2))
    mirrored = rng.random(len(indices)) < (0.5 if flip else 0.0)
    batch = []
    for index, move, mirror in zip(indices, moves, mirrored, strict=True):
        image = images[int(index)]
        if image.shape[:2] != tuple(image_size):
            raise UserError(
                f"images of {image_size} and {image.shape[:2]} pixels",
                "classifier",
                "prepare them to one size",
            )
        rows, columns = (np.clip(np.arange(s) + m, 0, s - 1) for s, m in zip(image_size, move, strict=True))
        moved = image[rows][:, columns]
        batch.append(moved[:, ::-1] if mirror else moved)
    return from_uint8(np.stack(batch)).contiguous(memory_format=torch.channels_last)


def _checked_labels(images: Images, labels: Sequence[int] | np.ndarray | None) -> np.ndarray:
    if labels is None:
        raise UserError(
            "these images have no labels",
            "classifier",
            "train it on data with classes, or choose another extractor",
        )
    truth = np.asarray(labels, dtype=np.int64)
    if truth.shape != (len(images),) or len(images) == 0 or truth.min() < 0:
        raise UserError(
            f"labels of shape {truth.shape} for {len(images)} images",
            "classifier",
            "give every image one label, 0 and up",
        )
    return truth
