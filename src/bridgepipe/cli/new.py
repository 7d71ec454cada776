"""Verbs for people that begin an experiment on their own images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import PARAMS, DryRun, Params

if TYPE_CHECKING:
    from bridgepipe.workflow.new import New

Named = Annotated[str, typer.Argument(help="of the experiment and of its file, experiments/NAME.yaml")]
Images = Annotated[Path, typer.Option(help="folder of the images", show_default=False)]


@groups.new.verb()
def restoration(
    name: Named,
    data: Images,
    corruption: Annotated[
        str, typer.Option(help="damage that clean images get: docs/corruptions.md has all")
    ] = "noise-5..50",
    params: Params = PARAMS,
    dry_run: DryRun = False,
) -> None:
    """Clean images of any sizes: a network learns to take away a damage that a program can do."""
    from bridgepipe.workflow import new

    _write(lambda: new.restoration(name, data, corruption), params, dry_run)


@groups.new.verb()
def pairs(name: Named, data: Images, params: Params = PARAMS, dry_run: DryRun = False) -> None:
    """Folders A/ and B/ with files of the same names: a network learns to make B from A."""
    from bridgepipe.workflow import new

    _write(lambda: new.pairs(name, data), params, dry_run)


@groups.new.verb()
def translation(
    name: Named,
    data: Images,
    class_a: Annotated[str | None, typer.Option(help="class of the images; of two the first")] = None,
    class_b: Annotated[str | None, typer.Option(help="class that they become; of two the second")] = None,
    params: Params = PARAMS,
    dry_run: DryRun = False,
) -> None:
    """A sub-folder for each class, no pairs: images of one class become images of another."""
    from bridgepipe.workflow import new

    _write(lambda: new.translation(name, data, class_a, class_b), params, dry_run)


@groups.new.verb()
def boundary(
    name: Named,
    data: Images,
    attribute: Annotated[str | None, typer.Option(help="column of the table; default: the only one")] = None,
    params: Params = PARAMS,
    dry_run: DryRun = False,
) -> None:
    """Images with metadata.csv beside them: an attribute is found in the latents of a model, and edited."""
    from bridgepipe.workflow import new

    _write(lambda: new.boundary(name, data, attribute, params), params, dry_run)


def _write(looked_at: Callable[[], New], params: Path, dry_run: bool) -> None:
    """The file of an experiment; without a project, which is told before many images are looked at, none."""
    from bridgepipe.config import yaml_reader

    yaml_reader.read(params)
    new = looked_at()
    place = new.write(params, dry_run)
    print(new.text if place is None else place, end="" if place is None else "\n", flush=True)
    if place is None:
        print(f"nothing was written: without --dry-run this is {params.parent / new.file}", file=sys.stderr)
    print(new.found, *(f"next: {command}" for command in new.next), sep="\n", file=sys.stderr)
