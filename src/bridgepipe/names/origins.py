"""Where what a person names lies: a source, an experiment, a repository of a hub, or a path."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

HUB = "hf:"  # before OWNER/NAME, and after it @REVISION where it is not the newest
FOLDER = "hub"  # of repositories, below data/
PART = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
DATASETS = "datasets/"  # before OWNER/NAME of a dataset, as the hub itself writes it
REPOSITORY = re.compile(
    rf"(?P<datasets>{DATASETS})?(?P<owner>{PART})/(?P<name>{PART})"
    "(@(?P<revision>[A-Za-z0-9][A-Za-z0-9._-]{0,199}))?"
)
METHODS = ("i2sb", "model", "guide", "ddib/sample", "ddib/cloud")  # whose experiments have a network
EXPERIMENT = re.compile(rf"({'|'.join(METHODS)})/{PART}")
MODEL = "model.safetensors"
UNET = "diffusion_pytorch_model"  # diffusers' file of weights; .safetensors, or .bin
SCHEDULER = "scheduler_config.json"  # of diffusers
PIPELINE = "model_index.json"  # of diffusers
FILES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


def repository_of(text: str) -> re.Match[str] | None:
    """Owner, name and revision of ``hf:OWNER/NAME[@REVISION]``; None of any other text.

    ``hf:datasets/OWNER/NAME`` is a dataset, any other a network.
    """
    return REPOSITORY.fullmatch(text.removeprefix(HUB)) if text.startswith(HUB) else None


def folder_of(repository: re.Match[str]) -> str:
    """Folder of a repository below ``data/``."""
    revision = f"@{repository['revision']}" if repository["revision"] else ""
    return f"{FOLDER}/{repository['datasets'] or ''}{repository['owner']}/{repository['name']}{revision}"


def dataset_at(path: str) -> Path:
    """Where a dataset lies that is a path, or ``hf:datasets/OWNER/NAME`` of a hub; nothing is read."""
    repository = repository_of(path)
    return Path(path) if repository is None else Path("data", folder_of(repository))


def experiment_of(text: str) -> str | None:
    """``METHOD/NAME`` of an experiment that a text names, or whose results folder it is; None: it is none."""
    named = text.rstrip("/")
    if named.startswith("results/"):
        named = named.removeprefix("results/").removesuffix(f"/{MODEL}")
    return named if EXPERIMENT.fullmatch(named) and not named.endswith(FILES) else None


def place_of(text: str, sources: Mapping[str, str]) -> Path:
    """The file or folder that a text names; nothing is read.

    Args:
        text: the first of these that fits: a name of sources.yaml; ``hf:OWNER/NAME``; an experiment
            ``METHOD/NAME``, of which `MODEL` is taken; a path. Where a source and an experiment have one
            name, ``results/METHOD/NAME`` is the experiment.
        sources: path below ``data/`` by name.
    """
    if text in sources:
        return Path("data", sources[text])
    if (repository := repository_of(text)) is not None:
        return Path("data", folder_of(repository))
    if (experiment := experiment_of(text)) is not None:
        return Path("results", experiment, MODEL)
    return Path(text)


def is_path(text: str) -> bool:
    """Whether a text can be nothing but a path."""
    return text.startswith((".", "/")) or text.endswith(FILES) or os.path.exists(text)
