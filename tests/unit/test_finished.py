"""Batches that are finished, padded, checked for finite values and reported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from bridgepipe.config import Runtime
from bridgepipe.data.pixels import to_uint8
from bridgepipe.errors import UserError
from bridgepipe.methods import i2sb
from bridgepipe.runtime import batches, devices, progress, running
from bridgepipe.runtime.finished import resumable
from bridgepipe.runtime.interruption import Interrupted

SPEED = Runtime(device="cpu", batch_size=4)


def squares(done: list[int], stop_at: int | None = None) -> np.ndarray:
    """Squares of 0 to 9, in batches of 4; items that are worked on are noted in ``done``."""

    def run(piece: Sequence[int]) -> np.ndarray:
        if stop_at in piece:
            raise RuntimeError("killed")
        done.extend(piece)
        return np.asarray(piece) ** 2

    work = running.shared(run, range(10), 4, "x")
    return np.concatenate(list(work))


def interrupted(output: Path, identity: dict[str, int]) -> None:
    with pytest.raises(RuntimeError, match="killed"), resumable(output, identity, SPEED):
        squares([], 5)


def test_only_what_is_left_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(tmp_path / "out", {"a": 1})
    done: list[int] = []
    with resumable(tmp_path / "out", {"a": 1}, SPEED):
        assert squares(done).tolist() == [k * k for k in range(10)]
    assert sorted(set(done)) == [4, 5, 6, 7, 8, 9]
    assert capsys.readouterr().err == "found 4 of 10 images finished\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", ["settings", "precision", "batch"])
def test_batches_of_other_settings_are_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    interrupted(tmp_path / "out", {"a": 1})
    other = {"precision": {"precision": "bf16"}, "batch": {"batch_size": 3}}.get(change, {})
    done: list[int] = []
    with resumable(tmp_path / "out", {"a": 2 if change == "settings" else 1}, SPEED.model_copy(update=other)):
        squares(done)
    assert set(done) == set(range(10))
    assert capsys.readouterr().err == "unfinished results under other settings are given up\n"


@pytest.mark.parametrize("damage", ["torn", "flipped", "zeros"])
def test_half_a_record_does_not_count(tmp_path: Path, damage: str) -> None:
    interrupted(tmp_path / "out", {"a": 1})
    file = tmp_path / ".out.partial"
    data = bytearray(file.read_bytes())
    if damage == "torn":
        del data[-3:]
    elif damage == "flipped":
        data[-3] ^= 1
    else:
        data[-64:] = bytes(64)
    file.write_bytes(data)
    done: list[int] = []
    with resumable(tmp_path / "out", {"a": 1}, SPEED):
        assert squares(done).tolist() == [k * k for k in range(10)]
    assert set(done) == set(range(10))


def test_works_of_one_label_are_told_apart(tmp_path: Path) -> None:
    done: list[int] = []
    with pytest.raises(RuntimeError, match="killed"), resumable(tmp_path / "out", {}, SPEED):
        first = squares(done)
        squares(done, 5)
    done.clear()
    with resumable(tmp_path / "out", {}, SPEED):
        assert squares(done).tolist() == first.tolist()
        assert not done
        assert squares(done).tolist() == first.tolist()
    assert sorted(set(done)) == [4, 5, 6, 7, 8, 9]
    assert running.keeper() is None


def test_kinds_of_parts_come_back_as_they_were(tmp_path: Path) -> None:
    parts = (torch.arange(3.0), np.ones((3, 2), np.uint8), 7)
    with pytest.raises(Interrupted), resumable(tmp_path / "out", {}, SPEED) as finished:
        finished.add("x", parts)
        raise Interrupted
    with resumable(tmp_path / "out", {}, SPEED) as finished:
        (found,) = finished.batches("x")
    assert finished.rows("x") == 3
    assert torch.equal(found[0], parts[0])
    assert np.array_equal(found[1], parts[1])
    assert found[1].dtype == np.uint8
    assert found[2] == 7


# batches of one size


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """Wide enough that its convolutions round differently in batches that are no multiple of 16."""
    made = i2sb.network(
        (16, 16), False, 0, model_channels=64, channel_mult=(1,), num_res_blocks=1, attention_resolutions=()
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return made.requires_grad_(False)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("short_of_memory", [False, True])
def test_neither_the_last_batch_nor_a_halved_one_moves_a_bit(
    network: torch.nn.Module, layout: torch.memory_format, short_of_memory: bool
) -> None:
    network.to(memory_format=layout)
    x = torch.randn(37, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sizes: list[int] = []

    def results(batch_size: int) -> torch.Tensor:
        def run(piece: Sequence[int]) -> torch.Tensor:
            if short_of_memory and len(piece) > 16:
                raise torch.OutOfMemoryError
            sizes.append(len(piece))
            return network(x[list(piece)], torch.zeros(len(piece)))

        return torch.cat(list(batches.in_batches(run, range(37), batch_size, "x")))

    found = [results(batch_size) for batch_size in (16, 32, 40, 64)]
    assert set(sizes) <= {16, 32, 40, 48}
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_small_batches_are_padded_to_their_own_size() -> None:
    sizes = []
    found = list(batches.in_batches(lambda p: (sizes.append(len(p)), np.asarray(p))[1], range(7), 3, "x"))
    assert sizes == [3, 3, 3]
    assert np.concatenate(found).tolist() == list(range(7))


# not a number


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_never_becomes_a_pixel(value: float) -> None:
    x = torch.zeros(4, 3, 2, 2)
    x[2, 1] = value
    with pytest.raises(UserError, match="a pixel is not a finite number"):
        to_uint8(x)

    def run(piece: Sequence[int]) -> np.ndarray:
        return to_uint8(x[[k - 10 for k in piece]])

    with pytest.raises(UserError, match=r"a pixel is not a finite number \(restoring, number 12\)"):
        list(batches.in_batches(run, range(10, 14), 2, "restoring"))


def test_large_finite_numbers_are_taken() -> None:
    x = torch.full((2, 60000), 100.0, dtype=torch.float16)
    assert to_uint8(torch.ones(1, 3, 2, 2)).max() == 255
    (found,) = batches.in_batches(lambda piece: x[: len(piece)], range(2), 2, "x")
    assert found.shape == (2, 60000)


def test_half_precision_is_refused_on_a_cpu() -> None:
    with pytest.raises(UserError, match=r"fp16 on a CPU \(runtime.precision\)"):
        running.placed("cpu", "fp16")


@pytest.mark.parametrize(("quick", "able", "expected"), [(1, 1, "bf16"), (1, 0, "tf32"), (0, 1, "tf32")])
def test_auto_is_bf16_where_it_is_wanted_and_quick(
    monkeypatch: pytest.MonkeyPatch, quick: int, able: int, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(able))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert devices.decided(Runtime(device="cpu"), bool(quick)).precision == expected
    assert devices.decided(Runtime(device="cpu", precision="fp32"), True).precision == "fp32"
    assert running.placed("cpu", "auto").dtype is None


# progress


def test_progress_is_plain_lines_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    assert not sys.stderr.isatty()
    with progress.Progress(5000, 200, "restoring") as shown:
        for _ in range(48):
            now[0] += 32.0
            shown.after(100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == [
        "found 200 of 5000 images finished",
        "restoring: 300 of 5000 images (6 %), 3.12 images/s, about 25 min left",
        "restoring: 400 of 5000 images (8 %), 3.12 images/s, about 25 min left",
    ]
    assert len(lines) == 48
