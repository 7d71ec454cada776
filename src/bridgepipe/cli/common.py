"""What several verbs share: options, and the step from configuration to plain values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import config as configuration
from bridgepipe.config import Extractor
from bridgepipe.config.stage_files import read_stage
from bridgepipe.errors import UserError

if TYPE_CHECKING:
    from bridgepipe.cli.options import ExtractorFiles
    from bridgepipe.data.store import ImageStore
    from bridgepipe.evaluation import features


def open_sources(path: Path | None, images: Any) -> ImageStore | None:
    """The store of the source images of pairs; None without a path.

    Raises:
        UserError: they are not the other halves of ``images``.
    """
    from bridgepipe.data import lineage
    from bridgepipe.data.store import ImageStore

    if path is None:
        return None
    sources = ImageStore(path)
    lineage.made_together(images, sources)
    same_count(images=images, sources=sources)
    return sources


def load_extractor(files: ExtractorFiles, runtime: configuration.Runtime) -> features.Extractor:
    from bridgepipe.evaluation import features
    from bridgepipe.runtime import running

    settings = read_stage(files.extractor, Extractor)
    device = running.accelerator(runtime.device).device
    return features.load_extractor(settings.kind, files.weights, device=device, config=settings.as_json())


def same_count(**stores: Any) -> None:
    """Stores of the same images must have as many.

    Raises:
        UserError: they have not.
    """
    counts = {name: len(s) for name, s in stores.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{n} {name}" for name, n in counts.items())
        raise UserError(f"different numbers of images: {listed}", *_mend(stores))


def _mend(stores: dict[str, Any]) -> tuple[Any, str]:
    return next(iter(stores.values())).path, "delete the stores and make them again"
