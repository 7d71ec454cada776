"""Where pictures go: checked before any work, so that nothing is lost and no work is in vain."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bridgepipe import artifacts
from bridgepipe.errors import UserError, writing

OTHER = "give another place to --output"


def check(
    places: Mapping[Path, Path],
    searched: Path | None = None,
    ours: Callable[[Path], bool] = lambda _: False,
) -> None:
    """Refuse a plan by which something would be lost.

    Args:
        places: input -> picture that is made of it.
        searched: folder that the inputs were found in, for a verb that would find its own results there.
        ours: whether bridgepipe made a file that does not record it itself.

    Raises:
        UserError: an input is no file, two pictures would have one name (also where a file system does
            not tell capital letters or ways of writing an accent apart), a picture would replace an input
            or a file that bridgepipe did not make, or it would lie in the folder that is searched.
    """
    for photo in places:
        is_file(photo)
    _one_name_each(places)
    inputs = {photo.resolve(): photo for photo in places}
    for place in places.values():
        with writing(place):
            found = place.resolve()
            if found in inputs:
                raise UserError(f"it would replace {inputs[found]}, which is an input", place, OTHER)
            if searched is not None:
                outside(place, searched)
            not_mine(place, ours)


def outside(place: Path, searched: Path) -> None:
    """Refuse a result in the folder that inputs were found in.

    Raises:
        UserError: the output lies in such a folder.
    """
    if place.resolve().is_relative_to(searched.resolve()):
        raise UserError(f"results inside {searched} would be taken for images next time", place, OTHER)


def check_new(places: Iterable[Path]) -> None:
    """Refuse places where something lies that bridgepipe did not make.

    Raises:
        UserError: such a file lies there, see `not_mine`.
    """
    for place in places:
        with writing(place):
            not_mine(place)


def finish(places: Iterable[Path]) -> None:
    """Bring the names of written pictures to the disk, once for each folder."""
    for folder in sorted({place.parent for place in places}):
        with writing(folder):
            artifacts.sync(folder)


def not_mine(place: Path, ours: Callable[[Path], bool] = lambda _: False) -> None:
    """Refuse to replace a file that bridgepipe did not make; ``ours`` as of `check`.

    Raises:
        UserError: such a file lies there.
    """
    from bridgepipe.datasets import images

    if place.is_dir():
        raise UserError("a folder is here", place, OTHER)
    if (place.exists() or place.is_symlink()) and not (images.is_ours(place) or ours(place)):
        raise UserError("it would replace a file that bridgepipe did not make", place, OTHER)


def is_file(photo: Path) -> None:
    """Refuse an input that is no file, before it is opened.

    Raises:
        UserError: the input is no file.
    """
    with writing(photo, "read"):
        if photo.is_dir():
            raise UserError("no such file: a folder is here", photo, "give its images, such as FOLDER/*.png")
        if not photo.exists():
            raise UserError("no such file", photo, "give the path of an image")
        if not photo.is_file():
            raise UserError("not a file", photo, "give the path of an image")


def _one_name_each(places: Mapping[Path, Path]) -> None:
    taken: dict[str, Path] = {}
    for photo, place in places.items():
        name = unicodedata.normalize("NFC", str(place)).casefold()
        if (other := taken.setdefault(name, photo)) != photo:
            both = (other, photo) if other.name == photo.name else (other.name, photo.name)
            what = f"{both[0]} and {both[1]} have one name, as results both are {place.name}"
            raise UserError(what, place.parent, "rename one of them, or give each its own --output")
