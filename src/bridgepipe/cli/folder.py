"""The verb that translates a folder of images, in one process or in several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe.cli import groups
from bridgepipe.cli.options import Shared
from bridgepipe.cli.translate import GuideFolder, ModelFolder, OtherModel, load_translator
from bridgepipe.config.ddib import TranslateImages
from bridgepipe.errors import UserError, reading
from bridgepipe.photographs import places as where

if TYPE_CHECKING:
    import numpy as np

    from bridgepipe.methods.ddib import Translator

SETTINGS = "translation.json"
BESIDE = "side-by-side"


@groups.people.verb()
def translate(
    input: Annotated[Path, typer.Option(help="folder of images, searched to any depth", show_default=False)],
    output: Annotated[Path, typer.Option(help="folder of the translations", show_default=False)],
    model: ModelFolder,
    class_a: Annotated[str | None, typer.Option(help="class of the images, by name or number")] = None,
    class_b: Annotated[str | None, typer.Option(help="class that they are translated to")] = None,
    target_model: OtherModel = None,
    guide: GuideFolder = None,
    scale: Annotated[float, typer.Option(help="of the guide, or without one of the null class; 0: none")] = 0,
    respace_type: Annotated[str, typer.Option(help="uniform, quad, log_snr, …")] = "uniform",
    steps: Annotated[int, typer.Option(min=2, help="visited times")] = 100,
    solver: str = "ddim",
    grid: Annotated[str, typer.Option(help="dmi or ddib, as published, or exact")] = "dmi",
    clip: Annotated[bool, typer.Option(help="clamp predictions of the clean image, both ways")] = True,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    side_by_side: Annotated[bool, typer.Option(help=f"also write {BESIDE}/: before and after")] = False,
    run: Shared = Shared(),
) -> None:
    """Translate every image of a folder from one class to another; finished ones are skipped.

    Each process takes whole batches, so the results do not depend on how many there are.
    """
    speed = run.start().model_copy(update={"batch_size": batch_size})
    from bridgepipe.datasets import images
    from bridgepipe.finite import number
    from bridgepipe.runtime import running
    from bridgepipe.runtime.finished import KEPT
    from bridgepipe.runtime.interruption import at_once
    from bridgepipe.runtime.progress import Progress

    number(scale, "--scale")
    if guide is not None and not scale:
        raise UserError("a guide of scale 0 guides nothing", "--scale", "give it a scale above 0")
    guidance = "none" if not scale else "free" if guide is None else "classifier"
    sample: dict[str, Any] = {"respacing": f"{respace_type} {steps}", "solver": solver, "grid": grid}
    sample |= {"clip_encode": clip, "clip_decode": clip, "guidance": guidance, "scale_decode": scale}
    settings = {"source": class_a, "target": class_b, "sample": sample}
    places = _places(input, output, side_by_side)
    how = TranslateImages.model_construct(**sample)  # options are refused where they are used
    translator = load_translator((class_a, class_b), how, model, target_model, guide, speed)
    _same_as_before(output / SETTINGS, settings, translator)
    sources = {name: _origin(input / name) for name in places}
    beside = {n: _beside(output, place) for n, place in places.items()} if side_by_side else {}

    def is_done(name: str) -> bool:
        return all(images.made_of(of[name]) == sources[name] for of in (places, beside) if of)

    rank, world = running.rank_and_world_size()
    left = running.all_gather([name for name in places if not is_done(name)])[0]
    batches = [left[i : i + batch_size] for i in range(0, len(left), batch_size)]
    progress = Progress(len(places), len(places) - len(left), "translation", shown=rank == 0)
    with at_once(KEPT), progress:
        for batch in batches[rank::world]:
            before, after = _translated(translator, [input / name for name in batch])
            for name, x, y in zip(batch, before, after, strict=True):
                if side_by_side:
                    images.write_png(beside[name], _joined(x, y), sources[name])
                images.write_png(places[name], y, sources[name])
            progress.after(len(batch) * world)
            where.finish(of[name] for name in batch for of in (places, beside) if of)


def _origin(file: Path) -> str:
    """Tells whether a translation is of the image as it is today."""
    with reading(file, "cannot be read", "take it out of the folder"):
        return f"translated {artifacts.digest_file(file)[:16]}"


def _translated(translator: Translator, files: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The images as the network sees them, and their translations, uint8 ``[B, H, W, 3]``."""
    import numpy as np

    from bridgepipe.data.pixels import from_uint8, to_uint8
    from bridgepipe.runtime import batches

    size = translator.source.diffusion.shape[1:]
    before = {file: _image(file, (size[0], size[1])) for file in files}

    def run(piece: Sequence[Path]) -> np.ndarray:
        done = translator.translate(from_uint8(np.stack([before[file] for file in piece])))
        return to_uint8(done.target.x, translator.how.variant)

    after = list(batches.in_batches(run, files, translator.batch_size, "translation"))
    return np.stack(list(before.values())), np.concatenate(after)


def _image(file: Path, size: tuple[int, int]) -> np.ndarray:
    from bridgepipe.datasets import images

    with reading(file, "cannot be read", "mend it or take it out of the folder"):
        return images.fit(images.decode(file), size)


def _joined(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.concatenate([before, after], axis=1)


def _places(source: Path, output: Path, side_by_side: bool) -> dict[str, Path]:
    """Where the translation of every image goes: the same name as PNG.

    Raises:
        UserError: something would be lost, see `where.check`.
    """
    from bridgepipe.datasets.folder import image_names

    places = {name: (output / name).with_suffix(".png") for name in image_names(source)}
    where.check({source / name: place for name, place in places.items()}, source)
    if side_by_side:
        beside = {name: _beside(output, place) for name, place in places.items()}
        where.check({source / name: place for name, place in beside.items()}, source)
        if both := sorted(set(beside.values()) & set(places.values())):
            raise UserError(f"a folder of images is called {BESIDE} itself", both[0], "rename it")
    return places


def _beside(output: Path, place: Path) -> Path:
    return output / BESIDE / place.relative_to(output)


def _same_as_before(file: Path, settings: dict[str, Any], translator: Translator) -> None:
    """A folder holds translations of one kind.

    Raises:
        UserError: it was begun under other settings.
    """
    used = (translator.source, translator.target, translator.guide)
    now = {**settings, "models": [None if model is None else model.digest for model in used]}
    if not file.exists():
        artifacts.write_json(file, now)
    elif artifacts.read_json(file) != now:
        raise UserError("translations under other settings", file.parent, "give another folder to --output")
