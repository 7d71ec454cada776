"""Every sampler from one noise: ``python -m benchmarks.gallery results/model/ddpm docs/samplers.png``."""

from __future__ import annotations

import sys
from pathlib import Path

from bridgepipe.config import Runtime
from bridgepipe.config.gaussian import Generate
from bridgepipe.figures.canvas import Cell, mosaic
from bridgepipe.methods import spd
from bridgepipe.methods.trained import Trained, load_model
from bridgepipe.names.nfe import SAMPLER_TRAITS

CALLS = (3, 5, 10, 50)
DRAWS = (0, 2)


def main(model: str, picture: str) -> None:
    network = load_model(Trained.within(Path(model)), Runtime(device="cpu"))
    cells = []
    for column, sampler in enumerate(SAMPLER_TRAITS):
        for at, calls in enumerate(CALLS):
            drawn = spd.images(network, DRAWS, Generate(sampler=sampler, nfe=calls))
            cells += [Cell(image, at + k * len(CALLS), column) for k, image in enumerate(drawn)]
    sides = [str(calls) for calls in CALLS] * len(DRAWS)
    mosaic(picture, cells, list(SAMPLER_TRAITS), sides, "two draws of noise in 3, 5, 10 and 50 calls")


if __name__ == "__main__":
    main(*sys.argv[1:])
