"""Files that are whole or absent, and that say what they are.

A file is written beside its final name and renamed when complete, so a killed
job never leaves something that looks like a result. Model files carry a card
(configuration, digests of what they were made from) and refuse a mismatch.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridgepipe.errors import UserError

if TYPE_CHECKING:  # the workflow writes its small files through this module and needs no torch
    from torch import Tensor

Card = dict[str, Any]
# One metadata key only: safetensors writes several in an arbitrary order.
CARD = "bridgepipe"
CONTENT = "content_sha256"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path``; renamed to it on success, removed on failure.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        yield temporary
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as e:
        raise UserError(
            f"cannot write: {e.strerror or e}",
            path,
            "free some space or make the folder writable, then run the same command again",
        ) from e
    finally:
        with suppress(OSError):  # a read-only file system refuses even this
            temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what killed processes of this machine left under temporary names of ``path``."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            left.unlink(missing_ok=True)


@contextmanager
def exclusive(path: str | Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock file; the system lets go of it when this process ends, however it ends.

    Args:
        path: lock file, made when missing and left behind.
        wait: wait until the other process is done, saying so once.

    Raises:
        UserError: another process holds it and ``wait`` is false.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise UserError(
                    "another run is at work here",
                    path,
                    "wait until it is done or stop it, then repeat the command",
                ) from None
            print(
                f"bridgepipe: waiting for another process at work here ({path})", file=sys.stderr, flush=True
            )
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


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


def digest_code(*names: str) -> str:
    """sha256 over source files or folders of this package, first 16 hex digits."""
    package = Path(__file__).parent
    files = sorted(
        f
        for name in names
        for f in ([package / name] if name.endswith(".py") else (package / name).rglob("*.py"))
    )
    return digest_of({str(f.relative_to(package)): digest_file(f) for f in files})


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf8")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically; keys keep their order, floats their shortest exact form."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf8"))
    except FileNotFoundError as e:
        raise UserError("no such file", path, "make it first, or give another path") from e
    except ValueError as e:
        raise UserError(f"not a JSON file: {e}", path, "delete it and make it again") from e


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
    with atomic(path) as temporary:
        save_file(on_cpu, temporary, metadata={CARD: canonical(signed)})


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

    with _readable(path), safe_open(path, framework="pt") as f:
        metadata = f.metadata() or {}
    if CARD not in metadata:
        raise UserError("not a bridgepipe file: it has no card", path, "give a file made by bridgepipe")
    return json.loads(metadata[CARD])


def load_tensors(path: str | Path, expect: Mapping[str, Any] | None = None) -> tuple[dict[str, Tensor], Card]:
    """Read tensors and card, refusing a file that was made under other settings.

    Args:
        path: file written by `save_tensors`.
        expect: entries that the card must hold with exactly these values.

    Returns:
        Tensors by name (CPU) and the card.

    Raises:
        UserError: missing, damaged, foreign, or an expected entry differs.
    """
    from safetensors.torch import load_file

    card = load_card(path)
    for key, value in (expect or {}).items():
        if canonical(card.get(key)) != canonical(value):
            raise UserError(
                f"made under another configuration: its {key} is {_brief(card.get(key), value)}",
                path,
                "delete it to make it again, or restore the configuration that it was made under",
            )
    with _readable(path):
        tensors = load_file(path)
    if _content(tensors) != card.get(CONTENT):
        raise UserError(
            "damaged file: its content does not match its digest", path, "delete it and make it again"
        )
    return tensors, card


def _brief(found: Any, wanted: Any) -> str:
    """The first difference between two JSON values, short enough for one line."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(set(found) | set(wanted)):
            if found.get(key) != wanted.get(key):
                return f"{key}: {_brief(found.get(key), wanted.get(key))}"
    return f"{found!r}, expected {wanted!r}"


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except FileNotFoundError as e:
        raise UserError("no such file", path, "make it first, or give another path") from e
    except (SafetensorError, OSError) as e:
        raise UserError(f"damaged or foreign file: {e}", path, "delete it and make it again") from e
