"""LPIPS (Zhang et al. 2018) by torchmetrics, which holds the linear weights; the backbone's are fetched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from bridgepipe.data.pixels import from_uint8
from bridgepipe.errors import UserError
from bridgepipe.evaluation.extractors import digest_tensors, load_state
from bridgepipe.evaluation.features import Images
from bridgepipe.finite import finite
from bridgepipe.runtime import devices, running

SOURCE = "lpips/alex"
SMALLEST_SIDE = 31  # of AlexNet
METRIC = "lpips: AlexNet, linear weights 0.1, on uint8 as they are; mean and its 95 % interval"


class Lpips:
    """Perceptual distance of pairs of images.

    Args:
        weights: state dict of torchvision's AlexNet, ``IMAGENET1K_V1``.
        device: where it runs.

    Raises:
        UserError: the file is missing, unreadable, or of another network.
    """

    def __init__(self, weights: Path, device: torch.device | str = "cpu") -> None:
        from bridgepipe.evaluation.vision import torchvision

        state = load_state(weights)
        backbone = torchvision.models.AlexNet(num_classes=1).features
        own = {key.removeprefix("features."): v for key, v in state.items() if key.startswith("features.")}
        try:
            backbone.load_state_dict(own)
        except RuntimeError as e:
            what = f"weights of another network: {' '.join(str(e).split())[:200]}"
            raise UserError(what, weights, "give torchvision's AlexNet") from e
        self.network = _network(backbone).to(device).requires_grad_(False)
        self.digest = digest_tensors(own)
        self._device = device

    @torch.no_grad()
    def distances(self, images: Images, others: Images, label: str = "lpips") -> list[float]:
        """Distance of each of ``images`` to the one of ``others`` with its number.

        Raises:
            UserError: sizes differ, or are too small for the network.
        """

        def run(piece: Sequence[int]) -> Tensor:
            with devices.full_precision():
                found = [self._distance(images[i], others[i], f"{label}, number {i}") for i in piece]
            return finite(torch.stack(found), "a distance").cpu()

        return torch.cat(running.shared_by_all(run, range(len(images)), 64, label, pad=False)).tolist()

    def _distance(self, image: np.ndarray, other: np.ndarray, where: str) -> Tensor:
        if image.shape != other.shape:
            what = f"size {image.shape}, its partner has {other.shape}"
            raise UserError(what, where, "compare images of the same size")
        if min(image.shape[:2]) < SMALLEST_SIDE:
            mend = f"use images of {SMALLEST_SIDE} pixels or more"
            raise UserError(f"size {image.shape} is too small for LPIPS", where, mend)
        x, y = (from_uint8(np.array(v)[None]).to(self._device) for v in (image, other))
        return self.network(x, y).reshape(())


def _network(backbone: nn.Module) -> nn.Module:
    """torchmetrics' LPIPS around a backbone, which it would download by itself."""
    from bridgepipe.evaluation import vision  # noqa: F401, I001  # before torchmetrics imports torchvision
    from torchmetrics.functional.image import lpips

    with mock.patch.object(lpips, "_get_tv_model_features", return_value=backbone):
        return lpips._NoTrainLpips(net="alex").eval()
