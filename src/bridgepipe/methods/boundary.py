"""BoundaryDiffusion: a linear boundary between latents with and without an attribute (Zhu et al. 2023).

Images are inverted to the mixing step (`boundary_latents`, which `boundary_mixing` finds), a linear SVM
divides the latents z and the bottlenecks h there (`fit`), and a photo is edited by one move along the unit
normals (`boundary_edit`). A boundary is data: a unit normal and an offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, isnan
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bridgepipe.artifacts import CONTENT, load_card, load_tensors, save_tensors, write_json
from bridgepipe.errors import UserError
from bridgepipe.evaluation.accuracy import Accuracy
from bridgepipe.methods.boundary_fit import SOLVERS, Balance, Readable, Rows, Solver, as_classes, subsample

UNIT = 1e-4  # how far the length of a normal may be from 1
KIND = "boundary"
Space = Literal["z", "h"]
SPACES: tuple[Literal["z"], Literal["h"]] = ("z", "h")


@dataclass(frozen=True)
class Boundary:
    """The hyperplane <normal, z> + offset = 0; the attribute lies where this is positive.

    Args:
        normal: float32 ``[D]`` of length 1, over flattened latents.
        offset: signed distance of the origin.
        accuracy: share of the latents that it was judged on which lie on their side of it; nan: not known.
        scale: length of the SVM's coefficients; 1/scale is the half width of its margin.

    Raises:
        UserError: the normal is not of length 1, or the offset not finite.
    """

    normal: Tensor
    offset: float
    accuracy: float
    scale: float = 1.0

    def __post_init__(self) -> None:
        length = float(self.normal.double().norm())
        if self.normal.dim() != 1 or not abs(length - 1) <= UNIT:
            what = f"a normal of shape {list(self.normal.shape)} and length {length:.6g}"
            raise UserError(what, "boundary", "give a vector of length 1, or use Boundary.of")
        if not isfinite(self.offset):
            raise UserError(f"its offset is {self.offset}", "boundary", "fit it again, or give another file")

    @classmethod
    def of(cls, coef: Tensor, intercept: float, accuracy: float = float("nan")) -> Boundary:
        """From the decision function <coef, z> + intercept of a linear classifier.

        Raises:
            UserError: coef is zero or not finite.
        """
        coef = coef.double().flatten()
        scale = float(coef.norm())
        if not 0 < scale < float("inf"):
            raise UserError(f"coefficients of length {scale}", "boundary", "fit it to two sets that differ")
        return cls((coef / scale).float(), float(intercept) / scale, accuracy, scale)

    @property
    def coef(self) -> Tensor:
        """Coefficients of the SVM's decision function, float32 ``[D]``."""
        return self.normal * self.scale

    def through_origin(self) -> Boundary:
        """The parallel hyperplane to which the published edits measure distances."""
        return replace(self, offset=0.0)

    def distance(self, z: Tensor) -> Tensor:
        """Signed distances ``[B]`` of latents ``[B, ...]``, in their dtype."""
        return self._flat(z) @ self.normal.to(z) + self.offset

    def decide(self, z: Tensor) -> Tensor:
        """The SVM's decision function ``[B]``: the distance in units of half a margin."""
        return self.distance(z) * self.scale

    def move(self, z: Tensor, distance: float | Tensor, relative: bool = False) -> Tensor:
        """Latents ``[B, ...]`` moved along the normal, to a signed distance or by one when ``relative``.

        Args:
            distance: a number, or one per latent ``[B]``.
        """
        target = torch.as_tensor(distance, dtype=z.dtype, device=z.device)
        by = (target if relative else target - self.distance(z)).reshape(-1, 1)
        return (self._flat(z) + by * self.normal.to(z)).reshape(z.shape)

    def _flat(self, z: Tensor) -> Tensor:
        flat = z.flatten(1)
        if flat.shape[1] != len(self.normal):
            what = f"latents of {flat.shape[1]} numbers, a boundary of {len(self.normal)}"
            raise UserError(what, "boundary", "use the boundary of this space, network and image size")
        return flat


@dataclass(frozen=True)
class Boundaries:
    """The boundaries of one attribute; a space without one is left alone."""

    z: Boundary | None = None
    h: Boundary | None = None


def fit(
    latents: Readable,
    labels: Sequence[int] | np.ndarray | Tensor,
    *,
    C: float = 1.0,
    solver: Solver = "gram",
    balance: Balance = "none",
    seed: int = 0,
    test: tuple[Readable, Sequence[int] | np.ndarray | Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> Boundary:
    """A linear support vector machine between the latents of two classes.

    Args:
        latents: ``[N, ...]``: a tensor, an array (memory-mapped or not), or anything that has a length and
            ``batch(indices)``, such as an ImageStore of latents. Read in blocks, never scaled or centred.
        labels: 0 or 1 for each.
        C: cost of a latent on the wrong side, > 0.
        solver: ``svc`` gives scikit-learn the latents, as published; ``gram`` their inner products, which
            is the same problem, faster, and needs memory for N x N numbers only.
        balance: ``weights`` makes errors in the rarer class cost more, ``subsample`` drops latents of the
            more frequent one; ``none`` is published.
        seed: seed of the subsample.
        test: latents and labels to state the accuracy on; those of the training otherwise.
        device: device that computes inner products.

    Raises:
        UserError: labels of one class or other values, another number of them, C <= 0, unknown solver.
    """
    classes = as_classes(labels, len(latents))
    if solver not in SOLVERS or not C > 0:
        raise UserError(f"solver {solver!r}, C = {C}", "boundary", f"take one of {list(SOLVERS)}, C above 0")
    items = subsample(classes, seed) if balance == "subsample" else np.arange(len(classes))
    weight = "balanced" if balance == "weights" else None
    coef, intercept = SOLVERS[solver](Rows(latents, items), classes[items], C, weight, device)
    boundary = Boundary.of(coef, intercept)
    judged = (latents, classes) if test is None else test
    return replace(boundary, accuracy=measure(boundary, *judged).accuracy)


def measure(boundary: Boundary, latents: Readable, labels: Sequence[int] | np.ndarray | Tensor) -> Accuracy:
    """Share of latents on their side of the boundary, with its 95 % interval.

    Raises:
        UserError: labels that are not 0 or 1, or another number of them.
    """
    classes = as_classes(labels, len(latents), both=False)
    right = 0
    for span, rows in Rows(latents).blocks():
        right += int(((boundary.distance(rows) > 0).numpy() == classes[span]).sum())
    return Accuracy(right, len(classes))


@dataclass(frozen=True)
class About:
    """The model, timestep and space that a saved boundary belongs to.

    Attributes:
        attribute: name of the attribute.
        space: ``z`` or ``h``.
        t: index at which the latents were read.
        network: digest of the network's weights.
        variant: timing of h, see `boundary_latents.invert`.
    """

    attribute: str
    space: Space
    t: int
    network: str
    variant: Literal["published", "exact"] = "exact"


def save(
    path: str | Path, boundary: Boundary, about: About, test: Accuracy | None = None, **more: Any
) -> None:
    """Write a boundary as safetensors, and its card once more as JSON beside it.

    Args:
        path: ends in ``.safetensors``.
        test: accuracy with its interval.
        more: JSON values for the card, such as C or counts.
    """
    accuracy = None if isnan(boundary.accuracy) else boundary.accuracy
    numbers = {"offset": boundary.offset, "scale": boundary.scale, "accuracy": accuracy}
    tested = test and {key: getattr(test, key) for key in ("accuracy", "low", "high", "n")}
    card = {"kind": KIND, **asdict(about), **numbers, "test": tested, **more}
    save_tensors(path, {"normal": boundary.normal}, card)
    write_json(Path(path).with_suffix(".json"), card)


def load(
    path: str | Path, network: str | None = None, t: int | None = None, space: Space | None = None
) -> tuple[Boundary, About]:
    """Read a boundary, refusing another network, step or space than its own.

    Args:
        path: file written by `save`.
        network: digest of the network that it is for; None: not asked.
        t, space: step and space that it is for; None: not asked.

    Raises:
        UserError: missing, damaged, not a boundary, or not for this network, step or space.
    """
    tensors, card = load_tensors(path)
    if card.get("kind") != KIND:
        raise UserError("not a boundary", path, "give a file written by the boundary search")
    for name, wanted in (("network", network), ("t", t), ("space", space)):
        if wanted is not None and card[name] != wanted:
            what = f"this boundary is for {name} {card[name]}, not {wanted}"
            raise UserError(what, path, f"search the boundary again, or take the {name} it was made for")
    about = About(**{name: card[name] for name in About.__dataclass_fields__})
    accuracy = float("nan") if card["accuracy"] is None else card["accuracy"]
    return Boundary(tensors["normal"], card["offset"], accuracy, card["scale"]), about


def digests(folder: Path) -> dict[str, str]:
    """Digests of a folder's boundaries, by space."""
    return {s: load_card(folder / f"{s}.safetensors")[CONTENT] for s in SPACES}


def load_both(folder: str | Path, network: str | None = None, t: int | None = None) -> Boundaries:
    """``z.safetensors`` and ``h.safetensors`` of a folder; see `load`.

    Raises:
        UserError: as `load`, or the two belong to different steps.
    """
    (z, about_z), (h, about_h) = (
        load(Path(folder) / f"{space}.safetensors", network, t, space) for space in ("z", "h")
    )
    if (about_z.t, about_z.network) != (about_h.t, about_h.network):
        raise UserError("its z and h belong to different steps or networks", folder, "search them again")
    return Boundaries(z, h)
