"""Colour transfer between two photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bridgepipe import artifacts
from bridgepipe.config.colors import ColorTranslating
from bridgepipe.config.runtime import Runtime
from bridgepipe.datasets.colors import Scaling
from bridgepipe.datasets.points import Points
from bridgepipe.errors import UserError
from bridgepipe.evaluation import protocol
from bridgepipe.methods import color
from bridgepipe.methods.trained import Ends, check_dimension, load_ends
from bridgepipe.names import Json
from bridgepipe.runtime import running
from bridgepipe.runtime.finished import resumable

BETWEEN = " as "  # photograph as photograph: method


def color_transfer(
    how: ColorTranslating,
    ends: Ends,
    source_pixels: Path,
    target_pixels: Path,
    output: Path,
    speed: Runtime,
) -> None:
    """Give each of two photographs the colours of the other, by DDIB and by optimal transport."""
    models = load_ends(ends, speed)
    clouds = [Points(source_pixels), Points(target_pixels)]
    for model, cloud in zip(models, clouds, strict=True):
        check_dimension(model, cloud)
    if len(names := {_photograph(cloud) for cloud in clouds}) < len(clouds):
        raise UserError(f"both photographs are called {names.pop()}", target_pixels, "rename one of them")
    tensors: dict[str, torch.Tensor] = {}
    made_by = {"settings": how.as_json(), "models": {"source": models[0].digest, "target": models[1].digest}}
    made_by |= {"data": {_photograph(cloud): cloud.digest for cloud in clouds}}
    plan = how.plan, how.sinkhorn, how.seed
    with resumable(output, made_by, speed):
        for i, j in ((0, 1), (1, 0)):
            a, b = clouds[i].points, clouds[j].points
            way = f"{_photograph(clouds[i])}{BETWEEN}{_photograph(clouds[j])}"
            found = color.transfer(models[i], models[j], a, b, how.translate, *plan, way)
            tensors |= {f"{way}: {method}": torch.from_numpy(points) for method, points in found.items()}
        if running.is_main():
            artifacts.save_tensors(output, tensors, {"kind": "colors", "made_by": made_by})


def evaluate_color(
    transferred: Path,
    source_pixels: Path,
    target_pixels: Path,
    metrics: Path,
    figure: Path,
    title: str,
) -> None:
    """Mean squared errors to optimal transport, distances of the palettes, and both transfers as pictures."""
    from bridgepipe.figures import points as figures_points  # not for what draws nothing

    tensors, clouds, made_by = _transfer(transferred, source_pixels, target_pixels)
    seed = made_by["settings"]["seed"]
    values: dict[str, float] = {}
    rows, errors = [], []
    for a, b in (list(clouds), list(clouds)[::-1]):
        points = {method: tensors[f"{a}{BETWEEN}{b}: {method}"].numpy() for method in color.METHODS}
        images = {method: _picture(p, clouds[a], clouds[b]) for method, p in points.items()}
        own = [_picture(clouds[name].points, clouds[name], clouds[name]) for name in (a, b)]
        found = color.measures(points, images, clouds[a].points, clouds[b].points, seed)
        values |= {f"{a}{BETWEEN}{b}: {k}": v for k, v in found.items()}
        rows.append({"Photograph": own[0], "Colours of": own[1], **images})
        errors.append(found)
    shared = protocol.protocol(
        "colour transfer: MSE of pictures in [-1, 1]",
        n=sum(len(cloud) for cloud in clouds.values()),
        # how DDIB's own way is solved is what the numbers compare
        settings={k: v for k, v in made_by["settings"].items() if k != "translate"},
        inputs=clouds,
        quantisation="uint8, rounded",
    )
    protocol.write_metric(metrics, values, shared, made_by)
    under = {m: [f"MSE to DDIB {e[f'mse_{m.lower()}']:.4f}" for e in errors] for m in color.METHODS[1:]}
    figures_points.color_transfer(figure, rows, under, title)


def color_picture(
    transferred: Path,
    source_pixels: Path,
    target_pixels: Path,
    output: Path,
) -> None:
    """One picture of a transfer by DDIB; the name of OUTPUT, ``A-as-B.png``, says which."""
    tensors, clouds, _ = _transfer(transferred, source_pixels, target_pixels)
    a, _, b = output.stem.partition("-as-")
    picture = _picture(tensors[f"{a}{BETWEEN}{b}: {color.DDIB}"].numpy(), clouds[a], clouds[b])
    with artifacts.atomic(output) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def _transfer(transferred: Path, *pixels: Path) -> tuple[dict[str, Tensor], Json, Json]:
    """Transferred points, the pixels by the name of their photograph, and how they were made.

    Raises:
        UserError: the transfer is of other pixels.
    """
    tensors, card = artifacts.load_tensors(transferred)
    clouds = {_photograph(cloud): cloud for cloud in map(Points, pixels)}
    if {name: cloud.digest for name, cloud in clouds.items()} != card["made_by"]["data"]:
        what = f"a transfer between other pixels than {' and '.join(map(str, pixels))}"
        raise UserError(what, transferred, "give the pixels that it was made from")
    return tensors, clouds, card["made_by"]


def _photograph(cloud: Any) -> str:
    return Path(cloud.card["made_by"]["image"]).stem


def _picture(points: np.ndarray, of: Any, palette: Any) -> np.ndarray:
    """Points on the scale of ``palette`` as a picture of the size of ``of``."""
    height, width = of.card["made_by"]["size"]
    return Scaling.of(palette.card).to_image(points, (height, width))
