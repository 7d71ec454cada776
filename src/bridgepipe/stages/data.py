"""Images of a source become stores, one per split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bridgepipe import artifacts, config, datasets
from bridgepipe.config import Strict, asked
from bridgepipe.data import listing, unfinished
from bridgepipe.data.store import ImageStore
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.runtime.source import source_digest

CODE = ("corruptions", "data", "datasets", "photographs")  # what decides pixels and the bytes of a store


def prepare(
    settings: Strict,
    output: Path,
    source: Path | None,
    split: str | None = None,
) -> None:
    """Turn a source of images into one store per split, or one split of it into its store.

    Raises:
        UserError: no such split, or one that is not prepared without the others.
    """
    chosen = settings.model_dump(exclude_none=True)
    if split is not None:
        if not config.comes_apart(settings) or split not in chosen["splits"]:
            raise UserError(f"no split {split} that is prepared alone", "--split", "leave it out")
        chosen["splits"] = (split,)
    if source is not None:
        listing.check(source)
    listed = None if source is None else artifacts.digest_file(source)
    with unfinished.resumable({"source": listed, "code": source_digest(*CODE)}):
        datasets.prepare(out_dir=output, **chosen)
    if source is not None:  # what changed meanwhile may be in the stores by half
        listing.check(source)
    lock = output / f".{asked.COUNTS}.lock"  # jobs of other splits write this file, too
    with artifacts.exclusive(lock, wait=True, keep=False):
        splits = [file for file in sorted(output.glob("*.lmdb")) if not file.stem.endswith("-source")]
        if splits:  # of images; of points params.yaml tells it
            artifacts.write_json(output / asked.COUNTS, _counts(splits))


def _counts(splits: list[Path]) -> Json:
    """What stores of splits have, for experiments that ask for more."""
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
