"""The sample photographs inside installed packages, and how patches lie in a large picture.

``sample_photos.yaml`` holds the licence, the origin and the split of every photograph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import yaml

from bridgepipe.errors import UserError

PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
FREE = ("public domain", "CC0-1.0")  # what is trained on these may be given away
SUBJECTS = ("people", "nature", "buildings", "objects", "science")  # the classes of the photographs


@dataclass(frozen=True)
class Grid:
    """Where square patches lie in a picture.

    Args:
        size: side of a patch in pixels.
        stride: pixels between patches; None: half the size.
        scales: factors by which the picture is made smaller before patches are cut. A scale at which the
            picture is smaller than a patch gives none.
    """

    size: int
    stride: int | None = None
    scales: Sequence[float] = (1.0,)

    @property
    def step(self) -> int:
        """Pixels between patches."""
        return self.stride or max(self.size // 2, 1)

    def shape(self, height: int, width: int, scale: float) -> tuple[int, int]:
        """Rows and columns of patches in a picture at a scale."""
        sides = scaled((height, width), scale)
        down, across = (max((side - self.size) // self.step + 1, 0) for side in sides)
        return down, across

    def count(self, height: int, width: int) -> int:
        """Patches of a picture at all scales."""
        shapes = (self.shape(height, width, scale) for scale in self.scales)
        return sum(down * across for down, across in shapes)


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width at a scale, to the nearest pixel."""
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


@dataclass(frozen=True)
class Photograph:
    """One entry of ``sample_photos.yaml``; the size is that of the file."""

    name: str
    split: str
    subject: str
    size: tuple[int, int]
    reduce: int
    licence: str
    author: str
    origin: str
    stated: str
    file: str
    digest: str

    @property
    def reduced(self) -> tuple[int, int]:
        """Height and width of what patches are cut from."""
        return scaled(self.size, 1 / self.reduce)

    @property
    def is_free(self) -> bool:
        """Whether it is public domain or CC0."""
        return self.licence in FREE

    @property
    def may_be_shown(self) -> bool:
        """Whether a licence is stated, so that pictures may be made of it."""
        return self.licence != "none stated"

    def read(self) -> bytes:
        """Content of its file in the installed package.

        Raises:
            UserError: the package is missing, or holds another file.
        """
        return installed(self.file, self.digest, f"sample photograph {self.name}")


def installed(file: str, digest: str, what: str) -> bytes:
    """Content of a file ``PACKAGE/...`` of an installed package, which is not imported.

    Args:
        digest: sha256 of the content.
        what: the file's name in errors.

    Raises:
        UserError: the package is missing, or holds another file.
    """
    folder, _, rest = file.partition("/")
    package = PACKAGES[folder]
    mend = f"install the {package} of requirements.lock"
    spec = find_spec(folder)
    places = [] if spec is None else spec.submodule_search_locations or []
    found = next((path for place in places if (path := Path(place, rest)).is_file()), None)
    if found is None:
        raise UserError(f"the package {package} is missing, or has no file {rest}", what, mend)
    content = found.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{package} holds another {rest} than the one that is recorded", what, mend)
    return content


@cache
def photographs() -> tuple[Photograph, ...]:
    """All sample photographs, in the order of their file."""
    listed = yaml.safe_load(Path(__file__).with_name("sample_photos.yaml").read_text(encoding="utf8"))
    return tuple(
        Photograph(name=name, origin=entry.pop("from"), **{**entry, "size": tuple(entry["size"])})
        for name, entry in listed.items()
    )


def by_licence() -> str:
    """The names of all photographs behind their licences, on one line."""
    licences = dict.fromkeys(photo.licence for photo in photographs())
    named = {licence: [p.name for p in photographs() if p.licence == licence] for licence in licences}
    return "; ".join(f"{licence}: {', '.join(names)}" for licence, names in named.items())


def by_subject() -> dict[str, tuple[str, ...]]:
    """The names of all photographs by their subject."""
    return {
        subject: tuple(photo.name for photo in photographs() if photo.subject == subject)
        for subject in SUBJECTS
    }


def count(grid: Grid, split: str, names: Collection[str]) -> int:
    """Patches of a split of the sample photographs, of those with these names."""
    return sum(
        grid.count(*photo.reduced) for photo in photographs() if photo.split == split and photo.name in names
    )
