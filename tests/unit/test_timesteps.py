"""Times that samplers visit: the published indices to the last one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bridgepipe.names.timesteps import linspace32, spaced, timesteps, truncated

# of torch.linspace(0, sqrt(800), n) ** 2, cut to whole numbers
QUAD = {
    11: [0, 7, 31, 71, 127, 200, 287, 392, 511, 648, 800],
    21: [0, 1, 7, 17, 31, 50, 71, 98, 127, 161, 200, 242, 287, 338, 392, 450, 511, 577, 648, 722, 800],
}


def published(T: int, count: int, spacing: str) -> list[int]:
    end = T - 1 if spacing == "uniform-linspace" else (0.8 * T) ** 0.5
    points = torch.linspace(0, end, count)
    return (points if spacing == "uniform-linspace" else points**2).long().tolist()


@pytest.mark.parametrize("T", [20, 250, 1000, 4000])
def test_points_are_those_of_torch_to_the_last_bit(T: int) -> None:
    for count in range(1, 401):
        assert linspace32(T - 1, count) == torch.linspace(0, T - 1, count).tolist()


@pytest.mark.parametrize("T", [250, 1000])
@pytest.mark.parametrize("spacing", ["uniform-linspace", "quad"])
def test_float32_decides_the_published_indices(T: int, spacing: str) -> None:
    most = T if spacing == "uniform-linspace" else int((0.8 * T) ** 0.5) + 1
    for count in range(2, most + 1):
        assert timesteps(T, f"{spacing} {count}") == published(T, count, spacing)


def in_float64(T: int, count: int, spacing: str) -> list[int]:
    if spacing == "quad":
        return (np.linspace(0, np.sqrt(0.8 * T), count) ** 2).astype(int).tolist()
    return np.linspace(0, T - 1, count).astype(int).tolist()


def test_where_double_precision_gives_other_indices() -> None:
    def differ(T: int, spacing: str, counts: range) -> list[int]:
        return [n for n in counts if timesteps(T, f"{spacing} {n}") != in_float64(T, n, spacing)]

    assert {11, 21, 26} <= set(differ(1000, "quad", range(2, 29)))
    assert 6 in differ(250, "quad", range(2, 15))
    linear = differ(1000, "uniform-linspace", range(2, 1001))
    assert linear[0] == 124
    assert len(linear) == 34
    for count, expected in QUAD.items():
        assert timesteps(1000, f"quad {count}") == expected


@pytest.mark.parametrize("last", [1, 160, 500, 960, 999])
def test_truncated_is_the_published_linspace(last: int) -> None:
    for count in range(2, 101):
        assert truncated(last, count) == [int(u * last) for u in np.linspace(0, 1, count)]


@pytest.mark.parametrize("text", ["uniform 1001", "1000000000000", "ddim1000000000000", "quad 1000000000"])
def test_absurd_counts_are_refused_at_once(text: str) -> None:
    with pytest.raises(Exception, match="of 1000"):
        timesteps(1000, text)


@pytest.mark.parametrize("T", [2, 25, 1000])
def test_full_squares_are_distinct_at_any_count(T: int) -> None:
    for count in range(2, T + 1):
        to_data, inner = (spaced(T, count, "quad_full", inner) for inner in (False, True))
        assert to_data == sorted(set(to_data))
        assert inner == sorted(set(inner))
        assert len(to_data) == len(inner) == count
        assert (inner[0], inner[-1], to_data[-1]) == (0, T - 1, T - 1)
    assert spaced(T, T, "quad_full") == list(range(T))


def test_full_squares_leave_out_the_first_time_before_a_step_to_the_data() -> None:
    assert spaced(1000, 5, "quad_full") == [40, 160, 360, 639, 999]
    assert spaced(1000, 5, "quad_full", inner=True) == [0, 62, 250, 562, 999]
