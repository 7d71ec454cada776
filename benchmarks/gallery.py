"""One network, one noise, every sampler: ``python -m benchmarks.gallery results/model/ddpm docs/samplers.png``."""

from __future__ import annotations

import sys
from pathlib import Path

from bridgepipe.config import Runtime
from bridgepipe.config.gaussian import Generate
from bridgepipe.figures.canvas import Cell, mosaic
from bridgepipe.methods import spd
from bridgepipe.methods.trained import Trained, load_model
from bridgepipe.names.nfe import SAMPLER_TRAITS

SAMPLERS = tuple(SAMPLER_TRAITS)
CALLS = (10, 20, 150)
DRAWS = 4


def main(model: str, picture: str) -> None:
    network = load_model(Trained.within(Path(model)), Runtime(device="cpu"))
    cells = []
    for row, sampler in enumerate(SAMPLERS):
        for at, calls in enumerate(CALLS):
            drawn = spd.images(network, range(DRAWS), Generate(sampler=sampler, nfe=calls))
            cells += [Cell(image, row, at * DRAWS + k) for k, image in enumerate(drawn)]
    columns = [f"{calls} calls" if k == 0 else "" for calls in CALLS for k in range(DRAWS)]
    mosaic(picture, cells, columns, list(SAMPLERS), "one network and one noise a column, by each sampler")


if __name__ == "__main__":
    main(*sys.argv[1:])
