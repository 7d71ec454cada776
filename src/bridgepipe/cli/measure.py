"""Verbs for people that compare two sets of images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import AsJson, Shared

Kind = StrEnum("Kind", ["inception", "resnet50", "classifier"])
Pairs = StrEnum("Pairs", ["auto", "names", "order", "none"])
A_SET = "folder, store, NPZ of samples, or statistics (.npz, .safetensors)"
Evaluated = Annotated[Path, typer.Argument(help=f"images to evaluate: {A_SET}", show_default=False)]
References = Annotated[Path, typer.Argument(help="real images, or what A is to equal", show_default=False)]
ExtractorKind = Annotated[Kind, typer.Option(help="what turns images into features")]
ExtractorWeights = Annotated[Path | None, typer.Option(help="its file; default: as fetched")]
Measured = Annotated[Path | None, typer.Option("--output", "-o", help="also write the JSON to this file")]


@groups.people.verb()
def measure(
    a: Evaluated,
    b: References,
    extractor: ExtractorKind = Kind.inception,
    weights: ExtractorWeights = None,
    pairs: Annotated[Pairs, typer.Option(help="auto: by origin or name, else by order")] = Pairs.auto,
    lpips: Annotated[Path | None, typer.Option(help="AlexNet of LPIPS; default: as fetched")] = None,
    clip_text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="what A should show: CLIP score")
    ] = None,
    clip_weights: Annotated[Path | None, typer.Option(help="ViT-B/32; default: as fetched")] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS", help="face recognition (ONNX or identity/w600k-r50): are A who B are?"
        ),
    ] = None,
    as_json: AsJson = False,
    output: Measured = None,
    run: Shared = Shared(),
) -> None:
    """Compare two sets of images: FID, KID, precision and recall; of pairs PSNR, SSIM and LPIPS.

    Asked for, also how well A fits a text (CLIP score), and the distance of identities of faces. Each comes
    with its 95 % interval, its protocol and, where B has images, its floor. With --output, the command goes
    on where it was when given again.
    """
    from bridgepipe.evaluation.image_sets import open_set

    sets, speed = (open_set(a), open_set(b)), run.start()
    from bridgepipe.stages import measuring

    asked = measuring.Asked(
        extractor.value,
        weights,
        pairs.value,
        lpips,
        clip=clip_text,
        clip_weights=clip_weights,
        identity=identity,
    )
    measuring.report(*sets, asked, as_json, output, speed)


@groups.people.verb("fid")
def fid_of_sets(
    a: Evaluated,
    b: References,
    extractor: ExtractorKind = Kind.inception,
    weights: ExtractorWeights = None,
    as_json: AsJson = False,
    output: Measured = None,
    run: Shared = Shared(),
) -> None:
    """FID and KID of two sets of images, or of their statistics, as `measure` has them."""
    from bridgepipe.evaluation.image_sets import open_set

    sets, speed = (open_set(a), open_set(b)), run.start()
    from bridgepipe.stages import measuring

    asked = measuring.Asked(extractor.value, weights, "none", recall=False)
    measuring.report(*sets, asked, as_json, output, speed)
