"""Networks that turn images into feature vectors, behind one small interface."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bridgepipe.artifacts import digest_file
from bridgepipe.errors import UserError, reading
from bridgepipe.names import ilsvrc
from bridgepipe.names.classes import numbers_in
from bridgepipe.networks import plain

Batch = Sequence[np.ndarray] | np.ndarray
State = Mapping[str, Tensor]
INCEPTION_INPUT = {
    "legacy_pytorch": "bilinear to 299 without antialias, x / 127.5 - 1",
    "clean": "antialiased bicubic to 299, (x - 128) / 128",
}
RESNET_INPUT = "bicubic to 224 without antialias or clamp, ImageNet mean and deviation"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Extractor(Protocol):
    """A network as the metrics need it.

    One that knows classes also has ``logits(images) -> [B, classes]`` and their names, ``classes``.

    Attributes:
        name: name of the network.
        digest: SHA-256 of the weights.
        resize: rule that resizes an image to its input.
    """

    name: str
    digest: str
    resize: str

    def features(self, images: Batch) -> Tensor:
        """Features of uint8 HWC images with 3 channels: float32 ``[B, d]``."""
        ...


class Inception:
    """Inception-v3 of the published FID: the network of clean-fid, 2048 pooled features.

    Args:
        weights: the published ``pt_inception-2015-12-05`` file, or the same tensors as safetensors.
        sha256: SHA-256 of the file, or its first digits, to check; None: not checked.
        preprocessing: ``legacy_pytorch``, behind I2SB's and most published values, or ``clean``.
            clean-fid feeds the latter to a TorchScript copy of the same network, so values under
            its name elsewhere are close to these but not equal.
        device: device of the network.

    Raises:
        UserError: the file is missing, unreadable, of another checksum or of another network.
    """

    def __init__(
        self,
        weights: str | Path,
        sha256: str | None = None,
        preprocessing: str = "legacy_pytorch",
        device: torch.device | str = "cpu",
    ) -> None:
        state = load_state(weights, sha256)
        self.network = _built(inception_network, state, weights).to(device)
        self.sha256, known = _identified(weights, "extractor/inception")
        self.name = (
            f"{'inception-2015-12-05' if known else 'inception network, unknown weights'} {preprocessing}"
        )
        self.digest = digest_tensors(state)
        self.resize = INCEPTION_INPUT[preprocessing]
        self._preprocessing = preprocessing

    @torch.no_grad()
    def features(self, images: Batch) -> Tensor:
        """Pooled features of uint8 HWC images, sizes may vary: float32 ``[B, 2048]``."""
        resize = resizer(self._preprocessing)
        x = _nchw([resize(image) for image in images], self.network)
        x = 2 * (x / 255) - 1 if self._preprocessing == "legacy_pytorch" else (x - 128) / 128
        return self.network(x)[0].flatten(1)


class ResNet50:
    """torchvision's ResNet-50 with I2SB's input rule: ImageNet classes, 2048 pooled features.

    Args:
        weights: state dict of torchvision's resnet50 (I2SB used ``IMAGENET1K_V1``).
        sha256: SHA-256 of the file, or its first digits, to check; None: not checked.
        device: device of the network.

    Raises:
        UserError: the file is missing, unreadable, of another checksum or of another network.
    """

    resize = RESNET_INPUT
    classes = tuple(ilsvrc.classes())

    def __init__(
        self, weights: str | Path, sha256: str | None = None, device: torch.device | str = "cpu"
    ) -> None:
        state = load_state(weights, sha256)
        layers = list(_built(resnet50_network, state, weights).to(device).children())
        self.sha256, known = _identified(weights, "extractor/resnet50")
        self.name = "resnet50 torchvision" if known else "resnet50 network, unknown weights"
        self.digest = digest_tensors(state)
        self._trunk, self._head = nn.Sequential(*layers[:-1]), layers[-1]

    @torch.no_grad()
    def features(self, images: Batch) -> Tensor:
        """Pooled features of uint8 HWC images, sizes may vary: float32 ``[B, 2048]``."""
        x = torch.cat([_imagenet_input(_nchw([image], self._head)) for image in images])
        return self._trunk(x).flatten(1)

    @torch.no_grad()
    def logits(self, images: Batch) -> Tensor:
        """Scores of the 1000 ImageNet classes: float32 ``[B, 1000]``."""
        return self._head(self.features(images))


def load_extractor(
    kind: str,
    weights: str | Path,
    sha256: str | None = None,
    device: torch.device | str = "cpu",
    config: Mapping[str, Any] | None = None,
) -> Extractor:
    """The extractor of one of the kinds of params.yaml: classifier, inception, resnet50.

    Args:
        config: configuration under which a classifier must have been trained; None: any.

    Raises:
        UserError: as the classes of the kinds.
    """
    from bridgepipe.evaluation.classifier import SmallClassifier

    published: dict[str, Callable[..., Extractor]] = {"inception": Inception, "resnet50": ResNet50}
    if kind == "classifier":
        return SmallClassifier.load(weights, device, config)
    return published[kind](weights, sha256=sha256, device=device)


def check_fits(extractor: Extractor, images: Any) -> None:
    """Refuse a classifier's features for images of classes that it was not trained on.

    The published networks know photographs of any kind. A classifier that was trained here knows its own
    classes and size alone, and the distance of other images in its features means nothing.

    Args:
        images: a store; classes that its card does not list are not compared.

    Raises:
        UserError: images of other classes, or of another size.
    """
    size = getattr(extractor, "image_size", None)
    if size is None:
        return
    if tuple(images.image_size) != tuple(size):
        what = f"{extractor.name} takes images of {size[0]}x{size[1]}, these are {images.image_size}"
        raise UserError(what, images.path, "train it on data of this size, or take another extractor")
    made = images.card["made_by"]
    if images.classes or "source" in made:  # prepared data, or made from such
        numbers_in(getattr(extractor, "classes", ()), images.classes, extractor.name, images.path)


def describe(extractor: Extractor) -> dict[str, str]:
    """Name, digest, resize rule and sha256 of the file: the extractor's part of a protocol."""
    file = {"sha256": extractor.sha256} if hasattr(extractor, "sha256") else {}
    return {"name": extractor.name, "digest": extractor.digest, "resize": extractor.resize, **file}


def _identified(weights: str | Path, source: str) -> tuple[str, bool]:
    """sha256 of a file, and whether it is the published one of ``source``."""
    from bridgepipe.downloads import fetch, sources

    found = fetch.cached_digest(Path(weights))
    return found, found == sources.load_sources()[source].sha256


def digest_tensors(state: State) -> str:
    """Digest of names, shapes and values, whatever file they came from, 16 hex digits."""
    sha = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().cpu().contiguous().numpy()
        sha.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return sha.hexdigest()[:16]


def load_state(path: str | Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` file, or of a PyTorch file without unpickling anything else.

    Raises:
        UserError: missing, of another checksum, or not such a file.
    """
    if not Path(path).is_file():
        raise UserError("no such weights", path, "download the file and give its path")
    if sha256 is not None and not digest_file(path).startswith(sha256.lower()):
        raise UserError(
            f"sha256 is {digest_file(path)}, expected {sha256}", path, "download it again: it is not the file"
        )
    what, mend = "cannot be read as weights", "give a file with a state dict"
    if Path(path).suffix != ".safetensors":
        return plain.read_weights(path, what)
    with reading(path, what, mend):
        from safetensors.torch import load_file

        state = load_file(path)
    return plain.as_weights(state, path)


def resizer(preprocessing: str) -> Callable[[np.ndarray], np.ndarray]:
    """clean-fid's own ``legacy_pytorch`` or ``clean``: uint8 HWC to float32 ``[299, 299, 3]`` in [0, 255]."""
    with warnings.catch_warnings():  # clean-fid silences every warning of the process otherwise
        from cleanfid.resize import build_resizer

        return build_resizer(preprocessing)


def inception_network(state: State) -> nn.Module:
    """clean-fid's Inception with these weights; input ``[B, 3, 299, 299]`` in [-1, 1].

    Its constructor downloads the weights by itself; the loader is replaced while it runs.
    """
    from bridgepipe.evaluation import vision  # noqa: F401  # clean-fid imports torchvision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clean-fid calls torchvision in a deprecated way
        from cleanfid import inception_pytorch

        with mock.patch.object(inception_pytorch, "load_state_dict_from_url", return_value=state):
            return inception_pytorch.InceptionV3(resize_input=False, normalize_input=False)


def resnet50_network(state: State) -> nn.Module:
    """torchvision's ResNet-50 with these weights."""
    from bridgepipe.evaluation.vision import torchvision

    network = torchvision.models.resnet50(weights=None)
    network.load_state_dict(state)
    return network


def _built(build: Callable[[State], nn.Module], state: State, path: str | Path) -> nn.Module:
    try:
        return build(state).eval().requires_grad_(False)
    except RuntimeError as e:
        what = " ".join(str(e).split())[:200]
        raise UserError(f"weights of another network: {what}", path, "give the published file") from e


def _imagenet_input(x: Tensor) -> Tensor:
    """``[B, 3, H, W]`` in [0, 255] to what ResNet-50 sees in I2SB's evaluation."""
    mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (F.interpolate(x / 255, size=(224, 224), mode="bicubic", align_corners=False) - mean) / std


def _nchw(images: Sequence[np.ndarray], network: nn.Module) -> Tensor:
    """Float32 batch on the device of ``network``."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return batch.to(next(network.parameters()).device, torch.float32)
