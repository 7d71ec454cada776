"""Files that are whole or absent, and that say what they are.

A file is written beside its final name and renamed when complete, so a killed job leaves nothing that
looks like a result. Model files carry a card (configuration, digests of their inputs) and refuse a mismatch.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe.errors import UserError, errno_of, reading, refused, writing
from bridgepipe.names import Json
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.runtime.locks import exclusive, is_left_over, temporary_name

__all__ = ["exclusive"]

if TYPE_CHECKING:  # the workflow writes its small files through this module and needs no torch
    from torch import Tensor

Card = Json


class Named(dict[str, Any]):
    """What a file holds, by name. Reading a missing name raises a `UserError` that names the file."""

    def __init__(self, values: Mapping[str, Any], where: str | Path, above: str = "") -> None:
        super().__init__()
        self.where, self.above = str(where), above
        for key, value in values.items():
            self[key] = Named(value, where, f"{above}{key}.") if isinstance(value, dict) else value

    def __missing__(self, key: str) -> Any:
        mend = "give a file of the kind that this command makes or asks for"
        raise UserError(f"no {self.above}{key} in it, so it is of another kind", self.where, mend)

    def __reduce__(self) -> tuple[Any, ...]:
        return Named, (dict(self), self.where, self.above)


# One metadata key only: safetensors writes several in an arbitrary order.
CARD = "bridgepipe"
CONTENT = "content_sha256"
AGAIN = ", then run the same command again"
written: list[Path] = []  # by this process, whole
REMAKE = "if it was damaged, make it again; otherwise give a file made by bridgepipe"


@contextmanager
def atomic(
    path: str | Path, one_of_many: bool = False, lasting: bool = True, resumable: bool = False
) -> Iterator[Path]:
    """A temporary name beside ``path``; renamed to it on success, removed on failure.

    Args:
        path: file to write.
        one_of_many: leave it to the caller to `sync` the folder, once after all of its files.
        lasting: wait until the file outlives a power cut; False for what is made again when it is damaged.
        resumable: the name is ``.NAME.partial``, the file may be there, and a signal leaves it for the same
            command; the caller sees to it that no other process writes it.

    Raises:
        UserError: the folder cannot be written, the disk is full, or another limit was met.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial" if resumable else temporary_name(path.name))
    left = False
    try:
        with writing(path, again=AGAIN):
            path.parent.mkdir(parents=True, exist_ok=True)
            _sweep(path.parent.absolute())
        with _about(path, temporary):
            yield temporary
            if lasting:
                sync(temporary)
            os.replace(temporary, path)
            if lasting and not one_of_many:
                sync(path.parent)
        written.append(path)
    except Interrupted:
        left = resumable
        raise
    finally:
        if not left:
            with suppress(OSError):  # a read-only file system refuses even this
                temporary.unlink(missing_ok=True)


@contextmanager
def _about(path: Path, temporary: Path) -> Iterator[None]:
    """`writing`, where a person knows nothing of temporary names."""
    try:
        yield
    except Exception as e:
        if errno_of(e) in (None, errno.ENOMEM):  # with less memory the work may go on in smaller pieces
            raise
        if str(getattr(e, "filename", None)) in (str(temporary), str(temporary.parent)):
            e.filename = None  # type: ignore[attr-defined]
        raise refused(e, path, "write", AGAIN) from e


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk: they outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot do this for folders
            raise
    finally:
        os.close(descriptor)


@cache
def _sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left; once in a process, as large folders list slowly."""
    for left in os.scandir(folder):
        if is_left_over(left.name):
            with suppress(OSError):
                shutil.rmtree(left.path) if left.is_dir() else os.unlink(left.path)


def canonical(value: Any) -> str:
    """JSON with sorted keys: equal values give equal text, whatever their order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(value: Any) -> str:
    """sha256 of a JSON value, first 16 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def digest_file(path: str | Path) -> str:
    """sha256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def write_text(path: str | Path, text: str, lasting: bool = True) -> None:
    """Write a text file atomically; ``lasting`` as in `atomic`."""
    with atomic(path, lasting=lasting) as temporary:
        temporary.write_text(text, encoding="utf8")


def write_json(path: str | Path, value: Any, lasting: bool = True) -> None:
    """Write JSON atomically; keys keep their order, floats their shortest exact form."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", lasting)


def keep_json(path: str | Path, value: Any) -> None:
    """Write JSON that is made again at will, unless the file holds this value.

    A comment, the order of keys or a new time of the file must make nothing stale.
    """
    if _value(Path(path)) != canonical(value):
        write_json(path, value, lasting=False)


def _value(path: Path) -> str | None:
    """Content of a JSON file; None where there is none, or a damaged one, which is written again."""
    try:
        return canonical(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None


def read_json(path: str | Path) -> Any:
    """Read a JSON file; an object comes back as `Named`.

    Raises:
        UserError: the file is missing, cannot be read, or is not JSON.
    """
    with reading(path, "not a JSON file", "give a JSON file; if it was one, make it again"):
        content = json.loads(Path(path).read_text(encoding="utf8"), parse_constant=_no_number)
    return Named(content, path) if isinstance(content, dict) else content


def _no_number(name: str) -> None:
    """JSON has finite numbers only; Python's reader takes NaN and Infinity too."""
    raise ValueError(f"{name} is not a finite number")


def read_object(path: str | Path) -> Named:
    """Read a JSON file that holds values by name.

    Raises:
        UserError: the file is missing, cannot be read, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, Named):
        raise UserError(f"it holds a {type(content).__name__}, not values by name", path, "give another file")
    return content


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], card: Card) -> None:
    """Write tensors and their card as one safetensors file, atomically.

    Args:
        path: file to write.
        tensors: any shapes and dtypes; moved to the CPU.
        card: JSON values that say what the file is.
    """
    from safetensors.torch import save_file

    on_cpu = {k: v.detach().to("cpu").contiguous() for k, v in tensors.items()}
    signed = {**card, CONTENT: _content(on_cpu)}
    with atomic(path) as temporary, _scratch(temporary) as folder:
        save_file(on_cpu, folder / "tensors", metadata={CARD: canonical(signed)})
        temporary.touch()
        shutil.copymode(temporary, folder / "tensors")
        os.replace(folder / "tensors", temporary)


@contextmanager
def _scratch(temporary: Path) -> Iterator[Path]:
    """A folder for safetensors, which writes under a temporary name of its own that nothing would sweep,
    and makes files that nobody else can read."""
    folder = temporary.with_name(temporary_name("safetensors"))
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _content(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names and bytes of all tensors: finds a flipped bit, identifies the weights."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}:{tensors[name].dtype}:{tuple(tensors[name].shape)};".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_card(path: str | Path) -> Card:
    """The card of a file written by `save_tensors`.

    Raises:
        UserError: missing, damaged, or not written by bridgepipe.
    """
    from safetensors import safe_open

    with _readable(path), open(path, "rb"), safe_open(path, framework="numpy") as f:
        metadata = f.metadata() or {}
    if CARD not in metadata:
        mend = "give a file made by bridgepipe (stage import-weights)"
        raise UserError("not a bridgepipe file: it has no card", path, mend)
    with _readable(path):
        return Named(dict(json.loads(metadata[CARD])), path)


def load_tensors(
    path: str | Path, expect: Mapping[str, Any] | None = None, any_number: bool = False
) -> tuple[dict[str, Tensor], Card]:
    """Read tensors and card, refusing a file that was made under other settings.

    Args:
        path: file written by `save_tensors`.
        expect: entries that the card must hold with exactly these values.
        any_number: NaN and infinity may be in it.

    Returns:
        Tensors by name (CPU) and the card.

    Raises:
        UserError: missing, damaged, foreign, an expected entry differs, or a number is not finite.
    """
    from safetensors.torch import load_file

    from bridgepipe.finite import all_finite

    card = load_card(path)
    for key, value in (expect or {}).items():
        if canonical(card.get(key)) != canonical(value):
            raise UserError(
                f"made under another configuration: its {key} is {difference(card.get(key), value)}",
                path,
                "run the workflow to make it again, or restore the configuration that it was made under",
            )
    with _readable(path):
        tensors = load_file(path)
    if _content(tensors) != card.get(CONTENT):
        raise UserError("damaged file: its content does not match its digest", path, REMAKE)
    if not any_number:
        all_finite(tensors, path)
    return Named(tensors, path), card


def difference(found: Any, wanted: Any) -> str:
    """The first difference between two JSON values, short enough for one line."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(set(found) | set(wanted)):
            if found.get(key) != wanted.get(key):
                return f"{key}: {difference(found.get(key), wanted.get(key))}"
    return f"{found!r}, expected {wanted!r}"


def _readable(path: str | Path) -> AbstractContextManager[None]:
    return reading(path, "damaged or foreign file", REMAKE)
