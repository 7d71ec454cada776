"""Verbs for people: what a trained model does with a person's own pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone
from bridgepipe.photographs import files, restoring
from bridgepipe.photographs.restoring import LEAST, QUALITY

Quality = StrEnum("Quality", list(QUALITY))  # type: ignore[misc]
Device = StrEnum("Device", ["auto", "cpu", "cuda", "mps"])


@groups.people.verb()
def restore(
    photos: Annotated[list[Path], typer.Argument(help="pictures, folders, globs, or - for standard input")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder or file; - is standard output [restored]")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="one that you trained, METHOD/NAME")] = None,
    results: Annotated[Path, typer.Option(help="folder of experiments")] = Path("results"),
    model: Annotated[Path | None, typer.Option(help="weights, with their card beside them")] = None,
    quality: Annotated[Quality | None, typer.Option(help="calls and sampler; default: the network's")] = None,
    nfe: Annotated[int | None, typer.Option(min=1, help="network calls")] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, max=1, help="0 input, 1 result; default: clean is left alone")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the sampler's noise")] = None,
    format: Annotated[str | None, typer.Option(help="png, jpg, webp, ...; default: as the input")] = None,
    jpeg_quality: Annotated[int, typer.Option(min=1, max=100, help="of JPEG, WebP, AVIF results")] = 95,
    compare: Annotated[Path | None, typer.Option(help="also before and after, as .png or .html")] = None,
    tile: Annotated[int, typer.Option(min=LEAST, help="pixels of a tile's side, for large pictures")] = 1024,
    device: Annotated[Device | None, typer.Option(help="default: runtime.device")] = None,
    run: Alone = Alone(),
) -> None:
    """Restore photographs. They keep size, format and metadata; the originals are not touched.

    Without --experiment or --model the network of this package is used. Given again, the command goes on
    where it was.
    """
    speed = run.start()
    if device is not None:
        speed = speed.model_copy(update={"device": str(device)})
    chosen = restoring.choose(experiment, results, model)
    found = files.looked_at(files.sources_of(photos), format)
    target = output or (Path(files.STREAM) if Path(files.STREAM) in photos else Path("restored"))
    made = files.places_of(found, target, compare)
    restorer, how = restoring.start(chosen, speed)
    asked: dict[str, Any] = QUALITY[str(quality)] if quality else {}
    asked = asked | {k: v for k, v in (("nfe", nfe), ("seed", seed)) if v is not None}
    how = how.model_copy(update=asked)
    restoring.check_calls(restorer, how)
    files.said_of(found, chosen.card.get("trained_for", {}))
    work = restoring.Work(restorer, how, strength, tile, jpeg_quality, speed)
    work.do(found, made, target)
    if compare is not None:
        files.write_comparison(compare, found)
