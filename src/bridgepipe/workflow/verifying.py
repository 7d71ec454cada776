"""Every artefact is read, and compared with its own digest and with params.yaml."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.errors import UserError, is_out_of_memory
from bridgepipe.runtime import provenance
from bridgepipe.workflow import plans

MEND = "delete it (verify --delete) and make it again"
DEFAULT = [Path("data"), Path("results")]
SKIPPED = {"raw", "logs", "benchmarks", provenance.FOLDER}
Settings = Mapping[str, Any] | None
Stamp = list[Any]


def verify(paths: list[Path], delete: bool, params: Path, seen: Path) -> bool:
    """Name artefacts that are damaged, and results of other parameters; whether all are sound.

    Args:
        paths: files and folders; none: those of the workflow.
        delete: whether the bad ones are deleted.
        params: file of the parameters.
        seen: digests of the files as they were found sound; brought up to date.
    """
    resolved, known = configuration.load(params), _known(seen)
    files = list(artefacts(paths or DEFAULT))
    bad = [file for file in files if not is_sound(file, resolved, known)]
    for file in bad if delete else []:
        file.unlink()
    artifacts.write_json(seen, known)
    if not bad and not paths:
        plans.refresh(resolved)  # `dvc commit` comes next
    print(f"{len(files)} files checked, {len(bad)} bad{' and deleted' if bad and delete else ''}")
    return not bad


def made_again(files: list[Path]) -> bool:
    """Make files again beside the old ones, and say what differs; whether all bytes are the same."""
    from bridgepipe.runtime.rerun import rerun

    if not files or not all(file.is_file() for file in files):
        where = next((file for file in files if not file.is_file()), "verify --rerun")
        raise UserError("no such file", where, "name the results that are to be made again")
    results = [(file, rerun(file)) for file in files]
    for file, result in results:
        print(f"{file}: {result}")
    return all(result.same for _, result in results)


def artefacts(paths: list[Path]) -> Iterator[Path]:
    """Files that can be checked; what was published (data/raw) has no digest of ours."""
    for path in paths:
        if not path.exists() and path not in DEFAULT:
            raise UserError("no such file or folder", path, "give files or folders that are there")
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (f for f in found if f.suffix in CHECKS and f.is_file() and not SKIPPED & {*f.parts})


def is_sound(file: Path, resolved: configuration.Resolved, known: dict[str, Stamp]) -> bool:
    """Whether a file is what was written, under today's parameters; says on standard error when it isn't.

    ``known`` has the time, size and digest of files that were sound; it is brought up to date.
    """
    try:
        _same_bytes(file, known)
        stage, made_with = CHECKS[file.suffix](file)
        _same_parameters(file, stage, made_with, resolved)
    except Exception as e:  # damaged bytes can fail in any way
        if is_out_of_memory(e):
            raise
        reason = e if isinstance(e, UserError) else UserError(f"damaged file: {e!r}", file, MEND)
        print(f"bridgepipe: {reason}", file=sys.stderr)
        known.pop(str(file), None)
        return False
    return True


def _known(path: Path) -> dict[str, Stamp]:
    with suppress(UserError):  # none yet, or damaged itself
        return artifacts.read_json(path)
    return {}


def _same_bytes(file: Path, known: dict[str, Stamp]) -> None:
    """A file that is written gets a new time; other bytes under the old time are damage."""
    time, *now = stamp = [file.stat().st_mtime_ns, file.stat().st_size, artifacts.digest_file(file)]
    then = known.setdefault(str(file), stamp)
    if then[0] == time and then[1:] != now:
        raise UserError("damaged file: its content has changed since it was written", file, MEND)
    known[str(file)] = stamp


def _same_parameters(file: Path, stage: str, made_with: Settings, resolved: configuration.Resolved) -> None:
    name = file.parent.as_posix().rpartition("results/")[2]
    if made_with is None or name not in resolved.experiments:
        return
    for key, value in resolved.stages(name).get(stage, {}).items():
        if (other := _other(key, made_with.get(key), value)) is not None:
            raise UserError(f"made under another configuration: {other} differs", file, MEND)


def _other(key: str, recorded: Any, value: Any) -> str | None:
    """The key whose value was another one. A result may also record what a job found out, such as calls."""
    if isinstance(recorded, Mapping) and isinstance(value, Mapping):
        within = (_other(f"{key}.{name}", recorded.get(name), own) for name, own in value.items())
        return next(filter(None, within), None)
    return key if artifacts.canonical(recorded) != artifacts.canonical(value) else None


def _store(file: Path) -> tuple[str, Settings]:
    from bridgepipe.data.store import ImageStore

    store = ImageStore(file)
    store.verify()
    made_by = store.card["made_by"]
    return "sample", made_by.get("settings") if isinstance(made_by, dict) else None


def _tensors(file: Path) -> tuple[str, Settings]:
    _, card = artifacts.load_tensors(file, any_number=True)
    return ("train", card.get("config")) if file.name == "model.safetensors" else ("", None)


def _json(file: Path) -> tuple[str, Settings]:
    content = artifacts.read_json(file)
    if not isinstance(content, dict) or "protocol_hash" not in content:
        return "", None
    if artifacts.digest_of(content["protocol"]) != content["protocol_hash"]:
        raise UserError("damaged file: its protocol does not match its hash", file, MEND)
    return "sample", (content.get("made_with") or {}).get("settings")


def _image(file: Path) -> tuple[str, Settings]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.verify()
    except (OSError, SyntaxError) as e:
        raise UserError(f"damaged image: {e}", file, MEND) from e
    return "", None


def _text(file: Path) -> tuple[str, Settings]:
    return "", None


# each reads a file whole, and returns the stage and the settings that made it, where the file knows them
CHECKS: dict[str, Callable[[Path], tuple[str, Settings]]] = {
    ".lmdb": _store,
    ".safetensors": _tensors,
    ".json": _json,
    ".png": _image,
    ".csv": _text,
    ".md": _text,
    ".npz": _text,
}
