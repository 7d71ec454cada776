"""Verbs for people: what a trained model does with a person's own pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.options import Alone, DryRun, GuideFolder, ModelFolder, OtherModel, Shared
from bridgepipe.errors import UserError
from bridgepipe.finite import number
from bridgepipe.names import Json
from bridgepipe.names.nfe import SolverName
from bridgepipe.photographs import files, restoring
from bridgepipe.photographs.restoring import LEAST, QUALITY

Quality = StrEnum("Quality", list(QUALITY))  # type: ignore[misc]
Device = StrEnum("Device", ["auto", "cpu", "cuda", "mps"])
Names = StrEnum("Names", ["number", "source"])
Stored = StrEnum("Stored", ["bf16", "fp32"])
Grid = Literal["dmi", "ddib", "exact"]
Results = Annotated[Path, typer.Option(help="folder of experiments")]
Crop = Literal["adm", "torchvision", "stretch"]
Way = Literal["ddim", "ddpm"]


def _times(steps: str) -> str:
    if steps != "all" and not (steps.isdecimal() and int(steps) >= 2):
        raise typer.BadParameter(f"{steps!r} is neither a number above 1 nor all.")
    return steps


def _distances(text: str) -> list[float]:
    """START:END:N or one number, as distances.

    Raises:
        UserError: the text is neither.
    """
    import numpy as np

    try:
        start, end, n = text.split(":") if ":" in text else (text, text, "1")
        first, last = (number(float(end), "--distances") for end in (start, end))
        if int(n) < 1:
            raise ValueError
        return np.linspace(first, last, int(n)).tolist()
    except ValueError:
        mend = "give START:END:N, such as -3:3:7"
        raise UserError(f"distances {text!r}", "edit --distances", mend) from None


@groups.people.verb()
def restore(
    photos: Annotated[list[Path], typer.Argument(help="pictures, folders, globs, or - for standard input")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder or file; - is standard output [restored]")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="one that you trained, METHOD/NAME")] = None,
    results: Results = Path("results"),
    model: Annotated[Path | None, typer.Option(help="shared folder, weights, or hf:OWNER/NAME")] = None,
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
    dry_run: DryRun = False,
    run: Alone = Alone(),
) -> None:
    """Restore photographs. They keep size, format and metadata; the originals are not touched.

    Without --experiment or --model the network of this package is used. Given again, the command goes on
    where it was.
    """
    # before libraries are loaded, which takes long
    sources, chosen = files.sources_of(photos), restoring.choose(experiment, results, model)
    target = output or (Path(files.STREAM) if Path(files.STREAM) in photos else Path("restored"))
    files.check_target(sources, target, compare)
    found = files.looked_at(sources, format)
    made = files.places_of(found, target)
    speed = run.start(quick=True, **({"device": str(device)} if device else {}))
    restorer, how = restoring.start(chosen, speed)
    asked: Json = QUALITY[str(quality)] if quality else {}
    asked = asked | {k: v for k, v in (("nfe", nfe), ("seed", seed)) if v is not None}
    how = how.model_copy(update=asked)
    restoring.check_calls(restorer, how)
    files.said_of(found, chosen.card.get("trained_for", {}))
    work = restoring.Work(restorer, how, strength, tile, jpeg_quality, speed)
    if dry_run:
        work.say(found, made, compare)
        return
    work.do(found, made, target)
    if compare is not None:
        files.write_comparison(compare, found)


@groups.people.verb()
def translate(
    input: Annotated[Path, typer.Option(help="folder of images, searched to any depth", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the translations")],
    model: ModelFolder,
    class_a: Annotated[str | None, typer.Option(help="class of the images, by name or number")] = None,
    class_b: Annotated[str | None, typer.Option(help="class that they are translated to")] = None,
    target_model: OtherModel = None,
    guide: GuideFolder = None,
    scale: Annotated[float, typer.Option(help="of the guide, or without one of the null class; 0: none")] = 0,
    respace_type: Annotated[str, typer.Option(help="uniform, quad, log_snr, …")] = "uniform",
    steps: Annotated[str, typer.Option(help="number of visited times, or all", callback=_times)] = "100",
    solver: Annotated[SolverName, typer.Option(help="how steps are taken: docs/samplers.md")] = "ddim",
    eta: Annotated[float, typer.Option(min=0, help="noise of ddim on the way to the target")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="of that noise")] = 0,
    grid: Annotated[Grid, typer.Option(help="of timesteps: two as published, or one both ways")] = "dmi",
    clip: Annotated[bool, typer.Option(help="clamp predictions of the clean image, both ways")] = True,
    crop: Annotated[Crop, typer.Option(help="how images come to the size of the network")] = "adm",
    batch_size: Annotated[int, typer.Option(min=1, help="images at once")] = 16,
    side_by_side: Annotated[bool, typer.Option(help="also write side-by-side/: before and after")] = False,
    dry_run: DryRun = False,
    run: Shared = Shared(),
) -> None:
    """Translate every image of a folder from one class to another; finished ones are skipped.

    Each process takes whole batches, so the results do not depend on how many there are.
    """
    from bridgepipe.datasets.folder import image_names

    image_names(input)  # refuses a folder without images before libraries are loaded
    speed = run.start(batch_size=batch_size)
    from bridgepipe.photographs import translating

    times = "" if steps == "all" else f"{respace_type} {steps}"
    how = translating.settings_of(times, solver, grid, clip, scale, guide is not None, eta, seed)
    models = (model, target_model, guide)
    translating.translate(input, output, (class_a, class_b), how, models, crop, side_by_side, speed, dry_run)


@groups.people.verb()
def edit(
    photo: Annotated[Path, typer.Argument(help="an image of any size; it is brought to the network's")],
    boundary: Annotated[list[Path], typer.Option(help="folder of a boundary; several are taken in turn")],
    output: Annotated[Path, typer.Option("--output", "-o", help="picture of the strip")],
    distances: Annotated[
        str, typer.Option(help="START:END:N along the last boundary, or one number")
    ] = "-3:3:7",
    at: Annotated[list[float] | None, typer.Option(help="distance along each boundary but the last")] = None,
    model: Annotated[Path | None, typer.Option(help="folder of the network; default: the boundary's")] = None,
    t: Annotated[int | None, typer.Option(help="step of the edit; default: the boundary's")] = None,
    steps: Annotated[int | None, typer.Option(help="visited steps on the way there, and back")] = None,
    kind: Annotated[Way | None, typer.Option(help="way back: ddim, or ddpm with fresh noise")] = None,
    eta: Annotated[float | None, typer.Option(help="noise of ddim; 0: none")] = None,
    seed: Annotated[int | None, typer.Option(help="of the noise")] = None,
    dry_run: DryRun = False,
    run: Alone = Alone(),
) -> None:
    """Edit an image at every distance along a boundary, beside itself and itself decoded without a move.

    The folder beside the strip that has its name gets each picture at the size of the network. The
    boundary's experiment gives the settings that are not given here.
    """
    from bridgepipe.datasets.images import read_photo

    along = _distances(distances)
    read_photo(photo)  # refuses what is no picture before libraries are loaded
    speed = run.start()
    from bridgepipe.photographs import editing

    asked = {"count": steps, "kind": kind, "eta": eta, "seed": seed}
    changes = {key: value for key, value in asked.items() if value is not None}
    editing.edit(photo, boundary, output, along, at or [], model, t, changes, speed, dry_run)


@groups.people.verb()
def generate(
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the images")],
    experiment: Annotated[
        str | None, typer.Option(help="whose model and sampler draw; default: spd/spd, or sampler's defaults")
    ] = None,
    num_images: Annotated[int, typer.Option(min=1, help="how many are drawn")] = 16,
    seed: Annotated[int | None, typer.Option(help="of the noise; default: the experiment's")] = None,
    model: Annotated[Path | None, typer.Option(help="network: folder, diffusers' too, hf:OWNER/NAME")] = None,
    results: Results = Path("results"),
    run: Alone = Alone(),
) -> None:
    """Draw images as an experiment does, as PNG files; with its seed, the first of its own samples."""
    speed = run.start()
    from bridgepipe.stages import generation

    generation.generate(output, experiment, num_images, seed, model, results, speed)


@groups.boundaries.verb("import")
def import_boundary(
    file: Annotated[Path, typer.Argument(help="a .sav, .npz or .npy file, or the name of a fetched source")],
    space: Annotated[Literal["z", "h"], typer.Option(help="the name of the file tells")],
    model: Annotated[Path, typer.Option(help="folder of the network that it belongs to")],
    attribute: str = typer.Option(..., help="name of the attribute"),
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the boundary")] = ...,  # type: ignore[assignment]
    t: Annotated[int, typer.Option(help="step of its latents")] = 500,
    variant: Annotated[Literal["published", "exact"], typer.Option(help="timing of h")] = "published",
) -> None:
    """Take in a boundary of others. Nothing in the file is run.

    An .npy file holds the coefficients of a linear classifier, an .npz file coef and intercept.
    """
    from bridgepipe.photographs import editing

    editing.import_boundary(file, space, model, attribute, output, t, variant)


@groups.boundaries.verb("export")
def export_boundary(
    boundary: Annotated[Path, typer.Argument(help="z.safetensors or h.safetensors of a boundary")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help=".npz: coef and intercept; .npy: coef alone")
    ],
) -> None:
    """Write a boundary as arrays of NumPy."""
    artifacts.load_card(boundary)  # refuses what is no file of ours before libraries are loaded
    from bridgepipe.photographs import editing

    editing.export_boundary(boundary, output)


@groups.people.verb()
def share(
    experiment: Annotated[str, typer.Argument(help="one with a network of its own, METHOD/NAME")],
    folder: Annotated[Path, typer.Option(help="that is written")],
    licence: Annotated[
        str | None,
        typer.Option(help="of the weights, for the card; default: of this package, or of their source"),
    ] = None,
    results: Results = Path("results"),
    data: Annotated[Path, typer.Option(help="folder of prepared datasets")] = Path("data/prepared"),
    precision: Annotated[
        Stored | None, typer.Option(help="of the weights; default: bf16 of a bridge, fp32 of others")
    ] = None,
    run: Alone = Alone(),
) -> None:
    """Write a trained network as a folder for others: weights, settings, model card.

    It is a pipeline of diffusers where diffusers has the architecture and the process.
    """
    speed = run.start()
    from bridgepipe.stages import sharing

    stored = None if precision is None else precision.value
    sharing.share(experiment, results, folder, data, licence, stored, speed)


@groups.people.verb()
def push(
    folder: Annotated[Path, typer.Argument(help="that `share` wrote, or any folder of weights")],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub")],
    private: Annotated[bool, typer.Option("--private", help="a new repository is private")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the files that would be sent")] = False,
) -> None:
    """Commit a folder of weights to a Hugging Face hub; `fetch hf:OWNER/NAME` brings it back.

    HF_ENDPOINT names another hub, HF_TOKEN or `hf auth login` gives access.
    """
    from bridgepipe.downloads import hub

    hub.sent_of(folder)  # refuses a folder without weights before libraries are loaded
    from bridgepipe.stages import sharing

    print(*sharing.pushed(folder) if dry_run else [sharing.push(folder, repository, private)], sep="\n")


@groups.people.verb()
def export(
    samples: Annotated[Path, typer.Argument(help="store of images, or reference statistics")],
    output: Annotated[Path, typer.Option("--output", "-o", help="NAME.npz, or a folder for PNG files")],
    names: Annotated[
        Names, typer.Option(help="of PNG files: by number, or as the source images")
    ] = Names.number,
    data: Annotated[Path, typer.Option(help="folder of prepared datasets")] = Path("data/prepared"),
    dry_run: DryRun = False,
) -> None:
    """Write a store as PNG files, or as NPZ of ADM's layout; statistics as NPZ of mu and sigma.

    The name of a PNG file also tells the class of a sample, the target of a translation, the distance of an
    edit. Given again, the command goes on where it was.
    """
    from bridgepipe.stages import exporting

    exporting.export(samples, output, names.value, data, dry_run)
