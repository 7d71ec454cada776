"""A folder of images translated from one class to another, in one process or in several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bridgepipe import artifacts
from bridgepipe.config.ddib import TranslateImages
from bridgepipe.config.runtime import Runtime
from bridgepipe.data.pixels import from_uint8, to_uint8
from bridgepipe.datasets import images
from bridgepipe.datasets.folder import image_names
from bridgepipe.errors import UserError, reading
from bridgepipe.finite import number
from bridgepipe.methods.ddib import Translator
from bridgepipe.methods.translators import load_translator
from bridgepipe.names import Json
from bridgepipe.names.classes import Label
from bridgepipe.photographs import places as where
from bridgepipe.runtime import running
from bridgepipe.runtime.batches import in_batches
from bridgepipe.runtime.interruption import FINISHED_KEPT, at_once
from bridgepipe.runtime.progress import Progress
from bridgepipe.runtime.rng import item_of

SETTINGS = "translation.json"
BESIDE = "side-by-side"
# what a person chooses of `TranslateImages`, in the order of the file of settings
CHOSEN = (
    "respacing",
    "solver",
    "grid",
    "clip_encode",
    "clip_decode",
    "guidance",
    "scale_decode",
    "eta",
    "seed",
)


def settings_of(
    steps: str,
    solver: str,
    grid: str,
    clip: bool,
    scale: float,
    guided: bool,
    eta: float = 0.0,
    seed: int = 0,
) -> TranslateImages:
    """How images are translated, by the options of a person.

    Args:
        steps: respacing, such as "uniform 100"; empty: all times.
        scale: scale of the guidance; 0: none.
        guided: whether a classifier guides.

    Raises:
        UserError: a guide that guides nothing.
    """
    number(scale, "--scale")
    if guided and not scale:
        raise UserError("a guide of scale 0 guides nothing", "--scale", "give it a scale above 0")
    guidance = "none" if not scale else "classifier" if guided else "free"
    sample: Json = {"respacing": steps, "solver": solver, "grid": grid}
    sample |= {"eta": number(eta, "--eta"), "seed": seed}
    sample |= {"clip_encode": clip, "clip_decode": clip, "guidance": guidance, "scale_decode": scale}
    return TranslateImages.model_construct(**sample)  # options are refused where they are used


def translate(
    input: Path,
    output: Path,
    ends: tuple[Label, Label],
    how: TranslateImages,
    models: tuple[Path, Path | None, Path | None],
    crop: str,
    side_by_side: bool,
    speed: Runtime,
    dry_run: bool = False,
) -> None:
    """Translate every image of a folder; finished ones are skipped.

    Args:
        ends: classes of the images and of their translations.
        models: folders of the model, of that of the target, and of the guide.
        crop: way in which images are brought to the size of the network, one of `images.CROPS`.
        side_by_side: whether before and after are also written as one picture.
        speed: runtime settings, with the number of images that one process takes at a time.
        dry_run: whether the files are only named that would be written.
    """
    places = _places(input, output, side_by_side)
    translator = load_translator(ends, how, *models, speed)
    sample = {key: getattr(how, key) for key in CHOSEN} | {"crop": crop}
    settings: Json = {"source": ends[0], "target": ends[1], "sample": sample}
    used = (translator.source, translator.target, translator.guide)
    settings |= {"models": [None if model is None else model.digest for model in used]}
    begun = _is_begun(output / SETTINGS, settings)
    if not begun and not dry_run:
        artifacts.write_json(output / SETTINGS, settings)
    sources = {name: _origin(input / name) for name in places}
    beside = {n: _beside(output, place) for n, place in places.items()} if side_by_side else {}

    def is_done(name: str) -> bool:
        return all(images.made_of(of[name]) == sources[name] for of in (places, beside) if of)

    batch_size = speed.batch_size
    rank, world = running.rank_and_world_size()
    left = running.all_gather([name for name in places if not is_done(name)])[0]
    if dry_run:
        if rank == 0:
            written = [of[name] for name in left for of in (places, beside) if of]
            print("\n".join(map(str, [*([] if begun else [output / SETTINGS]), *written])))
        return
    batches = [left[i : i + batch_size] for i in range(0, len(left), batch_size)]
    progress = Progress(len(places), len(places) - len(left), "translation", shown=rank == 0)
    with at_once(FINISHED_KEPT), progress:
        for batch in batches[rank::world]:
            before, after = _translated(translator, [input / name for name in batch], crop)
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


def _translated(translator: Translator, files: Sequence[Path], crop: str) -> tuple[np.ndarray, np.ndarray]:
    """The images as the network sees them, and their translations, uint8 ``[B, H, W, 3]``."""
    size = translator.source.diffusion.shape[1:]
    before = {file: _image(file, (size[0], size[1]), crop) for file in files}

    def run(piece: Sequence[Path]) -> np.ndarray:
        pixels = [before[file] for file in piece]
        done = translator.translate(from_uint8(np.stack(pixels)), [item_of(image) for image in pixels])
        return to_uint8(done.target.x, translator.how.variant)

    after = list(in_batches(run, files, translator.batch_size, "translation"))
    return np.stack(list(before.values())), np.concatenate(after)


def _image(file: Path, size: tuple[int, int], crop: str) -> np.ndarray:
    with reading(file, "cannot be read", "mend it or take it out of the folder"):
        return images.fit(images.decode(file), size, crop)


def _joined(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.concatenate([before, after], axis=1)


def _places(source: Path, output: Path, side_by_side: bool) -> dict[str, Path]:
    """Where the translation of every image goes: the same name as PNG.

    Raises:
        UserError: something would be lost, see `where.check`.
    """
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


def _is_begun(file: Path, settings: Json) -> bool:
    """Whether a folder holds translations, which are of one kind.

    Raises:
        UserError: the folder was begun under other settings.
    """
    if file.exists() and artifacts.read_json(file) != settings:
        raise UserError("translations under other settings", file.parent, "give another folder to --output")
    return file.exists()
