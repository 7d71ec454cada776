"""Weights of diffusers in a folder: one file, or shards with their index, of one variant or of several.

======================================================  ======================================
one file                                                ``NAME.safetensors``
one file of the variant fp16                            ``NAME.fp16.safetensors``
a shard                                                 ``NAME-00001-of-00002.safetensors``
a shard of a variant, as diffusers writes it            ``NAME.fp16-00001-of-00002.safetensors``
the same, as older versions wrote it                    ``NAME-00001-of-00002.fp16.safetensors``
index: which shard holds a tensor                       ``NAME.safetensors.index.json``
index of a variant                                      ``NAME.safetensors.index.fp16.json``
======================================================  ======================================

NAME is ``diffusion_pytorch_model``. The older format, of pickles, has ``bin`` in place of ``safetensors``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bridgepipe.errors import UserError, reading
from bridgepipe.names.origins import UNET

FILE = re.compile(
    rf"{UNET}(\.(?P<variant>[^./]+?))?(?P<shard>-\d+-of-\d+)?(\.(?P<old>[^./]+))?\.(?P<kind>safetensors|bin)"
)
INDEX = re.compile(rf"{UNET}\.(?P<kind>safetensors|bin)\.index(\.(?P<variant>[^./]+))?\.json")
MEND = "get the folder again, whole"


@dataclass(frozen=True)
class Weights:
    """One set of weights of a folder.

    Attributes:
        variant: word of its name, such as fp16 or non_ema; "": none, the full precision.
        kind: safetensors or bin.
        index: name of the index of its shards; None: one file.
        files: names of the files of tensors that are there.
    """

    variant: str
    kind: str
    index: str | None
    files: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return (*((self.index,) if self.index else ()), *self.files)

    def shards(self, folder: Path) -> dict[str, list[str]]:
        """Names of the tensors that the index expects in each shard, by the name of its file.

        Raises:
            UserError: no index, one that is damaged, or that names a file of another folder.
        """
        assert self.index is not None
        index = folder / self.index
        found: dict[str, list[str]] = {}
        with reading(index, "no index of the shards of a network", MEND):
            for tensor, name in sorted(json.loads(index.read_text(encoding="utf8"))["weight_map"].items()):
                if Path(name).name != name:
                    raise UserError(f"it names {name}, which is no file of its folder", index, MEND)
                found.setdefault(name, []).append(tensor)
        return dict(sorted(found.items()))

    def lacking(self, folder: Path) -> list[str]:
        """Names of its files that a folder lacks."""
        if self.index is None:
            return []
        if not (folder / self.index).is_file():
            return [self.index]
        return [name for name in self.shards(folder) if not (folder / name).is_file()]


def sets_among(names: Iterable[str]) -> list[Weights]:
    """Sets of weights among names of files: full precision first, then safetensors, then shards."""
    found: dict[tuple[str, str, bool], list[str]] = {}
    for name in sorted(names):
        if match := INDEX.fullmatch(name):
            found.setdefault((match["variant"] or "", match["kind"], True), [])
        elif match := FILE.fullmatch(name):
            variant = match["variant"] or match["old"] or ""
            found.setdefault((variant, match["kind"], bool(match["shard"])), []).append(name)
    order = sorted(found, key=lambda key: (key[0], key[1] != "safetensors", not key[2]))
    return [
        Weights(variant, kind, index_of(variant, kind) if sharded else None, tuple(found[key]))
        for key in order
        for variant, kind, sharded in [key]
    ]


def index_of(variant: str, kind: str) -> str:
    return f"{UNET}.{kind}.index{f'.{variant}' if variant else ''}.json"


def read_in(folder: Path, file: str | None = None) -> Weights:
    """The weights of a folder that are read.

    Args:
        folder: folder of a UNet2DModel.
        file: name of a file of the set that is meant; None: full precision, or the only variant.

    Raises:
        UserError: no weights there, an incomplete set (the first missing file is named), or several
            variants between which nothing decides.
    """
    names = [f.name for f in folder.iterdir() if f.is_file()] if folder.is_dir() else []
    sets = sets_among(names)
    if file is not None:
        sets = [one for one in sets if file in one.all]
    whole = [one for one in sets if not one.lacking(folder)]
    if not whole:
        missing = sets[0].lacking(folder)[0] if sets else file or f"{UNET}.safetensors"
        raise UserError("no such file", folder / missing, MEND)
    variants = sorted({one.variant for one in whole})
    if variants[0] and len(variants) > 1:
        what = f"weights of the variants {' and '.join(variants)}, none of full precision"
        raise UserError(what, folder, "name one of their files in place of the folder")
    return whole[0]
