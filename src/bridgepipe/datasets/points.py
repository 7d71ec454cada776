"""DDIB's six two-dimensional domains (Su et al. 2023), and files of points as data to train on."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.names import Json
from bridgepipe.runtime.rng import generator

if TYPE_CHECKING:  # images are prepared without torch
    from torch import Tensor

Variant = Literal["published", "exact"]
SPLITS = ("train", "test")
FEWEST = 12
NOISE = 0.05  # of the moons
POOL = 16  # points of which one is drawn for an independent sample
WIDTH = 0.5  # by which radii vary in all
FAR = float(np.float32(2.8))  # the published centres are in single precision


class Random(Protocol):
    """What the domains draw from: numpy's Generator, or the older RandomState."""

    def random(self, size: Any) -> Any: ...
    def normal(self, loc: float, scale: float, size: Any) -> Any: ...
    def choice(self, a: int, size: Any) -> Any: ...
    def permutation(self, x: Any) -> Any: ...


def draw(domain: str, count: int, rng: Random, variant: Variant = "published") -> np.ndarray:
    """Points of a domain.

    ``published`` keeps what the published generator does: rings and squares of one set have equal
    numbers of points whatever their length, one mean and one standard deviation over both
    coordinates normalise the set (so neither axis has mean 0 and variance 1), and the points come
    in order: along the curves, by falling x on the checkerboard.

    ``exact`` differs in three ways: rings and squares have points in proportion to their length,
    every axis has mean 0 and standard deviation 1, and the points are shuffled.

    In both, a ring of radius r has radii uniform in [r - 1/4, r + 1/4], and a square of half side
    r is its outline times such a radius; there are three of them. Statistics are the sample's own.

    Args:
        domain: one of `DOMAINS`.
        count: number of points, at least 12; what does not divide evenly is spread over the parts.
        rng: source of the draws.
        variant: variant of the domain, as listed above.

    Returns:
        float32 ``[count, 2]``.

    Raises:
        UserError: unknown domain or variant, or too few points.
    """
    _known("domain", domain, tuple(DOMAINS))
    _known("variant", variant, get_args(Variant))
    if count < FEWEST:
        raise UserError(f"{count} points are too few", f"domain {domain}", f"ask for {FEWEST} or more")
    points = DOMAINS[domain](count, rng, variant == "exact")
    if variant == "published":
        return ((points - points.mean()) / points.std()).astype(np.float32)
    return rng.permutation((points - points.mean(0)) / points.std(0)).astype(np.float32)


def points(
    domain: str, count: int, seed: int, split: str = "train", variant: Variant = "published"
) -> np.ndarray:
    """`draw` from the stream of (seed, domain, split): splits are independent, domains too."""
    return draw(domain, count, generator(seed, f"points {domain} {split}"), variant)


def independent(data: Points, draws: int, count: int) -> Iterator[np.ndarray]:
    """Independent samples of what a file of points was drawn from, float32 ``[count, 2]`` each.

    Every point is chance. The sets of `draw` are more even: the moons lie at the same angles in all of them,
    and rings and squares have equal shares. So a sample is one point in `POOL` of a set as much larger.

    Raises:
        UserError: the file was not drawn from a domain.
    """
    made_by = data.card["made_by"]
    if made_by.get("source") != "points":
        raise UserError("points of no known domain", data.path, "give a file made by prepare from points")
    for k in range(draws):
        rng = generator(made_by["seed"], f"points {made_by['domain']} independent {k}")
        pool = draw(made_by["domain"], max(POOL * count, FEWEST), rng, made_by["variant"])
        yield pool[rng.choice(len(pool), count, replace=False)]


def prepare(
    out_dir: str | Path, *, domain: str, count: int, seed: int = 0, variant: Variant = "published"
) -> None:
    """Write ``train.safetensors`` and ``test.safetensors``: independent draws of ``count`` points each.

    Args:
        domain, count, variant: see `draw`.
        seed: seed of both draws, >= 0.

    Raises:
        UserError: as `draw`, or a file cannot be written.
    """
    for split in SPLITS:
        made_by = {"source": "points", "domain": domain, "seed": seed, "variant": variant, "split": split}
        save(Path(out_dir) / f"{split}.safetensors", points(domain, count, seed, split, variant), made_by)


def save(path: str | Path, points: np.ndarray, made_by: Json) -> None:
    """Write float ``[N, D]`` as a file of points; its card says how many, of what dimension, how made."""
    import torch

    card = {"kind": "points", "count": len(points), "dim": points.shape[1], "made_by": made_by}
    tensor = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32))
    artifacts.save_tensors(path, {"points": tensor}, card)


class Points:
    """A file of points, read as training reads images.

    Args:
        path: file written by `save`.

    Raises:
        UserError: missing, damaged, or not a file of points.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.card = artifacts.load_card(path)
        if self.card.get("kind") != "points":
            raise UserError(
                "not a file of points", path, "give a file made by prepare or translate from points"
            )

    def __len__(self) -> int:
        return self.card["count"]

    @property
    def dim(self) -> int:
        """Number of coordinates D."""
        return self.card["dim"]

    @property
    def digest(self) -> str:
        """sha256 of the points, 64 hex digits."""
        return self.card[artifacts.CONTENT]

    @property
    def points(self) -> np.ndarray:
        """All points, float32 ``[N, D]``."""
        return self._tensor.numpy()

    def batch(self, indices: Sequence[int] | Tensor | np.ndarray) -> Tensor:
        """Points float32 ``[n, D]``."""
        return self._tensor[np.asarray(indices, dtype=np.int64)]

    @cached_property
    def _tensor(self) -> Tensor:
        return artifacts.load_tensors(self.path)[0]["points"]


# the domains; the order of draws is the published one, so that its recorded runs can be repeated


def _moons(count: int, rng: Random, balanced: bool) -> np.ndarray:
    upper, lower = (np.linspace(0, np.pi, n) for n in _shares(count, (1, 1)))
    x = np.concatenate([np.cos(upper), 1 - np.cos(lower)])
    y = np.concatenate([np.sin(upper), 0.5 - np.sin(lower)])
    return np.stack([x, y], 1) + rng.normal(0, NOISE, (count, 2))


def _checkerboard(count: int, rng: Random, balanced: bool) -> np.ndarray:
    x = 4 * np.sort(rng.random(count))[::-1] - 2
    # two of the four squares of the column, the ones that floor(x) gives their parity
    y = rng.random(count) - 2 * rng.choice(2, count) + np.floor(x) % 2
    return np.stack([x, y], 1)


def _rings(
    count: int, rng: Random, balanced: bool, nominal: Sequence[float], centres: Sequence[float]
) -> np.ndarray:
    counts = _shares(count, nominal if balanced else np.ones(3))
    radius = [_jittered(r, n, rng) for r, n in zip(nominal, counts, strict=True)]
    # the angles of the last ring are drawn first
    angle = [2 * np.pi * np.sort(rng.random(n))[::-1] for n in counts[::-1]][::-1]
    rings = zip(centres, radius, angle, strict=True)
    return np.concatenate([np.stack([c + r * np.cos(a), r * np.sin(a)], 1) for c, r, a in rings])


def _squares(
    count: int, rng: Random, balanced: bool, nominal: Sequence[float], centres: Sequence[float]
) -> np.ndarray:
    counts = _shares(count, nominal if balanced else np.ones(3))
    outline = [_outline(n, rng) for n in counts]
    radius = [_jittered(r, n, rng) for r, n in zip(nominal, counts, strict=True)]
    squares = zip(centres, radius, outline, strict=True)
    return np.concatenate([np.array([c, 0]) + r[:, None] * unit for c, r, unit in squares])


def _outline(count: int, rng: Random) -> np.ndarray:
    """The square of half side 1, clockwise from the upper left corner, a quarter of the points a side."""
    top, right, bottom, left = (2 * np.sort(rng.random(n)) - 1 for n in _shares(count, np.ones(4)))
    x = [top, np.ones_like(right), bottom[::-1], -np.ones_like(left)]
    y = [np.ones_like(top), right[::-1], -np.ones_like(bottom), left]
    return np.stack([np.concatenate(x), np.concatenate(y)], 1)


def _jittered(radius: float, count: int, rng: Random) -> np.ndarray:
    return radius + WIDTH * (rng.random(count) - 0.5)


def _shares(count: int, weights: Sequence[float] | np.ndarray) -> list[int]:
    """Whole numbers in proportion to the weights that add up to ``count``."""
    edges = np.rint(count * np.cumsum([0, *weights]) / np.sum(weights)).astype(int)
    return np.diff(edges).tolist()


def _known(what: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(names)}"
        raise UserError(f"unknown {what} {name!r}", "points", hint)


_GROWING, _EQUAL = (1.0, 2.0, 3.0), (1.0, 1.0, 1.0)
# in the published order: their numbers are 0 to 5
DOMAINS: dict[str, Callable[[int, Random, bool], np.ndarray]] = {
    "moons": _moons,
    "checkerboard": _checkerboard,
    "concentric_rings": partial(_rings, nominal=_GROWING, centres=(0, 0, 0)),
    "concentric_squares": partial(_squares, nominal=_GROWING, centres=(0, 0, 0)),
    "olympic_rings": partial(_rings, nominal=_EQUAL, centres=(-FAR, 0, FAR)),
    "olympic_squares": partial(_squares, nominal=_EQUAL, centres=(-3, 0, 3)),
}
