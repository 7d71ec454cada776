"""The verb that reads every artefact and compares it with its own digest and with params.yaml."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bridgepipe import artifacts
from bridgepipe import config as configuration
from bridgepipe.cli.common import File
from bridgepipe.errors import UserError

app = typer.Typer()
MEND = "delete it (verify --delete) and make it again"
Settings = Mapping[str, Any] | None


@app.command()
def verify(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="files or folders; default: data results")
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="delete them: the next run makes them again")
    ] = False,
    params: File = Path("params.yaml"),
) -> None:
    """Read every artefact; name those that are damaged, and results of other parameters than params.yaml's.

    Exit code 1 when there are any.
    """
    resolved = configuration.load(params)
    files = list(artefacts(paths or [Path("data"), Path("results")]))
    bad = [file for file in files if not is_sound(file, resolved)]
    for file in bad if delete else []:
        file.unlink()
    print(f"{len(files)} files checked, {len(bad)} bad{' and deleted' if bad and delete else ''}")
    raise SystemExit(1 if bad else 0)


def artefacts(paths: list[Path]) -> Iterator[Path]:
    """Files that can be checked; what was published (data/raw) has no digest of ours."""
    for path in paths:
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (f for f in found if f.suffix in CHECKS and f.is_file() and "raw" not in f.parts)


def is_sound(file: Path, resolved: configuration.Resolved) -> bool:
    """Whether a file is what was written, under today's parameters; says on standard error when it isn't."""
    try:
        stage, made_with = CHECKS[file.suffix](file)
        _same_parameters(file, stage, made_with, resolved)
    except UserError as e:
        print(f"bridgepipe: {e}", file=sys.stderr)
        return False
    return True


def _same_parameters(file: Path, stage: str, made_with: Settings, resolved: configuration.Resolved) -> None:
    name = file.parent.as_posix().rpartition("results/")[2]
    if made_with is None or name not in resolved.experiments:
        return
    wanted = resolved.stages(name)[stage]
    for key, value in wanted.items():
        if artifacts.canonical(made_with.get(key)) != artifacts.canonical(value):
            raise UserError(f"made under another configuration: {key} differs", file, MEND)


def _store(file: Path) -> tuple[str, Settings]:
    from bridgepipe.store import ImageStore

    store = ImageStore(file)
    store.verify()
    return "sample", store.card["made_by"].get("settings")


def _tensors(file: Path) -> tuple[str, Settings]:
    _, card = artifacts.load_tensors(file)
    return "train", card.get("config")


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


# each reads a file whole, and tells the stage and the settings that made it, where it knows them
CHECKS: dict[str, Callable[[Path], tuple[str, Settings]]] = {
    ".lmdb": _store,
    ".safetensors": _tensors,
    ".json": _json,
    ".png": _image,
}
