"""Train a bridge on handwritten digits and restore some: the library alone, without a workflow engine.

python examples/restore_digits.py [STEPS]      # 300 steps take three minutes on one core
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from bridgepipe.config.i2sb import Restoration, Sample
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.store import ImageStore
from bridgepipe.datasets import digits
from bridgepipe.methods import i2sb
from bridgepipe.training.loop import train

SMALL = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 2, 2), "attention_resolutions": (4,)}


def main(steps: int, folder: Path) -> np.ndarray:
    """Rows of clean, corrupted and restored digits that training never saw, uint8 [3*32, 8*32, 3]."""
    digits.prepare(folder, size=32)
    problem = i2sb.Problem((32, 32), Restoration(corruption="jpeg-5"))
    weights = train(
        i2sb.network((32, 32), cond_x1=False, seed=0, **SMALL),
        i2sb.objective(problem),
        ImageStore(folder / "train.lmdb").of_images(),
        Recipe(steps=steps, batch_size=16, lr=5e-4),
        Runtime(),
        folder / "training",
        identity={"steps": steps},
    )
    network = i2sb.network((32, 32), cond_x1=False, seed=0, **SMALL)
    network.load_state_dict(weights)
    restorer = i2sb.Restorer(network, problem, digest="example")
    test = ImageStore(folder / "test.lmdb").of_images()
    restored = restorer.restore(test, range(8), Sample(nfe=10))
    rows = ([test[i] for i in range(8)], restored.corrupted, restored.image)
    return np.vstack([np.hstack(list(row)) for row in rows])


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        picture = main(int(sys.argv[1]) if len(sys.argv) > 1 else 300, Path(folder))
    Image.fromarray(picture).save("restored_digits.png")
    print("restored_digits.png: clean, corrupted, restored")
