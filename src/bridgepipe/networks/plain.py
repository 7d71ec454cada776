"""Pickles of published files, read without running them.

A pickle is a program. The published checkpoints and option files need very
little of it: containers, numbers, strings, argparse's namespace, paths, and
the parts of tensors. Any other name that a file asks for is refused by name
before anything is called.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch
from torch import Tensor

from bridgepipe.errors import UserError, reading
from bridgepipe.finite import all_finite
from bridgepipe.names import Json

STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
# A legacy torch file is a row of pickles: magic number, protocol, system, content; then raw storages.
LEGACY_PICKLES = 4
MEND = "give the file of weights that torch.save wrote, as it was published"


def _plain_types() -> dict[str, Any]:
    """Names that option files may use, and what stands in for each. New classes for each file:
    a pickle can set attributes on a class it was given, and must not reach a shared one."""
    return {
        "argparse.Namespace": type("Namespace", (), {}),
        "collections.OrderedDict": OrderedDict,
        "pathlib.PosixPath": lambda *parts: str(PurePosixPath(*parts)),
        "pathlib._local.PosixPath": lambda *parts: str(PurePosixPath(*parts)),
        "builtins.set": set,
        "builtins.frozenset": frozenset,
        "builtins.complex": complex,
    }


def _tensor_parts() -> dict[str, Any]:
    """Names that checkpoints may use. Nothing is rebuilt here: torch reads the tensors afterwards."""
    names = [f"torch.{kind}Storage" for kind in STORAGES]
    names += ["torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"]
    names += ["torch._utils._rebuild_parameter", "torch.Size", "torch.storage.UntypedStorage"]
    return {"collections.OrderedDict": OrderedDict} | dict.fromkeys(names, lambda *parts: None)


class Reader(pickle.Unpickler):
    """An unpickler that knows the names of ``allowed`` and no others."""

    def __init__(self, stream: IO[bytes], where: Path, allowed: Mapping[str, Any]) -> None:
        super().__init__(stream, encoding="latin1")
        self._where, self._allowed = where, allowed

    def find_class(self, module: str, name: str) -> Any:
        asked = f"{module}.{name}".replace("__builtin__.", "builtins.")
        if asked not in self._allowed:
            raise UserError(
                f"refused: the file asks to load {asked}, which may run a program",
                self._where,
                "if you trust its maker, let them save plain tensors by name (a state dict), as safetensors",
            )
        return self._allowed[asked]

    def persistent_load(self, pid: Any) -> None:
        """Storages are named, not contained; which one does not matter for names."""


def read_options(path: str | Path) -> Json:
    """Options pickled as a dict or an argparse namespace, e.g. I2SB's ``options.pkl``.

    Args:
        path: pickle file; only plain containers, numbers, strings, namespaces and posix paths may be in it.

    Returns:
        Options by name; paths as strings.

    Raises:
        UserError: missing, damaged, or it asks for anything else (named, and not run).
    """
    path = Path(path)
    with (
        reading(path, "not a pickle of plain options", "give the options.pkl of an I2SB release"),
        open(path, "rb") as f,
    ):
        allowed = _plain_types()
        content = Reader(f, path, allowed).load()
        if isinstance(content, allowed["argparse.Namespace"]):
            content = vars(content)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    return content


def read_checkpoint(path: str | Path, what: str = "not a checkpoint of plain tensors") -> Any:
    """What ``torch.save`` wrote, zip or legacy format, if it is tensors and plain containers only.

    Every name that the file asks for is checked first, so that a refusal can name it; torch
    then reads the tensors with its own restricted reader (``weights_only``).

    Args:
        path: checkpoint; tensors come back on the CPU, mapped from the file where the format allows it.
        what: subject of the message when it is none.

    Raises:
        UserError: missing, damaged, or it asks for anything else (named, and not run).
    """
    path = Path(path)
    with reading(path, what, MEND):
        zipped = zipfile.is_zipfile(path)
        for check in _zip_pickles(path) if zipped else _legacy_pickles(path):
            check()
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def _zip_pickles(path: Path) -> Iterator[Callable[[], Any]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".pkl"):
                yield Reader(io.BytesIO(archive.read(name)), path, _tensor_parts()).load


def _legacy_pickles(path: Path) -> Iterator[Callable[[], Any]]:
    with open(path, "rb") as f:
        for _ in range(LEGACY_PICKLES):
            yield Reader(f, path, _tensor_parts()).load


def read_weights(path: str | Path, what: str = "not a checkpoint of plain tensors") -> dict[str, Tensor]:
    """A checkpoint that is one state dict, as ADM, DDIB and BoundaryDiffusion publish them.

    Args:
        path: file, see `read_checkpoint`.
        what: the same.

    Raises:
        UserError: as `read_checkpoint`, or it holds something else.
    """
    return as_weights(read_checkpoint(path, what), path)


def as_weights(content: Any, where: object) -> dict[str, Tensor]:
    """``content`` as a dict of tensors by name.

    Raises:
        UserError: the content is something else, or a number in it is not finite.
    """
    named = isinstance(content, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    )
    if not named:
        raise UserError("no weights in it: not tensors by name", where, "give a file of network weights")
    all_finite(content, where)
    return dict(content)
