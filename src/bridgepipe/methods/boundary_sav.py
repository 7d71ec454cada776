"""Published boundaries: pickled scikit-learn classifiers, read without running or building one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bridgepipe.errors import reading
from bridgepipe.methods.boundary import Boundary
from bridgepipe.networks.plain import Reader

CLASSIFIERS = ("sklearn.svm._classes.SVC", "sklearn.svm.classes.SVC")
NUMBERS = "biuf"  # kinds of numpy's plain numeric types


class _Dtype:
    """numpy.dtype of a pickle: a type code and a byte order."""

    def __init__(self, code: str, *rest: Any) -> None:
        self.code, self.order = str(code), "="

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def real(self) -> np.dtype:
        dtype = np.dtype(self.order + self.code)
        if dtype.kind not in NUMBERS:
            raise ValueError(f"an array of type {dtype}")
        return dtype


class _Array:
    """numpy.ndarray of a pickle: shape, type and bytes, decoded when asked for."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state[-4:]

    def real(self) -> np.ndarray:
        shape, dtype, fortran, raw = self.state
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(content, bytes | bytearray):  # a number would be a size to numpy
            raise ValueError("an array without content")
        return np.frombuffer(content, dtype.real()).reshape(shape, order="F" if fortran else "C")


def _allowed() -> dict[str, Any]:
    """Names that such a file uses, and what stands in for each. New classes and functions for each file:
    a pickle can set attributes on what it was given, and must not reach shared ones."""
    array, dtype, machine = type("Array", (_Array,), {}), type("Dtype", (_Dtype,), {}), type("SVC", (), {})

    def from_buffer(raw: Any, kind: Any, shape: Any, order: str) -> _Array:
        rebuilt = array()
        rebuilt.__setstate__((shape, kind, order == "F", raw))
        return rebuilt

    names: dict[str, Any] = {"numpy.ndarray": array, "numpy.dtype": dtype, "builtins.object": object}
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray._reconstruct"] = array
        names[f"{core}.multiarray.scalar"] = lambda *parts: None
        names[f"{core}.numeric._frombuffer"] = from_buffer
    # protocols below 3 have no bytes of their own
    names["builtins.bytes"] = lambda *parts: b""
    names["_codecs.encode"] = lambda text, encoding: text.encode("latin1")
    names["copyreg._reconstructor"] = names["copy_reg._reconstructor"] = lambda kind, *base: kind()
    return names | dict.fromkeys(CLASSIFIERS, machine)


def read_sav(path: str | Path) -> Boundary:
    """The boundary in a ``.sav`` file of BoundaryDiffusion: a pickled ``SVC(kernel="linear")``.

    The file says nothing about network, step and accuracy (nan); `boundary.measure` finds the last
    and `boundary.save` states them.

    Raises:
        UserError: missing, damaged, not a linear classifier of two classes, or it asks for anything
            beyond arrays and that classifier (named, and not run).
    """
    path = Path(path)
    with (
        reading(path, "not a pickled linear SVC of two classes", "give a .sav file of BoundaryDiffusion"),
        open(path, "rb") as f,
    ):
        state = vars(Reader(f, path, _allowed()).load())
        if state.get("kernel") != "linear":
            raise ValueError(f"its kernel is {state.get('kernel')}")
        dual, support, intercept = (
            state[name].real() for name in ("dual_coef_", "support_vectors_", "intercept_")
        )
        if len(dual) != 1 or len(intercept) != 1:
            raise ValueError("it has more than two classes")
        # coef_ is not in the file: scikit-learn derives it in this way each time.
        coef = dual.astype(np.float64) @ support.astype(np.float64)
    return Boundary.of(torch.from_numpy(coef[0]), float(intercept[0]))
