"""Reading images and corrupting them."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from benchmarks.measure import Result, compare
from bridgepipe import corruptions
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.runtime import Runtime
from bridgepipe.data import store
from bridgepipe.data.pixels import from_uint8, to_uint8
from bridgepipe.runtime.rng import ItemNoise
from bridgepipe.training import loop

PHOTOS = 64


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


def checked_reading_against_unchecked() -> Result:
    """What the checksum of every item costs a training, where images are smallest and it weighs most."""
    with tempfile.TemporaryDirectory() as folder:
        with store.writer(Path(folder) / "images.lmdb", {}, progress=False) as w:
            for image in _photos(32, 256):
                w.put(image)
        load = _loading(store.ImageStore(Path(folder) / "images.lmdb"), Path(folder))

        def unchecked() -> None:
            with mock.patch.object(store, "without_checksum", lambda key, value: value[:-8]):
                load()

        what = "load a batch of 256 images of 32x32 for training, processor time"
        return compare(what, load, "without checksums", unchecked, repeat=201, clock=time.process_time)


def _loading(images: store.ImageStore, folder: Path) -> Callable[[], object]:
    """What a training does for each batch before it calls its network."""
    recipe = Recipe(steps=1, batch_size=len(images), lr=1e-3, flip=True)
    running = Runtime(device="cpu")
    run = loop._Run(torch.nn.Linear(1, 1), None, images, recipe, running, folder, {}, ItemNoise)
    return lambda: run._batch(run.places)


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
