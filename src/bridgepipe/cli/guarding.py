"""What is checked of a verb's paths before it runs, and before it loads libraries.

An output must cost no input and no other output, and an input has to be there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bridgepipe.errors import UserError, maker, writing

# Options that name what is written: of all verbs but those of READ, and of single verbs.
ALWAYS_WRITTEN = {"output", "csv", "figure", "markdown", "accuracy", "seen"}
WRITTEN = {
    "restore": {"compare"},
    "share": {"folder"},
    "stage sample": {"restored", "corrupted"},
    "stage translate-classes": {"translated", "latents", "states"},
    "stage boundary strips": {"edited", "control", "plain"},
    "stage evaluate-samples": {"metrics"},
    "stage evaluate-translation": {"metrics"},
    "stage evaluate-color": {"metrics"},
    "stage table": {"numbers"},
    "stage summary": {"html"},
    "stage train": {"folder"},
}
READ = {"stage figure loss": {"csv"}, "stage boundary figure-flips": {"csv"}}
# outputs that are folders, or may be one
FOLDERS = {
    ("stage train", "folder"),
    ("share", "folder"),
    *(
        (verb, "output")
        for verb in ("restore", "translate", "generate", "fetch", "export", "boundary import")
    ),
    *((f"stage {verb}", "output") for verb in ("prepare", "boundary latents", "boundary search")),
}
# folders that are read as a whole, so that a result in them would change them
WHOLE = {("translate", "input"), ("stage import-weights", "weights")}
# inputs that need not be there: patterns and standard input, folders that are made, what is made again
MAY_BE_ABSENT = {("restore", "photos"), ("fetch", "root"), ("serve", "folder"), ("verify", "paths")}


def is_written(verb: str, option: str) -> bool:
    """Whether an option of a verb names what is written."""
    if option in READ.get(verb, ()):
        return False
    return option in ALWAYS_WRITTEN or option in WRITTEN.get(verb, ())


def guard(verb: str, given: Mapping[str, Any]) -> None:
    """Refuse outputs by which an input, or another output, would be lost, or that cannot be written.

    Args:
        verb: name of the verb.
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


def look_for_inputs(verb: str, options: Sequence[Any], ctx: Any) -> None:
    """Refuse what a person names to be read and that is not there.

    Args:
        verb: name of the verb.
        options: Options and arguments of the verb.
        ctx: context of the call.

    Raises:
        UserError: with the option, and what its help says of it.
    """
    for option in options:
        typed = ctx.get_parameter_source(option.name).name == "COMMANDLINE"
        if typed and not is_written(verb, option.name) and (verb, option.name) not in MAY_BE_ABSENT:
            for path in _paths(ctx.params[option.name]):
                if not _can_be_had(path):
                    made = f", or make it first (`{command}`)" if (command := maker(path)) else ""
                    raise UserError("no such file or folder", path, f"correct {_said_of(option)}{made}")
    _look_for_experiment(ctx.params)


def _look_for_experiment(given: Mapping[str, Any]) -> None:
    """Refuse an experiment whose folder of results is not there."""
    name, results = given.get("experiment"), given.get("results")
    if name and results and not (results / name).is_dir():
        raise UserError("no results of this experiment", results / name, "name one that has run, METHOD/NAME")


def _can_be_had(path: Path) -> bool:
    """Whether an input is there, or is the name of an experiment that is, or of something that is fetched."""
    from bridgepipe.downloads import sources

    return path.exists() or sources.is_fetched(str(path)) or sources.place_of(str(path)).exists()


def _said_of(option: Any) -> str:
    """An option or argument as a person calls it, with its help."""
    name = option.opts[0] if option.param_type_name == "option" else option.name.upper()
    return f"{name} ({option.help})" if option.help else name


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
