"""Reading images and corrupting them."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import Result, compare
from bridgepipe import corruptions
from bridgepipe.data import store
from bridgepipe.data.pixels import from_uint8, to_uint8
from bridgepipe.datasets.images import fit
from bridgepipe.runtime.devices import one_thread
from bridgepipe.training.views import draw

PHOTOS = 64
CPU = torch.device("cpu")


def _photos(size: int, count: int = PHOTOS) -> np.ndarray:
    """Patches of a sample photograph, uint8 [N,H,W,3]."""
    from sklearn.datasets import load_sample_image

    photo, corner = load_sample_image("china.jpg"), np.random.default_rng(0)
    tops, lefts = corner.integers(0, 427 - size, count), corner.integers(0, 640 - size, count)
    return np.stack([photo[t : t + size, x : x + size] for t, x in zip(tops, lefts, strict=True)])


def store_against_png_folder() -> Result:
    images = _photos(256)
    with tempfile.TemporaryDirectory() as folder:
        with store.writer(Path(folder) / "images.lmdb", {}, progress=False) as w:
            for i, image in enumerate(images):
                w.put(image)
                Image.fromarray(image).save(Path(folder) / f"{i}.png")
        ours = store.ImageStore(Path(folder) / "images.lmdb")

        def from_folder() -> torch.Tensor:
            return from_uint8(np.stack([np.asarray(Image.open(f"{folder}/{i}.png")) for i in range(PHOTOS)]))

        what = f"read {PHOTOS} images of 256x256 as a batch"
        return compare(what, lambda: ours.batch(range(PHOTOS)), "a folder of PNG files", from_folder)


def jpeg_files(count: int, height: int = 375, width: int = 500) -> list[bytes]:
    """Crops of a sample photograph, of the size of ImageNet's, as JPEG files."""
    from sklearn.datasets import load_sample_image

    photo, corner, files = load_sample_image("china.jpg"), np.random.default_rng(0), []
    for _ in range(count):
        top, left = corner.integers(0, 427 - height + 1), corner.integers(0, 640 - width + 1)
        file = io.BytesIO()
        Image.fromarray(photo[top : top + height, left : left + width]).save(file, "jpeg", quality=90)
        files.append(file.getvalue())
    return files


def loading_against_published() -> Iterator[Result]:
    """A batch for training, flips and all, against files that are decoded and resized in every epoch."""
    for side in (32, 64, 256):
        files = jpeg_files(PHOTOS)
        with tempfile.TemporaryDirectory() as folder:
            with store.writer(Path(folder) / "images.lmdb", {}, progress=False) as w:
                for file in files:
                    w.put(_decoded(file, side))
            images, items = store.ImageStore(Path(folder) / "images.lmdb"), range(PHOTOS)
            assert torch.equal(_load(images, items), _load_files(files, side))
            with one_thread():
                yield compare(
                    f"load a batch of {PHOTOS} images of {side}x{side} for training, processor time",
                    lambda images=images, items=items: _load(images, items),
                    "JPEG files of 500x375, decoded and resized as published",
                    lambda files=files, side=side: _load_files(files, side),
                    clock=time.process_time,
                )


def loading_against_conversion() -> Result:
    """What a loader can reach: the same bytes, widened as they lie, into new memory."""
    with tempfile.TemporaryDirectory() as folder:
        with store.writer(Path(folder) / "images.lmdb", {}, progress=False) as w:
            for image in _photos(256):
                w.put(image)
        images = store.ImageStore(Path(folder) / "images.lmdb")
        pixels = torch.from_numpy(np.stack([images[i] for i in range(PHOTOS)]))

        def convert() -> torch.Tensor:
            return torch.from_numpy(np.empty(pixels.shape, np.float32)).copy_(pixels)

        what = f"load a batch of {PHOTOS} images of 256x256 for training, processor time"
        against = "uint8 to float32 alone, neither moved nor scaled"
        with one_thread():
            return compare(
                what, lambda: _load(images, range(PHOTOS)), against, convert, 21, time.process_time
            )


def _load(images: store.ImageStore, items: Sequence[int]) -> torch.Tensor:
    """What a training does for each batch before it calls its network."""
    return draw(0, items, CPU, flip=True)(images.batch(items))


def _load_files(files: Sequence[bytes], side: int) -> torch.Tensor:
    flipped = draw(0, range(len(files)), CPU, flip=True).flipped
    assert flipped is not None
    pixels = [_decoded(file, side) for file in files]
    seen = [p[:, ::-1] if mirrored else p for p, mirrored in zip(pixels, flipped.flatten(), strict=True)]
    return torch.from_numpy(np.stack([(p.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1) for p in seen]))


def _decoded(file: bytes, side: int) -> np.ndarray:
    return fit(Image.open(io.BytesIO(file)).convert("RGB"), side)


def checked_reading_against_unchecked() -> Result:
    """What the checksum of every item costs a training, where images are smallest and it weighs most."""
    with tempfile.TemporaryDirectory() as folder:
        with store.writer(Path(folder) / "images.lmdb", {}, progress=False) as w:
            for image in _photos(32, 256):
                w.put(image)
        images = store.ImageStore(Path(folder) / "images.lmdb")

        def load() -> None:
            _load(images, range(len(images)))

        def unchecked() -> None:
            with mock.patch.object(store, "without_checksum", lambda key, value: value[:-8]):
                load()

        what = "load a batch of 256 images of 32x32 for training, processor time"
        return compare(what, load, "without checksums", unchecked, repeat=201, clock=time.process_time)


def jpeg_against_pillow() -> Result:
    x = from_uint8(_photos(64))
    jpeg = corruptions.build("jpeg-5", 64)

    def pillow() -> torch.Tensor:
        return from_uint8(np.stack([_through_pillow(image) for image in to_uint8(x)]))

    return compare(f"JPEG-5 of {PHOTOS} images of 64x64", lambda: jpeg(x), "Pillow, image by image", pillow)


def _through_pillow(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="jpeg", quality=5)
    return np.asarray(Image.open(buffer))


def blur_against_image_loop() -> Result:
    x = from_uint8(_photos(64))
    blur = corruptions.build("blur-uni", 64)

    def one_by_one() -> torch.Tensor:
        return torch.cat([blur(image[None]).image for image in x])

    return compare(f"blur of {PHOTOS} images of 64x64", lambda: blur(x), "image by image", one_by_one)
