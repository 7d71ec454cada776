"""Restoration of photographs: which network, which settings, and the work on pictures of any size."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe import artifacts
from bridgepipe.artifacts import Card
from bridgepipe.config.i2sb import RestorationSampling, RestorationTraining, Sample
from bridgepipe.config.stage_files import parsed_stage, read_stage
from bridgepipe.errors import UserError, is_out_of_memory
from bridgepipe.methods.trained import home_of, located, restorer_of
from bridgepipe.names import Json
from bridgepipe.names.origins import MODEL
from bridgepipe.photographs import places as where
from bridgepipe.photographs.files import Photo

if TYPE_CHECKING:
    import numpy as np

    from bridgepipe import config as configuration
    from bridgepipe.methods.i2sb import Restorer
    from bridgepipe.photographs.made import Made
    from bridgepipe.photographs.pictures import Picture, Planes, Whole
    from bridgepipe.runtime.progress import Progress

# What --quality stands for: calls and sampler, chosen by `benchmarks.qualities` (docs/bridge-samplers.md).
QUALITY: dict[str, Json] = {
    "fidelity": {"nfe": 1},
    "balanced": {"nfe": 2, "sampler": "ancestral", "spacing": "uniform"},
    "detailed": {"nfe": 5, "sampler": "implicit", "eta": 0.0, "order": 2, "spacing": "angle"},
}
SMALL = 128 * 128  # pixels of the largest pictures that are restored several at a time
LEAST = 128  # side of the smallest tile, in pixels


@dataclass(frozen=True)
class Chosen:
    """A network to restore with.

    Attributes:
        weights: file of its weights.
        train, sample: settings that it was trained under, and of the stage that samples.
        card: the model card; {} where there is none.
    """

    weights: Path
    train: RestorationTraining
    sample: RestorationSampling
    card: Card


def choose(experiment: str | None, results: Path, model: Path | None) -> Chosen:
    """The network that a person names, or that of this package.

    Raises:
        UserError: two are named, it is missing, or this package has none.
    """
    from bridgepipe.photographs import shipped

    if experiment and model:
        raise UserError("two networks", "--experiment, --model", "give one of the two")
    folder = results / experiment if experiment else model and located(model)
    home = folder and home_of(folder)
    if folder and home and (experiment or (home / "config/train.json").is_file()):
        train = read_stage(home / "config/train.json", RestorationTraining)
        sample = read_stage(folder / "config/sample.json", RestorationSampling)
        return Chosen(home / sample.sample.file(train.train), train, sample, {})
    if folder is None:
        given = shipped.find()
    else:
        given = shipped.beside(folder / MODEL if folder.is_dir() else folder)
    train = parsed_stage(artifacts.load_card(given.weights)["config"], given.weights, RestorationTraining)
    if "settings" in given.card:
        sample = parsed_stage(given.card["settings"], given.weights, RestorationSampling)
    else:
        sample = RestorationSampling.of(train, sample=Sample(nfe=1))
    return Chosen(given.weights, train, sample, given.card)


def start(chosen: Chosen, speed: configuration.Runtime) -> tuple[Restorer, Sample]:
    """The network at work, and its sampler settings."""
    size = (256, 256)  # any: pictures are given as they are
    return restorer_of(chosen.weights, chosen.train, chosen.sample, size, speed), chosen.sample.sample


def check_calls(restorer: Restorer, how: Sample) -> None:
    """Refuse numbers of calls that the sampler cannot make.

    Raises:
        UserError: with the numbers that it can.
    """
    from bridgepipe.samplers import bridge_steps

    restorer.check_calls(how)
    bridge_steps(restorer.problem.process, how.nfe, how.spacing)


@dataclass(frozen=True)
class Work:
    """How pictures are restored, and written."""

    restorer: Restorer
    how: Sample
    strength: float | None
    tile: int
    jpeg_quality: int
    speed: configuration.Runtime

    def do(self, photos: Sequence[Photo], made: Made | None, target: Path) -> None:
        """Restore all, and print where each went; those that were finished before are skipped."""
        from bridgepipe.runtime.interruption import FINISHED_KEPT, at_once
        from bridgepipe.runtime.progress import say

        self._warn_of_parts(photos)
        if made is None:
            sys.stdout.buffer.write(self.file_of(photos[0]))
            sys.stdout.buffer.flush()
            return
        lock = target.with_name(f".{target.name}.lock")
        with at_once(FINISHED_KEPT), artifacts.exclusive(lock, wait=True):
            if left := self._left(photos, made):
                self._write(left, sum(photo.work for photo in photos), made)
            else:
                say("already restored")
            where.finish(photo.place for photo in photos)
            lock.unlink(missing_ok=True)
        for photo in photos:
            print(photo.place)

    def _write(self, left: Sequence[Photo], total: int, made: Made) -> None:
        """Restore what is left of so many pixels."""
        from bridgepipe.runtime.progress import MANY, Progress

        finished = total - sum(photo.work for photo in left)
        with Progress(total, finished, "restoring", MANY) as progress:
            for batch in batches(left, self.speed.batch_size):
                for photo, content in zip(batch, self._files(batch, progress), strict=True):
                    made.write(photo.place, content, self.origin(photo), photo.digest, photo.file)

    def say(self, photos: Sequence[Photo], made: Made | None, compare: Path | None) -> None:
        """Print what `do`, and the comparison after it, would write."""
        for photo in self._left(photos, made) if made else []:
            print(photo.place)
        if compare is not None:
            print(compare)

    def _left(self, photos: Sequence[Photo], made: Made) -> list[Photo]:
        """Pictures that are not finished."""
        return [photo for photo in photos if not made.is_done(photo.place, self.origin(photo))]

    def file_of(self, photo: Photo, report: Callable[[float], None] = lambda _: None) -> bytes:
        """A picture restored, as a file.

        Args:
            report: callback, given the share of the work that each network call did.
        """
        from bridgepipe.photographs import animation, encoding

        if photo.held == 1:
            return self._encoded(photo, self._restored([photo], [photo.read().planes], report)[0])
        frames = self._frames(photo, report)
        if photo.format == "TIFF":
            each = (encoding.encoded(image, picture, "TIFF", 100) for picture, image in frames)
            return animation.pages(each, str(photo.source))
        return encoding.animated(frames, photo.read(), photo.format, self.jpeg_quality)

    def _frames(self, photo: Photo, report: Callable[[float], None]) -> Iterator[tuple[Picture, Whole]]:
        """Every frame that the result holds, and what becomes of it."""
        for picture in photo.pictures():
            share = picture.work / photo.work
            (planes,) = self._restored([photo], [picture.planes], partial(_part, report, share))
            yield picture, picture.joined(planes)

    def _warn_of_parts(self, photos: Sequence[Photo]) -> None:
        """Say once that a network of attention or normalisation is used on parts of large pictures."""
        if cut := [photo for photo in photos if self.restorer.is_cut(*photo.shape[:2])]:
            others = f", and {len(cut) - 1} more" if len(cut) > 1 else ""
            print(
                "the network looks at a picture as a whole, which large ones are too large for: they are"
                f" restored in parts, whose tones may differ: {cut[0].source}{others}",
                file=sys.stderr,
                flush=True,
            )

    def origin(self, photo: Photo) -> str:
        """Digest of all that a result depends on."""

        decides = {"how": self.how.as_json(), "model": self.restorer.digest, "tile": self.tile}
        decides |= {"strength": self.strength, "format": photo.format, "quality": self.jpeg_quality}
        decides |= {"frames": photo.held} if photo.held > 1 else {}
        return artifacts.digest_of({**decides, "photo": photo.digest, **self._bits})

    @cached_property
    def _bits(self) -> Json:
        from bridgepipe.runtime import finished

        return finished.bits(self.speed)

    def _encoded(self, photo: Photo, planes: Planes) -> bytes:
        from bridgepipe.photographs import encoding

        picture = photo.read()
        return encoding.encoded(picture.joined(planes), picture, photo.format, self.jpeg_quality)

    def _files(self, batch: Sequence[Photo], progress: Progress) -> list[bytes]:
        """The results of a batch, which reports its progress."""
        work, done = sum(photo.work for photo in batch), [0.0]

        def after(share: float) -> None:
            before, done[0] = round(done[0]), done[0] + share * work
            progress.after(round(done[0]) - before)

        if len(batch) == 1:
            return [self.file_of(batch[0], after)]
        found = self._restored(batch, [photo.read().planes for photo in batch], after)
        return [self._encoded(photo, planes) for photo, planes in zip(batch, found, strict=True)]

    def _restored(
        self, batch: Sequence[Photo], planes: Sequence[Planes], report: Callable[[float], None]
    ) -> list[Planes]:
        """Planes of every picture of a batch, restored."""
        share = 1 / len(planes[0])  # of one plane, or of two of CMYK
        found = [
            self._planes(batch, _together(images), partial(_part, report, share))
            for images in zip(*planes, strict=True)
        ]
        return [list(of_photo) for of_photo in zip(*found, strict=True)]

    def _planes(self, batch: Sequence[Photo], pixels: np.ndarray, report: Any) -> np.ndarray:
        import numpy as np

        from bridgepipe.finite import naming
        from bridgepipe.runtime import batches

        if self.strength == 0:
            report(1.0)
            return pixels
        if len(batch) == 1 and pixels.size > SMALL * pixels.shape[-1]:
            with naming(str(batch[0].source)):
                return self._in_tiles(pixels, report)

        def run(rows: Sequence[Path]) -> np.ndarray:
            chosen = pixels[[names.index(row) for row in rows]]
            return self.restorer.restore_photos(chosen, self.how, self.strength, self.tile)

        names = [photo.source for photo in batch]
        found = list(batches.in_batches(run, names, self.speed.batch_size, "restoring"))
        report(1.0)
        return np.concatenate(found)

    def _in_tiles(self, pixels: np.ndarray, report: Any) -> np.ndarray:
        """Short of memory, the tiles halve."""
        tile, done = self.tile, [0.0]

        def after(share: float) -> None:
            done[0] += share
            report(share)

        while True:
            try:
                return self.restorer.restore_photos(pixels, self.how, self.strength, tile, after)
            except Exception as e:
                if not is_out_of_memory(e) or tile < 2 * LEAST:
                    raise
            report(-done[0])
            tile, done[0] = tile // 2, 0.0
            print(f"out of memory: going on with tiles of {tile} pixels", file=sys.stderr, flush=True)


def _part(report: Callable[[float], None], share: float, done: float) -> None:
    report(share * done)


def _together(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images as one array [B,H,W,C]; a single one, which may be large, is not copied."""
    import numpy as np

    return images[0][None] if len(images) == 1 else np.stack(images)


def batches(photos: Sequence[Photo], most: int) -> Iterator[list[Photo]]:
    """Small pictures of one size that follow each other together, others alone."""

    def kind(numbered: tuple[int, Photo]) -> Any:
        number, photo = numbered
        return photo.shape if photo.work <= SMALL and photo.held == 1 else number

    for _, group in groupby(enumerate(photos), kind):
        alike = [photo for _, photo in group]
        yield from (alike[i : i + most] for i in range(0, len(alike), most))
