"""A trained network as a folder that others can use: weights, settings, and a model card.

A network that diffusers knows becomes a pipeline of diffusers, with our own settings in ``bridgepipe.json``;
any other becomes ``model.safetensors`` and ``config.json``. Both have ``README.md``, the model card.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import bridgepipe
from bridgepipe import artifacts
from bridgepipe.config.gaussian import ModelTraining
from bridgepipe.config.i2sb import RestorationSampling, RestorationTraining
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import Training, read_stage, read_training
from bridgepipe.data import subset
from bridgepipe.data.parts import Part
from bridgepipe.data.pixels import to_uint8
from bridgepipe.data.store import ImageStore
from bridgepipe.downloads import hub
from bridgepipe.errors import UserError
from bridgepipe.methods.i2sb import Problem
from bridgepipe.methods.trained import Trained, home_of
from bridgepipe.names import Json, schedulers
from bridgepipe.names import unet2d as words
from bridgepipe.names.degradations import parse
from bridgepipe.names.origins import MODEL, PIPELINE, SCHEDULER, UNET
from bridgepipe.networks import layouts, unet2d
from bridgepipe.networks.layouts import OURS
from bridgepipe.photographs import likeness, shipped
from bridgepipe.runtime.rng import ItemNoise
from bridgepipe.stages import metrics, restoration
from bridgepipe.stages.cards import model_card

MEASURED = 512  # patches whose measures stand for what the network was trained on
SIDES = [32, 8192]  # pixels; it is restored in tiles, so that only tiny pictures are unlike what it knows
CARD = "README.md"


def share(
    name: str,
    results: Path,
    folder: Path,
    data: Path,
    licence: str | None,
    precision: str | None,
    speed: Runtime,
) -> None:
    """Write a trained or imported network as a folder.

    Args:
        name: ``METHOD/NAME`` of its experiment.
        results: folder of experiments.
        folder: folder that is written.
        data: folder of prepared datasets.
        licence: licence of the weights; None: that of this package, or of the source of imported weights.
        precision: bf16 or fp32, of the weights of a bridge; None: bf16, half as many bytes to fetch.
        speed: runtime settings of the restoration that is measured.

    Raises:
        UserError: the folder is that of the experiment, or bf16 is asked for of a network that is no bridge.
    """
    trained = results / name
    if folder.resolve() == trained.resolve():
        raise UserError("the folder of the experiment itself", folder, "give another --folder")
    home = home_of(trained)
    training = read_training(home / "config/train.json")
    sampling = None
    if isinstance(training, RestorationTraining):
        sampling = read_stage(trained / "config/sample.json", RestorationSampling)
    elif precision == "bf16":
        raise UserError(
            "only a bridge is shared in bf16", "--precision", "leave it out: the weights stay fp32"
        )
    file = MODEL if sampling is None else sampling.sample.file(training.train)
    weights, made = artifacts.load_tensors(home / file)
    about = {
        "bridgepipe": bridgepipe.__version__,
        "data": _data(training, made),
        "recipe": _recipe(training, made),
        "metrics": {} if sampling is not None else _metrics(name, results),
        "licence": licence or _licence(made),
    }
    shared = Shared(name, folder, training, weights, made, about)
    if sampling is not None:
        shared.restorer(sampling, data, precision or "bf16", speed)
    elif (pipeline := _pipeline(training, weights, made)) is not None:
        shared.pipeline(*pipeline)
    else:
        shared.alone()
    print(folder)


def _is_foreign(made: Json) -> bool:
    """Whether weights were imported and say nothing of what they were trained on, as published ones."""
    return "imported_sha256" in made and "data" not in made


def _data(training: Training, made: Json) -> Json:
    dataset = {"dataset": training.dataset, "licences": made.get("licences", {})}
    if "imported_sha256" not in made:
        return dataset
    imported = {**made.get("imported_from", {}), "sha256": made["imported_sha256"]}
    return {**({} if _is_foreign(made) else dataset), "imported": imported}


def _recipe(training: Training, made: Json) -> Json:
    network = {"network": training.network.as_json()}
    return network if _is_foreign(made) else {**network, "train": training.train.as_json()}


def _licence(made: Json) -> str:
    if not _is_foreign(made):
        return shipped.LICENCE
    return made.get("imported_from", {}).get("licence", "that of the file that it was imported from")


def pushed(folder: Path) -> list[Path]:
    """Files of a folder that `push` sends.

    Raises:
        UserError: the weights are damaged, or no model card is beside them.
    """
    layouts.open_weights(folder)
    if not (folder / CARD).is_file():
        raise UserError(f"no {CARD} in it", folder, "write the model card; `bridgepipe share` does")
    return hub.sent_of(folder)


def push(folder: Path, repository: str, private: bool) -> str:
    """Commit a folder to a hub when the weights in it are whole; returns the address of the commit.

    Raises:
        UserError: see `pushed`; or the hub refuses.
    """
    pushed(folder)
    return hub.upload(folder, repository, private)


@dataclass(frozen=True)
class Shared:
    """What is written of a network.

    Attributes:
        name: name of its experiment.
        folder: folder that is written.
        training: settings that it was trained under.
        weights, made: content of its file.
        about: data, recipe, metrics and licence.
    """

    name: str
    folder: Path
    training: Training
    weights: Mapping[str, Tensor]
    made: Json
    about: Json

    def restorer(self, sampling: RestorationSampling, data: Path, precision: str, speed: Runtime) -> None:
        """Weights, and the card that `restore --model` reads.

        The card reports how well these weights restore: in bf16 they are the experiment's rounded.
        """
        dataset, how = self.training.dataset, sampling.sample
        trained_for: Json = {"size": SIDES}
        if not (foreign := _is_foreign(self.made)):
            images = self._trained_on(data / dataset / "train.lmdb")
            trained_for["statistics"] = statistics(images, sampling)
            self.about["data"]["images"] = len(images)
        made = {**self.made, "float32_sha256": self.made[artifacts.CONTENT]}
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        rounded = {k: v.to(dtype) for k, v in self.weights.items()}
        originals = data / (how.dataset or dataset) / f"{how.split}.lmdb"
        if originals.exists() or not foreign:
            found = self._measured(rounded, made, sampling, originals, speed)
            self.about["metrics"] = {f"{self.name}/restoration.json": found}
        self._save(MODEL, rounded, made)
        self._describe(shipped.CARD, {"settings": sampling.as_json(), "trained_for": trained_for}, MODEL)
        self._card("bridgepipe", f"bridgepipe restore photo.jpg --model {self.folder.name}")

    def _trained_on(self, store: Path) -> ImageStore:
        """The training images.

        Raises:
            UserError: others are in their place.
        """
        images = ImageStore(store)
        if images.digest != self.made["data"]:
            raise UserError("other images than it was trained on", store, "prepare those of the training")
        return images

    def _measured(
        self,
        weights: Mapping[str, Tensor],
        made: Json,
        sampling: RestorationSampling,
        originals: Path,
        speed: Runtime,
    ) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            tried = Path(folder, MODEL)
            artifacts.save_tensors(tried, weights, made)
            artifacts.write_json(Path(folder, "train.json"), self.training.as_json())
            return measured(Trained(tried, Path(folder, "train.json")), sampling, originals, speed)

    def pipeline(self, unet: Json, scheduler: Json) -> None:
        """The layout of diffusers' DDPMPipeline."""
        theirs = unet2d.to_diffusers(self.weights, self.training.network.model_dump())
        file = f"unet/{UNET}.safetensors"
        self._save(file, theirs, self.made)
        artifacts.write_json(self.folder / "unet/config.json", unet)
        artifacts.write_json(self.folder / "scheduler" / SCHEDULER, scheduler)
        parts = {"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}
        self._describe(OURS, self._settings(), file)
        artifacts.write_json(self.folder / PIPELINE, {"_class_name": "DDPMPipeline", **parts})
        self._card("diffusers", f'DDPMPipeline.from_pretrained("{self.folder.name}")')

    def alone(self) -> None:
        """The weights themselves, and their settings."""
        self._save(MODEL, self.weights, self.made)
        self._describe(shipped.CARD, self._settings(), MODEL)
        self._card("bridgepipe", f"train: {{init: {self.folder.name}}}")

    def _settings(self) -> Json:
        keys = ("shape", "class_names", "spectrum")
        return {"settings": self.training.as_json(), **{k: self.made[k] for k in keys if k in self.made}}

    def _save(self, file: str, weights: Mapping[str, Tensor], made: Mapping[str, Any]) -> None:
        own = {key: value for key, value in made.items() if key != artifacts.CONTENT}
        artifacts.save_tensors(self.folder / file, weights, own)

    def _describe(self, file: str, more: Mapping[str, Any], weights: str) -> None:
        content = artifacts.load_card(self.folder / weights)[artifacts.CONTENT]
        artifacts.write_json(self.folder / file, {**more, "content": content, **self.about})

    def _card(self, library: str, use: str) -> None:
        artifacts.write_text(self.folder / CARD, model_card(self.name, library, use, self.about))


def _pipeline(
    training: Training, weights: Mapping[str, Tensor], made: Mapping[str, Any]
) -> tuple[Json, Json] | None:
    """Configs of the UNet2DModel and of the scheduler that a model is; None where diffusers has none."""
    if not isinstance(training, ModelTraining):
        return None
    labels = weights["label_emb.weight"].shape[0] if "label_emb.weight" in weights else None
    channels = made["shape"][0]
    outputs = 2 * channels if training.process.variance.startswith("learned") else channels
    unet = words.config_of(training.network.model_dump(), made["shape"], outputs, labels)
    scheduler = schedulers.scheduler_of(training.process.as_json(), clip=True)
    return None if unet is None or scheduler is None else (unet, scheduler)


def _metrics(name: str, results: Path) -> Json:
    """Metric files of an experiment, and of those that draw or translate with its model, by their paths."""
    found = {}
    for file in sorted(results.rglob("*.json")):
        experiment = file.parent.relative_to(results).as_posix()
        if (
            experiment.count("/") < 1
            or "config" in file.parts
            or not _uses(name, results / experiment, experiment)
        ):
            continue
        content = json.loads(file.read_bytes())
        if isinstance(content, dict) and {"values", "protocol"} <= content.keys():
            found[f"{experiment}/{file.name}"] = content
    return found


def _uses(name: str, folder: Path, experiment: str) -> bool:
    settings = folder / "config/sample.json"
    if experiment == name or not (name.startswith("model/") and settings.is_file()):
        return experiment == name
    return json.loads(settings.read_bytes()).get("model") == name.removeprefix("model/")


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
