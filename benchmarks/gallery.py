"""The galleries of the pages: `python -m benchmarks.gallery KIND ... PICTURE`.

samplers MODEL: every sampler from one noise, by the network in a folder such as results/model/ddpm.
bridges RESULTS: holes filled by every sampler of a bridge without noise, such as results/i2sb/inpaint-center.
corruptions: a photograph under every corruption.
features CLASSIFIER: what is near in the features of a classifier, and in pixels.

`bridges` and `features` show the digits of data/prepared/digits.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from bridgepipe import corruptions
from bridgepipe.artifacts import atomic
from bridgepipe.config import Runtime
from bridgepipe.config.gaussian import Generate
from bridgepipe.config.i2sb import RestorationSampling, Sample, SamplerSettings
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data.pixels import from_uint8, to_uint8
from bridgepipe.data.store import ImageStore
from bridgepipe.evaluation.classifier import SmallClassifier
from bridgepipe.figures.canvas import Cell, mosaic
from bridgepipe.methods import spd
from bridgepipe.methods.trained import Trained, load_model
from bridgepipe.names.degradations import CHAINS, FAMILIES
from bridgepipe.names.nfe import SAMPLER_TRAITS
from bridgepipe.runtime.rng import ItemNoise
from bridgepipe.stages.restoration import Split

CPU = Runtime(device="cpu")
DIGITS = Path("data/prepared/digits")
CALLS = (3, 5, 10, 50)
DRAWS = (0, 2)
BRIDGE_CALLS = (2, 5, 10, 100)
HOLES = (3, 12)  # test images
IMPLICIT = {"sampler": "implicit", "eta": 0.0, "spacing": "angle"}
BRIDGES = {
    "ancestral": {},
    **{f"implicit, order {order}": {**IMPLICIT, "order": order} for order in (1, 2, 3)},
    **{f"implicit, {solver}": {**IMPLICIT, "order": 2, "solver": solver} for solver in ("midpoint", "heun")},
}
SIDE = 208  # of the photograph: a multiple of 16, and not enlarged by `mosaic`
COLUMNS = 5
QUERIES = (0, 2, 5, 8)  # test images
NEAREST = 4


def samplers(picture: Path, model: Path) -> None:
    network = load_model(Trained.within(model), CPU)
    cells = []
    for column, sampler in enumerate(SAMPLER_TRAITS):
        for at, calls in enumerate(CALLS):
            drawn = spd.images(network, DRAWS, Generate(sampler=sampler, nfe=calls))
            cells += [Cell(image, at + k * len(CALLS), column) for k, image in enumerate(drawn)]
    sides = [str(calls) for calls in CALLS] * len(DRAWS)
    mosaic(picture, cells, list(SAMPLER_TRAITS), sides, "two draws of noise in 3, 5, 10 and 50 calls")


def bridges(picture: Path, results: Path) -> None:
    settings = read_stage(results / "config/sample.json", RestorationSampling)
    split = Split.open(Trained.within(results), settings, DIGITS / "test.lmdb", None, CPU)
    cells = []
    for at, calls in enumerate(BRIDGE_CALLS):
        rows = [at + k * len(BRIDGE_CALLS) for k in range(len(HOLES))]
        for column, how in enumerate(BRIDGES.values(), 1):
            given = Sample.of(settings.sample, SamplerSettings.model_validate(how), nfe=calls)
            restored = split.restore(HOLES, given)
            cells += [Cell(image, row, column) for image, row in zip(restored.image, rows, strict=True)]
        cells += [Cell(image, row, 0) for image, row in zip(restored.corrupted, rows, strict=True)]
        originals = [split.clean[item] for item in HOLES]
        cells += [Cell(image, row, len(BRIDGES) + 1) for image, row in zip(originals, rows, strict=True)]
    sides = [str(calls) for calls in BRIDGE_CALLS] * len(HOLES)
    mosaic(picture, cells, ["input", *BRIDGES, "original"], sides, "two holes, filled in 2 to 100 calls")


def corrupted(picture: Path) -> None:
    """As JPEG, which photographs need a tenth of the bytes as."""
    photo = np.ascontiguousarray(load_sample_image("flower.jpg")[8::2, 110::2][:SIDE, :SIDE])
    names = [n for f in FAMILIES for n in f.examples or (f.start,) if ".." not in n]
    cells = [Cell(photo, 0, 0, "the photograph")]
    for number, name in enumerate([*names, *CHAINS], 1):
        degrade = corruptions.build(name, SIDE, "exact")
        image = degrade(from_uint8(photo[None]), ItemNoise(0, "gallery", [number])).image
        caption = name if name in names else f"chain {number - len(names)}"
        cells.append(Cell(to_uint8(image)[0], number // COLUMNS, number % COLUMNS, caption))
    drawn = io.BytesIO()
    with atomic(picture) as partial:
        mosaic(partial, cells, [""] * COLUMNS, [], "a photograph under every corruption")
        Image.open(partial).convert("RGB").save(drawn, "JPEG", quality=85, optimize=True)
        partial.write_bytes(drawn.getvalue())


def features(picture: Path, classifier: Path) -> None:
    network = SmallClassifier.load(classifier)
    train, test = (
        [images[i] for i in range(len(images))]
        for images in (ImageStore(DIGITS / f"{split}.lmdb") for split in ("train", "test"))
    )
    queries = [test[item] for item in QUERIES]
    spaces = {
        "features": (network.features(queries).numpy(), network.features(train).numpy()),
        "pixels": tuple(np.stack(images).reshape(len(images), -1) / 255 for images in (queries, train)),
    }
    cells, heads = [Cell(image, row, 0) for row, image in enumerate(queries)], ["image"]
    for name, (mine, others) in spaces.items():
        for row, one in enumerate(mine):
            order = np.argsort(((others - one) ** 2).sum(1), kind="stable")[:NEAREST]
            cells += [Cell(train[i], row, len(heads) + k) for k, i in enumerate(order)]
        heads += [f"{name}, {k}" for k in range(1, NEAREST + 1)]
    mosaic(picture, cells, heads, [], "the nearest training images, in features and in pixels")


KINDS = {"samplers": samplers, "bridges": bridges, "corruptions": corrupted, "features": features}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("read", type=Path, nargs="*")
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    KINDS[given.kind](given.picture, *given.read)


if __name__ == "__main__":
    main()
