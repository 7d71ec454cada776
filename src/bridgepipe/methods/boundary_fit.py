"""Linear support vector machines over many long vectors.

The dual of an SVM sees the vectors only through their inner products, so a Gram matrix, computed in blocks
by matrix products, replaces the vectors: N x N numbers however long they are. The normal is then the sum of
the support vectors, each times its dual coefficient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridgepipe.errors import UserError

Balance = Literal["none", "weights", "subsample"]
Solver = Literal["gram", "svc"]
BLOCK_BYTES = 256 << 20  # of one block as it is multiplied
WIDE = 1 << 16  # numbers of a row; float32 multiplies longer ones, in sums of ADDED
ADDED = 1 << 14


class Batched(Protocol):
    """A store of latents."""

    def __len__(self) -> int: ...

    def batch(self, indices: Sequence[int]) -> Tensor: ...


Readable = Tensor | np.ndarray | Batched


class Rows:
    """Flattened latents, read a block at a time.

    Args:
        source: ``[N, ...]``.
        items: indices of the rows to use; all by default.
        block_bytes: size of a block in the dtype of products; a block has at least one row.

    Attributes:
        width: numbers of a row.
        dtype: dtype of products: float64, which agrees with scikit-learn's own, up to `WIDE` numbers a row;
            float32 of longer ones, three times as fast.
    """

    def __init__(
        self,
        source: Readable,
        items: Sequence[int] | np.ndarray | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._source = source
        self._items = np.arange(len(source)) if items is None else np.asarray(items)
        self._rows = 1
        self.width = self.read(slice(0, 1)).shape[1]
        self.dtype = torch.float32 if self.width > WIDE else torch.float64
        self._rows = max(1, block_bytes // (self.dtype.itemsize * self.width))

    def __len__(self) -> int:
        return len(self._items)

    def read(self, span: slice) -> Tensor:
        """Rows ``[b, D]`` on the CPU, in their own dtype."""
        items = self._items[span]
        if isinstance(self._source, Tensor):
            first, all_rows = int(items[0]), self._source.detach().cpu()
            if np.array_equal(items, np.arange(first, first + len(items))):
                return all_rows[first : first + len(items)].flatten(1)  # not copied
            return all_rows[torch.from_numpy(items)].flatten(1)
        if isinstance(self._source, np.ndarray):
            return torch.from_numpy(np.asarray(self._source[items])).flatten(1)
        return self._source.batch(items.tolist()).flatten(1)

    def spans(self) -> list[slice]:
        return [slice(i, min(i + self._rows, len(self))) for i in range(0, len(self), self._rows)]

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        return ((span, self.read(span)) for span in self.spans())


def as_classes(
    labels: Sequence[int] | np.ndarray | Tensor, count: int, both: bool = True
) -> NDArray[np.int64]:
    """Labels as 0 and 1, int64 ``[count]``.

    Raises:
        UserError: other values, another number of them, or a class without members when ``both``.
    """
    given = np.asarray(labels)
    if given.shape != (count,) or count == 0:
        what = f"labels of shape {list(given.shape)} for {count} latents"
        raise UserError(what, "boundary", "give every latent one label")
    classes = given.astype(np.int64)
    if not np.array_equal(classes, given) or not np.isin(classes, (0, 1)).all():
        raise UserError("labels are not all 0 or 1", "boundary", "threshold the attribute first")
    if both and len(np.unique(classes)) < 2:
        raise UserError(f"all {count} labels are {classes[0]}", "boundary", "give latents of both classes")
    return classes


def subsample(classes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Indices of as many members of one class as of the other, ascending."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(classes == c) for c in (0, 1)]
    size = min(map(len, members))
    return np.sort(np.concatenate([rng.choice(m, size, replace=False) for m in members]))


def gram(rows: Rows, device: torch.device | str = "cpu") -> NDArray[np.float64]:
    """Inner products of all rows, ``[N, N]``.

    In float32, float64 adds up the sums of `ADDED` numbers: the error is below 2e-7 times the product of the
    lengths.
    """
    products = np.empty((len(rows), len(rows)))
    spans = rows.spans()
    for i, a in enumerate(spans):
        left = rows.read(a).to(device, rows.dtype)
        for b in spans[: i + 1]:
            right = left if a == b else rows.read(b).to(device, rows.dtype)
            block = _inner(left, right).cpu().numpy()
            products[a, b], products[b, a] = block, block.T
    return products


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """left @ right.T in float64 ``[a, b]``."""
    if left.dtype == torch.float64:
        return left @ right.T
    total = torch.zeros(len(left), len(right), dtype=torch.float64, device=left.device)
    for a, b in zip(left.split(ADDED, 1), right.split(ADDED, 1), strict=True):
        total += a @ b.T
    return total


def by_gram(
    rows: Rows, classes: NDArray[np.int64], C: float, weight: str | None, device: torch.device | str
) -> tuple[Tensor, float]:
    """Coefficients, float64 ``[D]``, and intercept, from inner products."""
    support, dual, intercept = dual_of(gram(rows, device), classes, C, weight)
    weights = torch.zeros(len(rows), dtype=torch.float64)
    weights[torch.from_numpy(support).long()] = torch.from_numpy(dual)
    coef = torch.zeros(rows.width, dtype=torch.float64)
    for span, block in rows.blocks():
        coef += weights[span].to(rows.dtype) @ block.to(rows.dtype)
    return coef, intercept


def by_svc(
    rows: Rows, classes: NDArray[np.int64], C: float, weight: str | None, device: torch.device | str
) -> tuple[Tensor, float]:
    """Coefficients and intercept of scikit-learn's SVC over all rows in memory, as published."""
    from sklearn.svm import SVC

    machine = SVC(kernel="linear", C=C, class_weight=weight).fit(rows.read(slice(None)).numpy(), classes)
    return torch.from_numpy(np.array(machine.coef_[0], dtype=np.float64)), float(machine.intercept_[0])


SOLVERS: dict[
    str, Callable[[Rows, NDArray[np.int64], float, str | None, torch.device | str], tuple[Tensor, float]]
] = {"gram": by_gram, "svc": by_svc}


def dual_of(
    products: NDArray[np.float64], classes: NDArray[np.int64], C: float, weight: str | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """Indices of the support vectors, their dual coefficients and the intercept."""
    from sklearn.svm import SVC

    machine = SVC(kernel="precomputed", C=C, class_weight=weight).fit(products, classes)
    return machine.support_, machine.dual_coef_[0], float(machine.intercept_[0])


def cross_validated(
    products: NDArray[np.float64],
    classes: NDArray[np.int64],
    C: float = 1.0,
    folds: int = 5,
    weight: str | None = None,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Which of the N rows a boundary fitted to the other folds puts on their side, ``[N]``.

    Args:
        products: inner products of all rows, ``[N, N]``.
        folds: stratified; at most the size of the smaller class.

    Raises:
        UserError: fewer members in a class than folds.
    """
    from sklearn.model_selection import StratifiedKFold

    fewest = int(np.bincount(classes, minlength=2).min())
    if fewest < folds:
        raise UserError(f"{fewest} members in a class, {folds} folds", "separability", "give more images")
    right = np.zeros(len(classes), dtype=bool)
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(classes, classes)
    for train, test in splits:
        support, dual, intercept = dual_of(products[np.ix_(train, train)], classes[train], C, weight)
        decided = products[np.ix_(test, train[support])] @ dual + intercept
        right[test] = (decided > 0) == classes[test]
    return right
