"""Verbs for data: prepare, gather, fetch, and a look inside stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bridgepipe.cli import groups
from bridgepipe.cli.options import Config, File
from bridgepipe.config.stage_files import read_dataset


@groups.stage.verb()
def prepare(
    config: Config,
    output: File,
    source: Annotated[Path | None, typer.Argument(help="listing of the files that are to be read")] = None,
) -> None:
    """Turn a source of images into one store per split."""
    from bridgepipe import artifacts, datasets
    from bridgepipe.config import asked
    from bridgepipe.data import listing

    settings = read_dataset(config)
    if source is not None:
        listing.check(source)
    datasets.prepare(out_dir=output, **settings.model_dump(exclude_none=True))
    if source is not None:  # what changed meanwhile may be in the stores by half
        listing.check(source)
    splits = [file for file in sorted(output.glob("*.lmdb")) if not file.stem.endswith("-source")]
    if splits:  # of images; of points params.yaml tells it
        artifacts.write_json(output / asked.COUNTS, _counts(splits))


def _counts(splits: list[Path]) -> dict[str, Any]:
    """What stores of splits have, for experiments that ask for more."""
    import numpy as np

    from bridgepipe.data.store import ImageStore

    stores = {file.stem: ImageStore(file) for file in splits}
    classes = next(iter(stores.values())).classes
    members = {
        split: np.bincount(store.labels, minlength=len(classes)).tolist()
        for split, store in stores.items()
        if classes and store.labels is not None
    }
    items = {split: len(store) for split, store in stores.items()}
    attributes = sorted({name for store in stores.values() for name in store.attributes})
    return {"items": items, "members": members, "classes": classes, "attributes": attributes}


@groups.stage.verb()
def gather(parts: list[Path], output: File) -> None:
    """Join the stores of parallel jobs."""
    from bridgepipe.data import joining

    joining.gather(parts, output)


@groups.people.verb()
def fetch(
    name: Annotated[
        str, typer.Argument(help="a name of sources.yaml such as i2sb/jpeg-5, or a group such as i2sb")
    ],
    output: Annotated[Path | None, typer.Option(help="another place for the file")] = None,
    root: File = Path("data"),
) -> None:
    """Download published weights or data: resumes, verifies, shows the licence."""
    from bridgepipe.downloads import fetch as downloads
    from bridgepipe.downloads import sources

    single = name in sources.load_sources()
    for path in [downloads.fetch(name, root, output=output)] if single else downloads.fetch_all(name, root):
        print(path)


@groups.store.verb("info")
def store_info(file: Path) -> None:
    """What a store holds and how it was made."""
    from bridgepipe.data import store

    print(json.dumps(store.info(file), indent=2))
