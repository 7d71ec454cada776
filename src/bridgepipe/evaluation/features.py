"""Features of all images, batch by batch, and digests that identify images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.evaluation.extractors import Batch
from bridgepipe.finite import finite
from bridgepipe.runtime import devices, running

Made = TypeVar("Made", Tensor, tuple[Tensor, Tensor])


class Images(Protocol):
    """A store, a list or an array: anything that hands out uint8 HWC arrays by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


def contents(images: Batch | Images) -> Tensor:
    """What each image shows: the first 8 bytes of the digest of its size and bytes, int64 ``[B]``."""
    found = []
    for i in range(len(images)):
        image = np.ascontiguousarray(images[i])
        digest = hashlib.blake2b(str(image.shape).encode() + image.tobytes(), digest_size=8).digest()
        found.append(int.from_bytes(digest, "big", signed=True))
    return torch.tensor(found, dtype=torch.int64)


def outputs(
    call: Callable[[Batch], Made],
    images: Images,
    batch_size: int,
    label: str,
) -> Iterator[Made]:
    """What ``call`` makes of all images in order, a row an image, batch by batch, on the main process.

    Every metric goes through here, which disables TF32 (`devices.full_precision`). The arguments are those of
    `running.shared`.

    Raises:
        UserError: a row is not finite, or an image is not uint8 with 3 channels: its number is named.
    """

    def run(piece: Sequence[int]) -> Made:
        with devices.full_precision():
            rows = call([_checked(images[i], f"{label}, number {i}") for i in piece])
        if isinstance(rows, tuple):
            features, shown = rows
            return finite(features, "an output of the extractor").cpu(), shown
        return finite(rows, "an output of the extractor").cpu()

    return running.shared(run, range(len(images)), batch_size, label)


def per_image(call: Callable[[Batch], Tensor], images: Images, batch_size: int, label: str) -> Tensor:
    """`outputs` as one tensor, in every process.

    Raises:
        UserError: as `outputs`.
    """
    return torch.cat(running.broadcast(list(outputs(call, images, batch_size, label))))


def data_digest(images: Images) -> str:
    """Digest of the images: a store's own, or one of all shapes and bytes, 16 hex digits."""
    digest = getattr(images, "digest", None)
    if isinstance(digest, str):
        return digest
    sha = hashlib.sha256()
    for i in range(len(images)):
        sha.update(str(images[i].shape).encode() + np.ascontiguousarray(images[i]).tobytes())
    return sha.hexdigest()[:16]


def _checked(image: np.ndarray, where: str) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(
            f"an image is {image.dtype} {image.shape}",
            where,
            "give uint8 arrays of height, width, 3 channels",
        )
    return image
