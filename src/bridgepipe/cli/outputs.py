"""Where results go: checked before any work, so that nothing is lost and no work is in vain."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from bridgepipe import artifacts
from bridgepipe.errors import UserError, writing

OTHER = "give another place to --output"

# Options that name what is written: of all verbs but those of READ, and of single verbs.
ALWAYS_WRITTEN = {"output", "csv", "figure", "markdown", "accuracy", "seen"}
WRITTEN = {
    "restore": {"compare"},
    "stage sample": {"restored", "corrupted"},
    "stage translate-classes": {"translated", "latents", "states"},
    "stage boundary strips": {"edited", "control", "plain"},
    "stage evaluate-samples": {"metrics"},
    "stage evaluate-translation": {"metrics"},
    "stage evaluate-color": {"metrics"},
    "stage table": {"numbers"},
    "stage train": {"folder"},
}
READ = {"stage figure loss": {"csv"}, "stage boundary figure-flips": {"csv"}}
# outputs that are folders, or may be one
FOLDERS = {
    ("stage train", "folder"),
    *((verb, "output") for verb in ("restore", "translate", "generate", "fetch", "boundary import")),
    *((f"stage {verb}", "output") for verb in ("prepare", "boundary latents", "boundary search")),
}
# folders that are read as a whole, so that a result in them would change them
WHOLE = {("translate", "input"), ("stage import-weights", "weights")}


class Guarded(TyperCommand):
    """A verb that begins with `guard`."""

    def invoke(self, ctx: Any) -> Any:
        guard(verb_of(ctx), ctx.params)
        return super().invoke(ctx)


def verb_of(ctx: Any) -> str:
    """Name of the verb of a call, such as ``stage boundary search``."""
    return "" if ctx.parent is None else f"{verb_of(ctx.parent)} {ctx.info_name}".strip()


def is_written(verb: str, option: str) -> bool:
    """Whether an option of a verb names what is written."""
    if option in READ.get(verb, ()):
        return False
    return option in ALWAYS_WRITTEN or option in WRITTEN.get(verb, ())


def guard(verb: str, given: Mapping[str, Any]) -> None:
    """Refuse outputs by which an input, or another output, would be lost, or that cannot be written.

    Args:
        verb: its name.
        given: all options and arguments, by name.

    Raises:
        UserError: an output is an input, another output, a folder where a file is to be, in a folder that
            is read as a whole, or below a file.
    """
    paths = [(name, path) for name, value in given.items() for path in _paths(value)]
    written = [(name, path) for name, path in paths if is_written(verb, name)]
    read = [(name, path) for name, path in paths if not is_written(verb, name)]
    for number, (name, path) in enumerate(written):
        option = f"--{name.replace('_', '-')}"
        for other, taken in written[:number]:
            if _same(path, taken):
                raise UserError(f"--{other} and {option} are the same file", path, "give two places")
        if (verb, name) not in FOLDERS and path.is_dir():
            raise UserError("a folder is here", path, f"give the name of a file to {option}")
        with writing(path):
            _below_no_file(path)
            for other, source in read:
                if _same(path, source) and not path.is_dir():
                    what = f"{option} would replace what --{other} reads"
                    raise UserError(what, path, f"give another place to {option}")
                if (verb, other) in WHOLE and path.resolve().is_relative_to(source.resolve()):
                    what = f"results inside {source} would be taken for a part of it next time"
                    raise UserError(what, path, f"give another place to {option}")


def _paths(value: Any) -> Iterator[Path]:
    for part in value if isinstance(value, list | tuple) else (value,):
        if isinstance(part, Path):
            yield part


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def _below_no_file(path: Path) -> None:
    """Raise what the system would say of a folder that cannot be made."""
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))


def check(
    places: Mapping[Path, Path],
    searched: Path | None = None,
    ours: Callable[[Path], bool] = lambda _: False,
) -> None:
    """Refuse a plan by which something would be lost.

    Args:
        places: input -> picture that is made of it.
        searched: folder that the inputs were found in, for a verb that would find its own results there.
        ours: whether bridgepipe made a file that does not tell so itself.

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
        UserError: it lies there.
    """
    if place.resolve().is_relative_to(searched.resolve()):
        raise UserError(f"results inside {searched} would be taken for images next time", place, OTHER)


def check_new(places: Iterable[Path]) -> None:
    """Refuse places where something lies that bridgepipe did not make.

    Raises:
        UserError: one does, see `not_mine`.
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
        UserError: there is one.
    """
    from bridgepipe.datasets import images

    if place.is_dir():
        raise UserError("a folder is here", place, OTHER)
    if (place.exists() or place.is_symlink()) and not (images.is_ours(place) or ours(place)):
        raise UserError("it would replace a file that bridgepipe did not make", place, OTHER)


def is_file(photo: Path) -> None:
    """Refuse an input that is no file, before it is opened.

    Raises:
        UserError: it is not.
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
