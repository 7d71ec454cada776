"""`python -m benchmarks.photographs [FILE ...]`: what this package's network does to JPEG files, as Markdown.

Every photograph is saved as a JPEG file (4:2:0, Pillow's), read again and restored. Without files the test
photographs of ``sample_photos.yaml`` are taken. The network was chosen without them; the limits of
`methods.restraint` were set after they had been seen.

`python -m benchmarks.photographs --large [OPTIONS OF restore]`: megapixels a second and memory of the command
as a process of its own, for a photograph of 6000x4000.
"""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bridgepipe import config
from bridgepipe.config.i2sb import Sample
from bridgepipe.evaluation.photographs import as_jpeg, ssim
from bridgepipe.evaluation.restoration import psnr
from bridgepipe.methods.i2sb import Restorer
from bridgepipe.photographs.restoring import QUALITY, choose, start
from bridgepipe.photographs.samples import photographs
from bridgepipe.runtime import devices

QUALITIES = (5, 10, 20, 40, 75)
LARGE = (6000, 4000)  # width, height


def pictures(files: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and uint8 pixels [H,W,3]."""
    chosen = [(Path(f).stem, Path(f).read_bytes()) for f in files]
    for name, content in chosen or [(p.name, p.read()) for p in photographs() if p.split == "test"]:
        yield name, np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def measured(clean: np.ndarray, image: np.ndarray) -> tuple[float, float]:
    return psnr(clean, image), ssim(clean, image)


def rows(restorer: Restorer, how: dict[str, Sample], files: Sequence[str]) -> Iterator[str]:
    """One line for every photograph and quality, and one for the photograph as it is."""
    for name, clean in pictures(files):
        height, width = clean.shape[:2]
        for quality in QUALITIES:
            seen = as_jpeg(clean, quality)
            began = time.perf_counter()
            out = {key: restorer.restore_photo(seen, each) for key, each in how.items()}
            took = time.perf_counter() - began
            (before, alike), cells = measured(clean, seen), []
            for restored in out.values():
                after, ssim = measured(clean, restored)
                cells.append(f"{after - before:+.2f} | {ssim - alike:+.4f}")
            print(f"{name} {quality}: {took:.1f} s", file=sys.stderr, flush=True)
            seen_as = f"{name}, {width}x{height} | {quality} | {before:.2f} | {alike:.4f}"
            yield f"| {seen_as} | {' | '.join(cells)} |"
        kept = (measured(clean, restorer.restore_photo(clean, each))[0] for each in how.values())
        yield f"| {name}, {width}x{height} | clean | | | {' | '.join(f'{dB:.1f} | ' for dB in kept)} |"


def large(options: Sequence[str]) -> str:
    """How fast `bridgepipe restore` is, and how much memory it takes, for a photograph of 24 megapixels."""
    _, pixels = next(pictures(()))
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder, "large.jpg")
        Image.fromarray(pixels).resize(LARGE, Image.Resampling.BICUBIC).save(photo, quality=20)
        began = time.perf_counter()
        command = [sys.executable, "-m", "bridgepipe", "restore", str(photo), "-o", folder + "/out", *options]
        subprocess.run(command, check=True)
        took, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    speed, processor = LARGE[0] * LARGE[1] / 1e6 / took, used.ru_utime + used.ru_stime
    return (
        f"{LARGE[0]}x{LARGE[1]}: {took:.0f} s ({speed:.2f} megapixels/s), {processor:.0f} s of CPU time,"
        f" peak memory {used.ru_maxrss * 1024 / 1e9:.2f} GB"
    )


def main() -> None:
    if "--large" in sys.argv:
        print(large([word for word in sys.argv[1:] if word != "--large"]))
        return
    restorer, how = start(choose(None, Path("results"), None), devices.decided(config.Runtime(), quick=True))
    each = {key: how.model_copy(update=changes) for key, changes in QUALITY.items()}
    print(f"| photograph | quality | PSNR | SSIM | {' | '.join(f'{k}: dB | SSIM' for k in each)} |")
    print("|---" * (4 + 2 * len(each)) + "|")
    for row in rows(restorer, each, sys.argv[1:]):
        print(row, flush=True)


if __name__ == "__main__":
    main()
