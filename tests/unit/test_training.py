"""The training loop: exact resume, pieces, processes, signals, bad losses."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bridgepipe import artifacts, training
from bridgepipe.errors import UserError
from bridgepipe.training import Batch, Interrupted, Recipe, Running

RECIPE = Recipe(steps=12, batch_size=8, lr=1e-2, lr_gamma=0.5, lr_step=5, ema=0.9, flip=True, log_every=1)
RUNNING = Running(device="cpu", save_every=4)
IDENTITY = {"config": {"lr": 1e-2}, "data": "abc"}


class Tiny:
    """20 fixed images of 1x4x4."""

    images = torch.linspace(-1, 1, 20 * 16).reshape(20, 1, 4, 4).sin()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.images[list(indices)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(1, 1, 3, padding=1)


def objective(network: nn.Module, batch: Batch) -> Tensor:
    noise = batch.rng.normal(batch.images.shape[1:])
    return (network(batch.images + noise) - batch.images).square().flatten(1).mean(1)


def run(folder: Path, recipe: Recipe = RECIPE, running: Running = RUNNING, loss=objective, **identity):
    return training.train(network(), loss, Tiny(), recipe, running, folder, {**IDENTITY, **identity})


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_same_command_gives_same_weights(tmp_path: Path) -> None:
    assert same(run(tmp_path / "a"), run(tmp_path / "b"))


def test_learns_something(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, steps=200, lr_gamma=1.0)
    run(tmp_path, recipe)
    rows = (tmp_path / "train.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[1]) for row in rows]
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])


@pytest.mark.parametrize("stop_at", [1, 4, 6, 11])
def test_interrupted_run_ends_as_if_undisturbed(tmp_path: Path, stop_at: int) -> None:
    calls = 0

    def stopping(network: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return objective(network, batch)

    with pytest.raises(Interrupted, match=f"stopped after step {stop_at}"):
        run(tmp_path / "a", loss=stopping)
    assert same(run(tmp_path / "a"), run(tmp_path / "b"))
    assert (tmp_path / "a/train.csv").read_bytes() == (tmp_path / "b/train.csv").read_bytes()


def test_crash_goes_back_to_the_last_saved_state(tmp_path: Path) -> None:
    calls = 0

    def crashing(network: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise RuntimeError("power cut")
        return objective(network, batch)

    with pytest.raises(RuntimeError, match="power cut"):
        run(tmp_path / "a", loss=crashing)
    assert artifacts.load_card(tmp_path / "a/state.safetensors")["step"] == 4
    assert same(run(tmp_path / "a"), run(tmp_path / "b"))


def test_state_of_another_configuration_is_set_aside(tmp_path: Path) -> None:
    run(tmp_path, data="one")
    before = artifacts.digest_file(tmp_path / "state.safetensors")
    run(tmp_path, data="two")
    kept = list(tmp_path.glob("state-*.safetensors"))
    assert [artifacts.digest_file(f) for f in kept] == [before]


def test_damaged_state_is_set_aside_and_training_starts_again(tmp_path: Path) -> None:
    run(tmp_path / "a")
    state = tmp_path / "a/state.safetensors"
    content = bytearray(state.read_bytes())
    content[-3] ^= 1
    state.write_bytes(content)
    assert same(run(tmp_path / "a"), run(tmp_path / "b"))
    assert len(list((tmp_path / "a").glob("state-*.safetensors"))) == 1


@pytest.mark.parametrize("microbatch", [1, 3, 8])
def test_pieces_change_only_the_rounding(tmp_path: Path, microbatch: int) -> None:
    whole = run(tmp_path / "whole")
    pieces = run(tmp_path / "pieces", running=dataclasses.replace(RUNNING, microbatch=microbatch))
    for key in whole:
        torch.testing.assert_close(pieces[key], whole[key], atol=1e-6, rtol=1e-5)


def gpu_is_full() -> None:
    raise torch.OutOfMemoryError("no memory left")


SHORTAGES = {"gpu": gpu_is_full, "cpu": lambda: torch.empty(2**50), "numpy": lambda: np.empty(2**50)}


@pytest.mark.parametrize("shortage", SHORTAGES)
def test_out_of_memory_halves_the_pieces_and_says_so_once(tmp_path: Path, capsys, shortage: str) -> None:
    def hungry(network: nn.Module, batch: Batch) -> Tensor:
        if len(batch.images) > 4:
            SHORTAGES[shortage]()
        return objective(network, batch)

    assert all(torch.isfinite(v).all() for v in run(tmp_path, loss=hungry).values())
    assert capsys.readouterr().err.count("going on with pieces of 4 images") == 1


def test_out_of_memory_with_one_image_is_told(tmp_path: Path) -> None:
    def starving(network: nn.Module, batch: Batch) -> Tensor:
        raise torch.OutOfMemoryError("no memory left")

    with pytest.raises(UserError, match="one image at a time"):
        run(tmp_path, loss=starving)


def test_nan_stops_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    calls = 0

    def exploding(network: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        return objective(network, batch) * (float("nan") if calls == 7 else 1)

    with pytest.raises(UserError, match=r"loss is nan at step 7.*state of step 4 is kept"):
        run(tmp_path, loss=exploding)
    tensors, card = artifacts.load_tensors(tmp_path / "state.safetensors")
    assert card["step"] == 4
    assert all(torch.isfinite(v).all() for v in tensors.values())


def test_learning_rate_decays_in_steps(tmp_path: Path) -> None:
    run(tmp_path)
    rows = [row.split(",") for row in (tmp_path / "train.csv").read_text().splitlines()[1:]]
    assert [float(r[3]) for r in rows] == [1e-2] * 5 + [5e-3] * 5 + [2.5e-3] * 2


def test_order_visits_every_item_once_an_epoch() -> None:
    visits = [training.order(3, 20, position) for position in range(60)]
    for epoch in range(3):
        assert sorted(visits[20 * epoch : 20 * epoch + 20]) == list(range(20))
    assert visits[:20] != visits[20:40]


def test_gradient_clipping_limits_the_first_step(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, steps=1, grad_clip=1e-9, lr=1.0, ema=0.0)
    free = run(tmp_path / "free", dataclasses.replace(recipe, grad_clip=None))
    clipped = run(tmp_path / "clipped", recipe)
    start = network().state_dict()
    # Adam divides by the gradient's size, but a clipped gradient of 1e-9 drowns in its epsilon of 1e-8
    assert (clipped["weight"] - start["weight"]).abs().max() < 0.2 * (
        free["weight"] - start["weight"]
    ).abs().max()


def test_handlers_are_restored(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


def test_tensorboard_is_written_when_asked_or_its_absence_told_first(tmp_path: Path) -> None:
    asked = dataclasses.replace(RUNNING, tensorboard=True)
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(UserError, match="pip install tensorboard"):
            run(tmp_path, running=asked)
        assert not (tmp_path / "state.safetensors").exists()
    else:
        run(tmp_path, running=asked)
        assert len(list((tmp_path / "tensorboard").glob("events.out.*"))) == 1
