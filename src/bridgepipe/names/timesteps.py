"""Which of the times 0 .. T-1 a sampler visits, in the spellings and the precision of the published code.

Pure Python, so that params.yaml is checked by the very functions that samplers call.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from itertools import pairwise

from bridgepipe.errors import UserError


def timesteps(T: int, steps: str | int) -> list[int]:
    """Ascending times of 0 .. T-1, in one of the published spellings.

    ==========================  ======================================================================
    ``""``                      all
    ``250``, ``"250"``          250, both ends included, strides rounded as published
    ``"10,15,20"``              10 of the first third, 15 of the second, 20 of the last
    ``"ddim25"``                25 from 0 at an integer stride
    ``"uniform 25"``            from 0 at stride T // 25; more than 25 when 25 does not divide T
    ``"uniform-trailing 25"``   down from T-1 at stride T // 25
    ``"uniform-linspace 25"``   25 truncated points between both ends, in float32
    ``"quad 25"``               squares of 25 points up to sqrt(0.8 T), in float32
    ==========================  ======================================================================

    Raises:
        UserError: the spelling is unknown, or there are not so many times.
    """
    text = str(steps).strip()
    spacing, _, number = text.rpartition(" ")
    try:
        if not text:
            return list(range(T))
        if spacing:
            return _distinct(SPACINGS[spacing](T, _number(number, T)), T)
        if text.startswith("ddim"):
            return _ddim(T, _number(text[4:], T))
        return _sections(T, [_number(count, T) for count in text.split(",")])
    except (KeyError, ValueError, ZeroDivisionError) as error:
        known = ", ".join(f"'{name} N'" for name in SPACINGS)
        raise UserError(
            f"steps {text!r} of {T}", "respacing", f"take N, 'N,N,N', 'ddimN', {known}"
        ) from error


SPACINGS: dict[str, Callable[[int, int], Iterable[int]]] = {
    "uniform": lambda T, n: range(0, T, T // n),
    "uniform-leading": lambda T, n: range(0, T, T // n),
    "uniform-trailing": lambda T, n: range(T - 1, -1, -(T // n))[::-1],
    "uniform-linspace": lambda T, n: map(int, linspace32(T - 1, n)),
    "quad": lambda T, n: (int(_float32(u * u)) for u in linspace32((0.8 * T) ** 0.5, n)),
}


# where a sampler's calls lie, by the name in params.yaml; quad_full is made here, log_snr asks the process
SPELLINGS = {"uniform": "{}", "leading": "uniform {}", "trailing": "uniform-trailing {}", "quad": "quad {}"}


def spaced(T: int, count: int, spacing: str, inner: bool = False) -> list[int]:
    """``count`` times of a spacing of `SPELLINGS`, or of ``quad_full``: see `quad_full`.

    One time is the last, as a sampler starts at pure noise.

    Raises:
        UserError: the spacing does not give so many.
    """
    if count == 1:
        return [T - 1]
    if why := misses(T, count, spacing):
        raise UserError(f"{count} times: {why}", f"spacing {spacing}", "take another number of times")
    if spacing == "quad_full":
        return quad_full(T, count, inner)
    return timesteps(T, SPELLINGS[spacing].format(count))


def quad_full(T: int, count: int, inner: bool = False) -> list[int]:
    """``count`` squares of equal steps up to T - 1, distinct; the least is 0 on an inner path.

    Elsewhere 0 is left out, as the step from the least of them goes on to the data.
    """
    first = 0 if inner else 1
    steps = count - 1 + first
    squares = ((T - 1) * (k / steps) ** 2 for k in range(first, steps + 1))
    return [max(k, int(square + 0.5)) for k, square in enumerate(squares)]


def respaced(T: int, respacing: str) -> int:
    """Number of timesteps that a respacing selects: ``log_snr N``, or a spelling of `timesteps`.

    Raises:
        UserError: as `timesteps`.
    """
    spacing, _, count = respacing.rpartition(" ")
    return int(count) if spacing == "log_snr" else len(timesteps(T, respacing))


def misses(T: int, count: int, spacing: str) -> str:
    """Why a spacing has no ``count`` times of T; empty where it has."""
    if count > T:
        return f"the process has {T} steps"
    if count == 1:
        return ""
    if spacing in ("leading", "trailing") and (made := len(range(0, T, T // count))) != count:
        return f"spacing {spacing} visits {made} times for {count}, as its stride of {T} // {count} is whole"
    if spacing == "quad" and (count - 1 > (0.8 * T) ** 0.5 or not _ascends(SPACINGS["quad"](T, count))):
        return f"spacing quad has no {count} distinct times of {T}"
    return ""


def space_indices(length: int, count: int) -> list[int]:
    """``count`` indices spread evenly over ``range(length)``, both ends included.

    The stride is added up in floating point and rounded half to even, as published: the accumulated
    rounding error decides some of the ties. One index means the first.

    Raises:
        UserError: fewer than one index, or more than ``length``, are asked for.
    """
    if not 1 <= count <= length:
        raise UserError(f"{count} of {length} steps asked for", "space_indices", f"take 1 to {length}")
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    position, indices = 0.0, []
    for _ in range(count):
        indices.append(round(position))
        position += stride
    return indices


def truncated(last: int, count: int) -> list[int]:
    """``count`` >= 2 times from 0 to ``last``, both included, truncated to integers (BoundaryDiffusion)."""
    step = 1 / (count - 1)
    return [*(int(k * step * last) for k in range(count - 1)), last]


def linspace32(end: float, count: int) -> list[float]:
    """``torch.linspace(0, end, count)``, in float32 from both ends towards the middle.

    Its multiplication and addition are rounded once, which float64 does here. The published truncations
    depend on the last bit.
    """
    if count == 1:
        return [0.0]
    end = _float32(end)
    step = _float32(end / (count - 1))
    half = count // 2
    return [_float32(step * k if k < half else end - step * (count - 1 - k)) for k in range(count)]


def _float32(x: float) -> float:
    return array("f", [x])[0]


def _number(text: str, T: int) -> int:
    """A count of times; more than T are refused before they are made."""
    number = int(text)
    if not 1 <= number <= T:
        raise ValueError("not so many times")
    return number


def _sections(T: int, counts: list[int]) -> list[int]:
    """Every one of ``len(counts)`` nearly equal parts of 0 .. T-1 gives its count of times."""
    times, start = [], 0
    for i, count in enumerate(counts):
        length = T // len(counts) + (i < T % len(counts))
        times += [start + k for k in space_indices(length, count)]
        start += length
    return times


def _ddim(T: int, count: int) -> list[int]:
    times = next((range(0, T, stride) for stride in range(1, T) if len(range(0, T, stride)) == count), None)
    if times is None:
        raise UserError(f"'ddim{count}' of {T}", "respacing", "take a count that an integer stride gives")
    return list(times)


def _distinct(times: Iterable[int], T: int) -> list[int]:
    distinct = list(times)
    if not distinct or not _ascends(distinct) or distinct[-1] >= T:
        raise ValueError("not so many times")
    return distinct


def _ascends(times: Iterable[int]) -> bool:
    return all(a < b for a, b in pairwise(times))
