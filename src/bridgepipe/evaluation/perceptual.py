"""What networks that see images say of them: LPIPS, the CLIP score, and the distance of identities.

None is needed: their weights are fetched, and CLIP and face recognition come with extras.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from bridgepipe.artifacts import digest_file
from bridgepipe.data.pixels import from_uint8
from bridgepipe.downloads.sources import load_sources, place_of
from bridgepipe.errors import UserError, reading
from bridgepipe.evaluation.extractors import Batch, digest_tensors, load_state
from bridgepipe.evaluation.features import Images, per_image
from bridgepipe.finite import finite
from bridgepipe.runtime import devices, running

LPIPS, CLIP = "lpips/alex", "clip/vit-b-32"  # names in sources.yaml
SMALLEST_SIDE = 31  # of AlexNet
CLIP_NETWORK = "ViT-B-32-quickgelu"  # OpenAI's activation
FACE = 112  # side of what face recognition takes


def distances_of_pairs(
    distance: Callable[[np.ndarray, np.ndarray, str], Tensor], images: Images, others: Images, label: str
) -> list[float]:
    """Distance of each of ``images`` to the one of ``others`` with its number.

    Args:
        distance: image, image and what messages call them -> a number.

    Raises:
        UserError: an image has another size than its partner, or a distance is not finite.
    """

    def one(i: int) -> Tensor:
        image, other, where = images[i], others[i], f"{label}, number {i}"
        if image.shape != other.shape:
            what = f"size {image.shape}, its partner has {other.shape}"
            raise UserError(what, where, "compare images of the same size")
        return distance(image, other, where)

    def run(piece: Sequence[int]) -> Tensor:
        with devices.full_precision():
            return finite(torch.stack([one(i) for i in piece]), "a distance").cpu()

    return torch.cat(running.shared_by_all(run, range(len(images)), 64, label, pad=False)).tolist()


def file_of(named: str) -> Path:
    """The file of weights that a person names: a name in sources.yaml, or a path.

    Raises:
        UserError: the file is not there.
    """
    path = place_of(named)
    if not path.is_file():
        fetched = named in load_sources()
        mend = f"run `bridgepipe fetch {named}`" if fetched else "give a file, or a name of sources.yaml"
        raise UserError("no such weights", path, mend)
    return path


def extra(package: str, name: str) -> ModuleType:
    """A library that an extra of this package brings.

    Raises:
        UserError: the library is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as e:
        mend = f"install it: pip install 'bridgepipe[{name}]'"
        raise UserError(f"the package {package} is missing", name, mend) from e


class Lpips:
    """LPIPS (Zhang et al. 2018) by torchmetrics, which holds the linear weights.

    Args:
        weights: state dict of torchvision's AlexNet, ``IMAGENET1K_V1``.
        device: where it runs.

    Raises:
        UserError: the file is missing, unreadable, or of another network.
    """

    metric = "lpips: AlexNet, linear weights 0.1, on uint8 as they are; mean and its 95 % interval"

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        from bridgepipe.evaluation.vision import torchvision

        state = load_state(weights)
        backbone = torchvision.models.AlexNet(num_classes=1).features
        own = {key.removeprefix("features."): v for key, v in state.items() if key.startswith("features.")}
        _fill(backbone, own, weights, "give torchvision's AlexNet")
        self.network = _lpips(backbone).to(device).requires_grad_(False)
        self.digest = digest_tensors(own)
        self._device = device

    @torch.no_grad()
    def distances(self, images: Images, others: Images, label: str = "lpips") -> list[float]:
        """Distances of pairs.

        Raises:
            UserError: sizes differ, or are too small for the network.
        """
        return distances_of_pairs(self._distance, images, others, label)

    def _distance(self, image: np.ndarray, other: np.ndarray, where: str) -> Tensor:
        if min(image.shape[:2]) < SMALLEST_SIDE:
            mend = f"use images of {SMALLEST_SIDE} pixels or more"
            raise UserError(f"size {image.shape} is too small for LPIPS", where, mend)
        x, y = (from_uint8(np.array(v)[None]).to(self._device) for v in (image, other))
        return self.network(x, y).reshape(())


def _lpips(backbone: nn.Module) -> nn.Module:
    """torchmetrics' LPIPS around a backbone, which it would download by itself."""
    from bridgepipe.evaluation import vision  # noqa: F401, I001  # before torchmetrics imports torchvision
    from torchmetrics.functional.image import lpips

    with mock.patch.object(lpips, "_get_tv_model_features", return_value=backbone):
        return lpips._NoTrainLpips(net="alex").eval()


class Clip:
    """How well images fit a text (Radford et al. 2021), by open_clip.

    Args:
        weights: state dict of OpenAI's ViT-B/32 in the layout of open_clip.
        device: where it runs.

    Raises:
        UserError: open_clip is not installed; the file is missing, unreadable, or of another network.
    """

    metric = (
        "clip: cosine of image and text, ViT-B/32, neither scaled nor clipped; mean and its 95 % interval"
    )

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        from bridgepipe.evaluation import vision  # noqa: F401  # before open_clip imports torchvision

        library, state = extra("open_clip", "clip"), load_state(weights)
        self.network = library.CLIP(**library.get_model_config(CLIP_NETWORK)).eval()
        _fill(self.network, state, weights, f"give the weights of {CLIP_NETWORK} in open_clip's layout")
        self.network.to(device).requires_grad_(False)
        self.digest = digest_tensors(state)
        self._tokens = library.SimpleTokenizer()
        self._prepare = library.image_transform(self.network.visual.image_size, is_train=False)
        self._device = device

    @torch.no_grad()
    def scores(self, images: Images, text: str, label: str = "clip") -> list[float]:
        """Cosine of each image, whatever its size, and the text."""
        meant = F.normalize(self.network.encode_text(self._tokens([text]).to(self._device)))

        def cosines(batch: Batch) -> Tensor:
            x = torch.stack([self._prepare(Image.fromarray(image)) for image in batch])
            return F.normalize(self.network.encode_image(x.to(self._device))) @ meant.T

        return per_image(cosines, images, 64, label).flatten().tolist()


class Identity:
    """How far apart two faces are for a network that recognises people (ArcFace, Deng et al. 2019).

    A face lies where CelebA-HQ and FFHQ have it: the crop is that of the identity loss of pSp. onnxruntime
    calls the network on the CPU, image by image, so that neither device nor batch changes a digit.

    Args:
        weights: ONNX file that takes RGB ``[1, 3, 112, 112]`` in [-1, 1].

    Raises:
        UserError: onnxruntime is not installed; the file is missing, unreadable, or takes something else.
    """

    metric = (
        "identity: 1 - cosine of embeddings of faces, each brought to 256 x 256 by means, of which rows 35 to"
        " 222 and columns 32 to 219 to 112 x 112; mean and its 95 % interval"
    )

    def __init__(self, weights: Path) -> None:
        library = extra("onnxruntime", "identity")
        options = library.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, torch.get_num_threads()
        with reading(weights, "cannot be read as an ONNX network", "give a network of face recognition"):
            self._session = library.InferenceSession(str(weights), options, ["CPUExecutionProvider"])
        (given,) = self._session.get_inputs()[:1]
        if list(given.shape[1:]) != [3, FACE, FACE]:
            mend = f"give one that takes [1, 3, {FACE}, {FACE}]"
            raise UserError(f"the network takes {given.shape}", weights, mend)
        self.digest = digest_file(weights)[:16]
        self._input = given.name

    def distances(self, images: Images, others: Images, label: str = "identity") -> list[float]:
        """1 - cosine of the embeddings of pairs.

        Raises:
            UserError: sizes differ.
        """
        return distances_of_pairs(self._distance, images, others, label)

    def _distance(self, image: np.ndarray, other: np.ndarray, where: str) -> Tensor:
        return 1 - F.cosine_similarity(self._embedding(image), self._embedding(other), dim=0)

    def _embedding(self, image: np.ndarray) -> Tensor:
        face = F.adaptive_avg_pool2d(from_uint8(np.array(image)[None]), 256)[..., 35:223, 32:220]
        x = F.adaptive_avg_pool2d(face, FACE)
        (found, *_) = self._session.run(None, {self._input: x.numpy()})
        return torch.from_numpy(found).double().flatten()


def _fill(network: nn.Module, state: dict[str, Tensor], weights: Path, mend: str) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as e:
        what = f"weights of another network: {' '.join(str(e).split())[:200]}"
        raise UserError(what, weights, mend) from e
