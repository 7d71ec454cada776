"""`python -m benchmarks.qualities [CLASSIFIER]`: what more calls and other samplers bring, as Markdown.

The validation photograph of ``sample_photos.yaml`` is saved as JPEG files (4:2:0) and restored by the network
of this package. PSNR and SSIM say how near a result is to the original; four measures say how much it looks
like a photograph, near or not: sharpness, fine detail and the steps between JPEG's blocks as shares of the
original's, and the FID of its patches, by the features of data/checkpoints/photos-classifier.safetensors.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from bridgepipe import config
from bridgepipe.evaluation.classifier import SmallClassifier
from bridgepipe.evaluation.fid import fid, statistics
from bridgepipe.evaluation.photographs import as_jpeg, ssim
from bridgepipe.evaluation.restoration import psnr
from bridgepipe.photographs.likeness import measures
from bridgepipe.photographs.restoring import choose, start
from bridgepipe.photographs.samples import photographs

QUALITIES = (5, 10, 20, 40)  # of the JPEG files
FINE = 0.25  # cycles per pixel: what changes faster is fine detail
PATCH, STRIDE = 64, 24
BLOCK = 8  # pixels of JPEG's blocks
ODE: dict[str, Any] = {"sampler": "ancestral", "spacing": "uniform"}
ORDER_2: dict[str, Any] = {"sampler": "implicit", "eta": 0.0, "order": 2, "spacing": "angle"}
SAMPLERS = {  # and their calls
    "OT-ODE": (ODE, (1, 2, 3, 5, 10)),
    "order 2": (ORDER_2, (2, 3, 5, 10)),
    "order 3": (ORDER_2 | {"order": 3}, (3, 5, 10)),
    "midpoint": (ORDER_2 | {"solver": "midpoint"}, (3, 5, 10)),
    "Heun": (ORDER_2 | {"solver": "heun"}, (3, 5, 10)),
}


def fine_detail(pixels: np.ndarray) -> float:
    """Power of a picture [H,W,3] at frequencies above `FINE`."""
    grey = pixels.astype(np.float64).mean(axis=-1)
    window = np.hanning(grey.shape[0])[:, None] * np.hanning(grey.shape[1])
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    y, x = (np.fft.fftfreq(side) for side in grey.shape)
    return float(power[np.hypot(y[:, None], x) > FINE].sum())


def blocks(pixels: np.ndarray) -> float:
    """Steps of a picture [H,W,3] at the borders of JPEG's blocks, over those elsewhere."""
    grey, found = pixels.astype(np.float64).mean(axis=-1), []
    for lines in (grey, grey.T):
        steps = np.abs(np.diff(lines, axis=0)).mean(axis=1)
        at_border = np.arange(1, len(steps) + 1) % BLOCK == 0
        found.append(steps[at_border].mean() / steps[~at_border].mean())
    return float(np.mean(found))


def patches(pixels: np.ndarray) -> np.ndarray:
    """[N,PATCH,PATCH,3]"""
    found = sliding_window_view(pixels, (PATCH, PATCH), axis=(0, 1))[::STRIDE, ::STRIDE]
    return np.ascontiguousarray(found.reshape(-1, 3, PATCH, PATCH).transpose(0, 2, 3, 1))


def measured(clean: np.ndarray, image: np.ndarray, extractor: SmallClassifier | None) -> dict[str, float]:
    found = {
        "PSNR": psnr(clean, image),
        "SSIM": ssim(clean, image),
        "sharpness": measures(image)["gradient"] / measures(clean)["gradient"],
        "fine detail": fine_detail(image) / fine_detail(clean),
        "blocks": blocks(image) / blocks(clean),
    }
    if extractor is not None:
        found["FID"] = fid(*(statistics(extractor, patches(one)) for one in (image, clean)))
    return found


def rows(extractor: SmallClassifier | None) -> Iterator[dict[str, Any]]:
    """Measures of every file as it is, and restored in every way."""
    restorer, how = start(choose(None, Path("results"), None), config.Runtime())
    for photo in (photo for photo in photographs() if photo.split == "val"):
        clean = np.asarray(Image.open(io.BytesIO(photo.read())).convert("RGB"))
        for quality in QUALITIES:
            seen = as_jpeg(clean, quality)
            about = {"photograph": photo.name, "quality": quality}
            yield {**about, "sampler": "none", "calls": 0, **measured(clean, seen, extractor)}
            for sampler, (settings, calls) in SAMPLERS.items():
                for nfe in calls:
                    each = how.model_copy(update={**settings, "nfe": nfe})
                    found = measured(clean, restorer.restore_photo(seen, each), extractor)
                    yield {**about, "sampler": sampler, "calls": nfe, **found}


def main(arguments: Sequence[str]) -> None:
    extractor = SmallClassifier.load(arguments[0]) if arguments else None
    found = []
    for row in rows(extractor):
        found.append(row)
        print(*row.values(), file=sys.stderr, flush=True)
    table = pd.DataFrame(found)
    print(table.to_markdown(index=False, floatfmt=".4g"))


if __name__ == "__main__":
    main(sys.argv[1:])
