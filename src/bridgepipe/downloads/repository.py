"""Which files of a hub's repository are taken, and which ones a folder lacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bridgepipe.downloads.transfer import Failed
from bridgepipe.names import unet_files
from bridgepipe.names.origins import PIPELINE, SCHEDULER, UNET

FOLDERS = (".", "unet", "scheduler")  # of a pipeline, in which a U-Net and its process lie
SETTINGS = (".json", ".md", ".txt")
OLD = (".bin", ".pt", ".pth", ".ckpt")  # pickles, read by `networks.plain` alone
NOTES = ("README.md", "LICENSE", "LICENCE")
TABLE = ".parquet"
SPLITS = ("train", "val", "valid", "validation", "dev", "test")  # folders that are no configuration


def tables(files: Sequence[Any]) -> list[Any]:
    """Parquet files of a dataset, and its notes.

    Raises:
        Failed: no parquet files, or those of several configurations, which are datasets of their own.
    """
    found = [f for f in files if is_table(f)]
    if not found:
        raise Failed(f"no {TABLE} files in it, only {_some(files)}")
    parts = [PurePosixPath(f.rfilename).parts for f in found]
    tops = sorted({path[0] for path in parts if len(path) > 1 and path[0] not in SPLITS})
    if len(tops) > 1:
        raise Failed(f"several configurations in it, of which one has to be taken: {', '.join(tops)}")
    return [*(f for f in files if f.rfilename in NOTES), *found]


def network(files: Sequence[Any]) -> list[Any]:
    """Settings, notes and weights of a network.

    Raises:
        Failed: no weights among them.
    """
    known = [(f, PurePosixPath(f.rfilename).name) for f in files if _folder(f) in FOLDERS]
    weights = _weights([name for _, name in known])
    if not weights:
        raise Failed(f"no weights in it, only {_some(files)}")
    return [file for file, name in known if name in weights or _is_note(name)]


def is_table(file: Any) -> bool:
    return str(file.rfilename).endswith(TABLE)


def _some(files: Sequence[Any]) -> str:
    return ", ".join(sorted(f.rfilename for f in files)[:5]) or "nothing"


def _is_note(name: str) -> bool:
    is_index = unet_files.INDEX.fullmatch(name) is not None
    return name in NOTES or (name.endswith(SETTINGS) and not is_index)


def _folder(file: Any) -> str:
    return str(PurePosixPath(file.rfilename).parent)


def _weights(names: Sequence[str]) -> set[str]:
    """Weights that are taken: of two formats the one without pickles, of a U-Net the full precision.

    Of variants without the full precision all are taken, since nothing decides between them.
    """
    if sets := unet_files.sets_among(names):
        return {name for one in (sets if sets[0].variant else sets[:1]) for name in one.all}
    safe = {name for name in names if name.endswith(".safetensors") and ".fp16." not in name}
    return safe or {name for name in names if name.endswith(OLD)}


def lacking(folder: Path, dataset: bool = False) -> list[str]:
    """What a folder lacks to be a dataset, or a network that `networks.layouts` opens; [] when it is whole.

    Names alone decide, those in an index of shards included: weights are needed, and their settings where
    they are those of diffusers.
    """
    if dataset:
        return [] if any(folder.rglob(f"*{TABLE}")) else ["parquet files"]
    inner = "unet/" if (folder / "unet").is_dir() else ""
    names = [f.name for f in (folder / inner).glob("*")]
    weights = [name for name in names if name.endswith((".safetensors", *OLD))]
    pipeline = (folder / PIPELINE).is_file()
    theirs = bool(inner) or pipeline or not weights or any(name.startswith(UNET) for name in weights)
    schedule = f"scheduler/{SCHEDULER}" if inner else SCHEDULER
    settings = [f"{inner}config.json"] * theirs + [schedule] * pipeline
    lacks = [one.lacking(folder / inner) for one in unet_files.sets_among(names)]
    shards = [] if [] in lacks else [f"{inner}{name}" for name in lacks[0]] if lacks else []
    nothing = [] if weights or shards else [f"{inner}weights"]
    return [f for f in settings if not (folder / f).is_file()] + shards + nothing
