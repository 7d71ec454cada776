"""The pictures that a person names, where their results go, and what is worth saying of them."""

from __future__ import annotations

import glob
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe.errors import UserError
from bridgepipe.photographs import places as where
from bridgepipe.photographs.frames import ALONE, Frames
from bridgepipe.photographs.made import Made

if TYPE_CHECKING:
    from bridgepipe.photographs.pictures import Picture

STREAM = "-"
EACH = 8  # pictures that get a line of their own in messages


@dataclass(frozen=True)
class Photo:
    """A picture that is to be restored.

    Attributes:
        source, content: file of the picture; what standard input held.
        searched: folder that it was found in.
        name: name of its result, below the output.
        place: file of its result.
        format: format that its result is written in.
        digest: SHA-256 of its file.
        shape: height, width, planes and type of pixels, of the first frame.
        frames, works: number of frames, and pixels of each that a network is to see.
        measures: measures of the picture, see `likeness.measures`, and its JPEG quality.
        kept_in: formats that hold all its bits.
        remarks: what a person should know about the picture.
    """

    source: Path
    name: Path
    content: bytes | None = None
    searched: Path | None = None
    place: Path = Path()
    format: str = ""
    digest: str = ""
    shape: tuple[int, int, int, str] = (0, 0, 0, "")
    frames: Frames = ALONE
    works: tuple[int, ...] = (0,)
    measures: Mapping[str, float] = field(default_factory=dict)
    kept_in: Collection[str] = ()
    remarks: tuple[str, ...] = ()

    @property
    def file(self) -> Path | None:
        """File of the picture; None of standard input."""
        return self.source if self.content is None else None

    @property
    def notes(self) -> list[str]:
        """What a person should know of it, and of what its result cannot hold."""
        lost = (
            [] if self.format in self.kept_in else [f"more than 8 bits a channel become 8 in {self.format}"]
        )
        frames = self.frames.note(self.format)
        return [*self.remarks, *([] if frames is None else [frames]), *lost]

    @property
    def held(self) -> int:
        """How many of its frames are restored: those that its format holds."""
        return self.frames.held(self.format)

    @property
    def work(self) -> int:
        """Pixels that a network is to see."""
        return sum(self.works[: self.held])

    def bytes(self) -> bytes:
        """Its file."""
        return self.source.read_bytes() if self.content is None else self.content

    def read(self) -> Picture:
        """Decoded.

        Raises:
            UserError: the file is not a picture.
        """
        return next(self.pictures())

    def pictures(self) -> Iterator[Picture]:
        """All its frames, decoded one after the other, see `pictures.read_all`.

        Raises:
            UserError: the file is not a picture.
        """
        from bridgepipe.photographs import pictures

        return pictures.read_all(self.source if self.content is None else self.content, str(self.source))


def sources_of(named: Sequence[Path]) -> list[Photo]:
    """The pictures that arguments name: files, all pictures of folders, globs, standard input.

    Raises:
        UserError: a pattern matches no file.
    """
    found: dict[Path, Photo] = {}
    for path in named:
        for photo in _stands_for(path):
            found.setdefault(photo.source, photo)
    return list(found.values())


def _stands_for(path: Path) -> Iterator[Photo]:
    from bridgepipe.datasets.folder import image_names

    if str(path) == STREAM:
        yield Photo(path, Path("stdin"), sys.stdin.buffer.read())
    elif path.is_dir():
        yield from (Photo(path / name, Path(name), searched=path) for name in image_names(path))
    elif not path.exists() and glob.has_magic(str(path)):
        matched = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if not (files := [file for file in matched if file.is_file()]):
            raise UserError("no file has such a name", path, "give the names of pictures")
        yield from (Photo(file, Path(file.name)) for file in files)
    else:
        where.is_file(path)
        yield Photo(path, Path(path.name))


def looked_at(photos: Sequence[Photo], format: str | None) -> list[Photo]:
    """All pictures, read once before the first is restored.

    Args:
        format: a suffix, of which results get another name; None: as the input.

    Raises:
        UserError: a file is no picture, or the format is unknown.
    """
    wanted = None if format is None else _format(format)
    return [_looked_at(photo, wanted) for photo in photos]


def _looked_at(photo: Photo, wanted: str | None) -> Photo:
    import hashlib

    from bridgepipe.photographs import likeness, pictures

    found = photo.pictures()
    picture = next(found)
    format = wanted or picture.format
    name = photo.name
    if format != pictures.WRITTEN_AS.get(picture.image.format or "", picture.image.format) or not name.suffix:
        name = name.with_suffix(pictures.SUFFIX.get(format, f".{format.lower()}"))
    measures = likeness.measures(picture.planes[0])
    if quality := likeness.jpeg_quality(picture.image):
        measures[likeness.JPEG_QUALITY] = quality
    remarks = [] if (jpeg := likeness.jpeg_in_words(picture.image)) is None else [jpeg]
    if wanted is None and format != picture.image.format and picture.image.format != "MPO":
        remarks.append(f"{picture.image.format} cannot be written: the result is {format}")
    size, kept_in = picture.size, picture.kept_in
    works = [picture.work]
    for other in found:  # which are decoded now, so that a damaged one stops before any work
        works.append(other.work)
        kept_in = kept_in & other.kept_in
    return replace(
        photo,
        name=name,
        format=format,
        frames=picture.frames,
        works=tuple(works),
        digest=hashlib.sha256(photo.bytes()).hexdigest(),
        shape=(*size, len(picture.planes), str(picture.planes[0].dtype)),
        measures=measures,
        kept_in=kept_in,
        remarks=tuple(remarks),
    )


def _format(suffix: str) -> str:
    """Pillow's name of a format.

    Raises:
        UserError: no format of this suffix can be written.
    """
    from PIL import Image

    from bridgepipe.photographs import pictures

    Image.init()
    found = Image.registered_extensions().get(f".{suffix.lower().lstrip('.')}", suffix.upper())
    found = pictures.WRITTEN_AS.get(found, found)
    if found not in pictures.WRITTEN:
        known = ", ".join(sorted(pictures.WRITTEN)).lower()
        raise UserError(f"unknown format {suffix!r}", "--format", f"take one of: {known}")
    return found


def check_target(photos: Sequence[Photo], target: Path, compare: Path | None) -> None:
    """Refuse a place that suits no such pictures, before any is looked at, which may load libraries.

    Raises:
        UserError: several pictures for one file, a folder below a file, or no place for a comparison.
    """
    if compare is not None:
        _check_comparison(compare, photos)
    if str(target) == STREAM:
        if len(photos) > 1:
            raise UserError(f"{len(photos)} pictures for standard output", "--output", "give a folder")
        if compare is not None:
            raise UserError("a comparison needs a result in a file", "--compare", "give a file to --output")
    elif target.is_file() and not _is_one_file(photos, target):
        raise UserError("a file stands where a folder should be", target, "give another place to --output")


def _is_one_file(photos: Sequence[Photo], target: Path) -> bool:
    return len(photos) == 1 and bool(target.suffix) and not target.is_dir() and _is_known(target.suffix)


def places_of(photos: list[Photo], target: Path) -> Made | None:
    """Give every picture the place of its result, and find what was made before; None: standard output.

    Raises:
        UserError: something would be lost, see `where.check`; or the result of another photograph.
    """
    if str(target) == STREAM:
        return None
    is_file = _is_one_file(photos, target)
    made = Made(target.parent if is_file else target)
    for k, photo in enumerate(photos):
        if is_file:
            photos[k] = replace(photo, place=target, format=_format(target.suffix))
        else:
            photos[k] = replace(photo, place=target / photo.name)
    files = {photo.source: photo.place for photo in photos if photo.content is None}
    where.check(files, ours=made.is_ours)
    for photo in photos:
        if photo.content is not None:
            where.not_mine(photo.place, made.is_ours)
        if photo.searched is not None:
            where.outside(photo.place, photo.searched)
        if made.is_of_another(photo.place, photo.digest, photo.file):
            what = "it would replace what was made of another photograph"
            raise UserError(what, photo.place, f"{where.OTHER}, or move it away")
    return made


def _is_known(suffix: str) -> bool:
    from PIL import Image

    Image.init()
    return suffix.lower() in Image.registered_extensions()


def _check_comparison(compare: Path, photos: Sequence[Photo]) -> None:
    if compare.suffix.lower() not in (".png", ".html"):
        raise UserError("a comparison is .png or .html", compare, "give such a name to --compare")
    if compare.suffix.lower() == ".png" and len(photos) > 1:
        raise UserError(
            f"{len(photos)} pictures for one comparison", compare, "give a name that ends in .html"
        )
    if compare.suffix.lower() == ".png":
        where.check_new([compare])
    elif compare.exists() and b'content="bridgepipe"' not in compare.read_bytes()[:200]:
        raise UserError("it would replace a file that bridgepipe did not make", compare, "give another name")


def write_comparison(compare: Path, photos: Sequence[Photo]) -> None:
    """Before and after of every picture."""
    from bridgepipe.photographs import comparison

    pairs = (comparison.Pair(str(p.name), p.bytes(), p.place.read_bytes()) for p in photos)
    if compare.suffix.lower() == ".png":
        comparison.write_picture(compare, next(pairs))
    else:
        comparison.write_page(compare, pairs)
    print(compare)


def said_of(photos: Sequence[Photo], trained_for: Mapping[str, Any]) -> None:
    """Say on standard error what pictures are, and once which are unlike those that the network knows."""
    from bridgepipe.photographs import likeness

    remarks = [f"{photo.source}: {', '.join(photo.notes)}" for photo in photos if photo.notes]
    lines = remarks[:EACH] + ([f"and {len(remarks) - EACH} more such files"] if len(remarks) > EACH else [])
    compared = ((p.source, likeness.unlike(p.shape[:2], p.measures, trained_for)) for p in photos)
    if unlike := [(name, outside) for name, outside in compared if outside]:
        name, outside = unlike[0]
        others = f", and {len(unlike) - 1} more" if len(unlike) > 1 else ""
        lines.append(f"unlike what the network was trained on: {name}: {'; '.join(outside)}{others}")
    if lines:
        print("\n".join(lines), file=sys.stderr, flush=True)
