"""Boundaries in the files of others: pickled classifiers, and NumPy's own formats, in and out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from bridgepipe.artifacts import atomic
from bridgepipe.downloads.sources import load_sources
from bridgepipe.errors import UserError, reading
from bridgepipe.methods.boundary import Boundary
from bridgepipe.methods.boundary_sav import read_sav

# names under which NPZ files hold the two numbers of a linear classifier, the first in ours
COEF = ("coef", "coef_", "normal", "w")
INTERCEPT = ("intercept", "intercept_", "offset", "b")
NUMPY = (".npy", ".npz")


def read_boundary(path: str | Path) -> Boundary:
    """The boundary in a ``.npy``, ``.npz`` or ``.sav`` file. Nothing in it is run.

    A ``.npy`` file holds the coefficients of a linear classifier, ``[D]`` or ``[1, D]``, without an
    intercept; an ``.npz`` file both, by the names of `COEF` and `INTERCEPT`.

    Raises:
        UserError: missing, damaged, without coefficients, or with some that are not finite.
    """
    path = Path(path)
    if path.suffix not in NUMPY:
        return read_sav(path)
    with (
        reading(path, "not the coefficients of a linear classifier", "give an array [D], or [1, D]"),
        open(path, "rb") as file,
    ):
        found = np.load(file, allow_pickle=False)
        arrays = {"coef": found} if isinstance(found, np.ndarray) else dict(found)
    coef = _named(arrays, COEF)
    if coef is None or coef.dtype.kind not in "fiu" or coef.ndim not in (1, 2) or coef.size != coef.shape[-1]:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        mend = f"store them as {COEF[0]}, an array [D] or [1, D], and {INTERCEPT[0]}"
        raise UserError(f"it holds {shapes or 'nothing'}, no coefficients", path, mend)
    intercept = _named(arrays, INTERCEPT)
    if intercept is not None and (intercept.dtype.kind not in "fiu" or intercept.size != 1):
        raise UserError("its intercept is not one number", path, "give that of two classes")
    return Boundary.of(
        torch.from_numpy(coef.astype(np.float64)), 0.0 if intercept is None else intercept.item()
    )


def write_boundary(path: str | Path, boundary: Boundary) -> None:
    """The coefficients of a boundary as ``.npy``, or with the intercept as ``.npz``, for `read_boundary`.

    Raises:
        UserError: another suffix, or ``.npy`` of a boundary whose intercept would be lost.
    """
    path = Path(path)
    coef, intercept = boundary.coef.numpy(), np.array(boundary.offset * boundary.scale)
    if path.suffix not in NUMPY:
        raise UserError(f"a file of type {path.suffix or 'none'}", path, "name it .npz or .npy")
    if path.suffix == ".npy" and boundary.offset:
        raise UserError("an .npy file would lose the intercept", path, "name it .npz")
    with atomic(path) as temporary, open(temporary, "wb") as file:
        if path.suffix == ".npz":
            np.savez(file, coef=coef, intercept=intercept)
        else:
            np.save(file, coef)


def fetched(name: Path) -> Path:
    """Where the file of a source lies; a path that is no source's name is itself."""
    source = load_sources().get(str(name))
    if source is None or name.exists():
        return name
    place = Path("data") / source.path
    if not place.exists():
        raise UserError("no such file", place, f"fetch it: bridgepipe fetch {name}")
    return place


def _named(arrays: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays), None)
