"""The training loop: exact resume, pieces, processes, signals, bad losses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bridgepipe import artifacts
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError
from bridgepipe.runtime.interruption import Interrupted
from bridgepipe.training import loop
from bridgepipe.training import state as training_state
from bridgepipe.training.objective import Batch
from bridgepipe.training.optimizer import AdamW
from bridgepipe.training.order import order

RECIPE = Recipe(steps=12, batch_size=8, lr=1e-2, lr_gamma=0.5, lr_step=5, ema=0.9, flip=True, log_every=1)
RUNNING = Runtime(device="cpu", save_every=4)
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


Loss = Callable[[nn.Module, Batch], Tensor]


def objective(network: nn.Module, batch: Batch) -> Tensor:
    noise = batch.rng.normal(batch.images.shape[1:])
    return (network(batch.images + noise) - batch.images).square().flatten(1).mean(1)


def test_the_optimiser_is_pytorchs_to_the_last_bit() -> None:
    after = []
    for kind in (AdamW, torch.optim.AdamW):
        net = network()
        adamw = kind(net.parameters(), lr=1e-2, weight_decay=0.05)
        for step in range(8):
            net(Tiny.images.roll(step, 0)).square().mean().backward()
            adamw.step()
            adamw.zero_grad()
            adamw.load_state_dict(adamw.state_dict())
        after.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert torch.equal(*after)


def stopped_at(step: int | None) -> Loss:
    """`objective`, whose call of this number gets the signal by which Slurm warns a job."""
    calls = 0

    def stopping(network: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return objective(network, batch)

    return stopping


def run(folder: Path, recipe: Recipe = RECIPE, running: Runtime = RUNNING, loss=objective, **identity):
    return loop.train(network(), loss, Tiny(), recipe, running, folder, {**IDENTITY, **identity})


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_same_command_gives_same_weights(tmp_path: Path) -> None:
    assert same(run(tmp_path / "a"), run(tmp_path / "b"))


def test_learns_something(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"steps": 200, "lr_gamma": 1.0})
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
    pieces = run(tmp_path / "pieces", running=RUNNING.model_copy(update={"microbatch": microbatch}))
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


def nan_gradient(at: int):
    """An objective whose loss is finite and whose gradient is not, in one call of it."""
    calls = 0

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        value = objective(network, batch)
        # the square root of 0 is 0, and its slope is infinite: 0 times infinity
        return value + (value * 0).sqrt() if calls == at else value

    return loss


def test_a_gradient_that_is_not_finite_is_never_stepped_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gradient is nan at step 7.*state of step 4 is kept"):
        run(tmp_path / "a", loss=nan_gradient(7))
    tensors, card = artifacts.load_tensors(tmp_path / "a/state.safetensors")
    assert card["step"] == 4
    assert all(v.isfinite().all() for v in tensors.values())
    assert same(run(tmp_path / "a"), run(tmp_path / "b"))


def test_a_gradient_that_is_not_finite_before_the_first_state(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"at step 2 .*no state was saved yet"):
        run(tmp_path, loss=nan_gradient(2))
    assert not (tmp_path / "state.safetensors").exists()


@pytest.mark.parametrize("clip", [None, 1.0])
def test_the_last_gradient_is_checked_like_the_others(tmp_path: Path, clip: float | None) -> None:
    with pytest.raises(UserError, match=r"at step 12 .*state of step 8 is kept"):
        run(tmp_path, RECIPE.model_copy(update={"grad_clip": clip}), loss=nan_gradient(12))


class BadUpdate:
    """A training whose update after one step leaves a weight that is not finite."""

    def __init__(self, at: int) -> None:
        self.at, self.made = at, 0

    def __call__(self, network: nn.Module, batch: Batch) -> Tensor:
        self.network = network
        return objective(network, batch)

    def begin(self) -> None: ...

    def finish(self, gather) -> None:
        self.made += 1
        if self.made == self.at:
            nn.init.constant_(self.network.bias, float("inf"))

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...


def test_weights_after_the_last_update_are_checked(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"network\.bias is not finite after step 12 .*state of step 8 is kept"
    ):
        run(tmp_path, loss=BadUpdate(12))
    assert step_of(tmp_path / "state.safetensors") == 8


def test_learning_rate_decays_in_steps(tmp_path: Path) -> None:
    run(tmp_path)
    rows = [row.split(",") for row in (tmp_path / "train.csv").read_text().splitlines()[1:]]
    assert [float(r[3]) for r in rows] == [1e-2] * 5 + [5e-3] * 5 + [2.5e-3] * 2


def test_order_visits_every_item_once_an_epoch() -> None:
    visits = [order(3, 20, position) for position in range(60)]
    for epoch in range(3):
        assert sorted(visits[20 * epoch : 20 * epoch + 20]) == list(range(20))
    assert visits[:20] != visits[20:40]


def test_gradient_clipping_limits_the_first_step(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"steps": 1, "grad_clip": 1e-9, "lr": 1.0, "ema": 0.0})
    free = run(tmp_path / "free", recipe.model_copy(update={"grad_clip": None}))
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


# what a training goes on from


def csv_of(folder: Path) -> bytes:
    return (folder / "train.csv").read_bytes()


def step_of(file: Path) -> int:
    return artifacts.load_card(file)["step"]


@pytest.mark.parametrize("log_every", [1, 5])
def test_training_longer_equals_one_long_training(tmp_path: Path, capsys, log_every: int) -> None:
    whole = RECIPE.model_copy(update={"log_every": log_every})
    run(tmp_path / "a", whole.model_copy(update={"steps": 6}))
    assert csv_of(tmp_path / "a").splitlines()[-1].startswith(b"6,")
    longer = run(tmp_path / "a", whole)
    assert "resumed after step 6 of 12" in capsys.readouterr().err
    assert same(longer, run(tmp_path / "b", whole))
    # the row of the step that was the last one before is no row of the long training
    assert csv_of(tmp_path / "a") == csv_of(tmp_path / "b")
    states = [(tmp_path / f / "state.safetensors").read_bytes() for f in "ab"]
    assert states[0] == states[1]


def test_another_rhythm_of_the_log_makes_no_step_anew(tmp_path: Path) -> None:
    run(tmp_path / "a")
    sparse = RECIPE.model_copy(update={"log_every": 5})

    def never(network: nn.Module, batch: Batch) -> Tensor:
        raise AssertionError("trained again")

    run(tmp_path / "a", sparse, loss=never)
    run(tmp_path / "b", sparse)
    assert csv_of(tmp_path / "a") == csv_of(tmp_path / "b")
    assert [line.split(b",")[0] for line in csv_of(tmp_path / "a").splitlines()] == [
        b"step",
        b"5",
        b"10",
        b"12",
    ]


def test_training_shorter_keeps_the_long_one(tmp_path: Path, capsys) -> None:
    longer = run(tmp_path / "a")
    shorter = RECIPE.model_copy(update={"steps": 6})
    assert same(run(tmp_path / "a", shorter), run(tmp_path / "b", shorter))
    assert "state of step 12 is beyond the 6 steps" in capsys.readouterr().err
    assert same(run(tmp_path / "a"), longer)
    assert "taken up again" in capsys.readouterr().err


def test_an_edit_that_is_undone_goes_on_where_it_was(tmp_path: Path, capsys) -> None:
    half = RECIPE.model_copy(update={"steps": 6})
    run(tmp_path / "a", half, config={"lr": 1})
    run(tmp_path / "a", half, config={"lr": 2})
    assert "config was lr: 1, expected 2" in capsys.readouterr().err
    longer = run(tmp_path / "a", config={"lr": 1})
    assert "resumed after step 6 of 12" in capsys.readouterr().err
    assert same(longer, run(tmp_path / "b", config={"lr": 1}))


def test_states_that_were_set_aside_are_pruned(tmp_path: Path, capsys) -> None:
    short = RECIPE.model_copy(update={"steps": 1})
    for lr in range(6):
        run(tmp_path, short, config={"lr": lr})
    kept = [s.identity["config"]["lr"] for s in training_state.saved(tmp_path) if s.identity]
    assert sorted(kept) == [2, 3, 4, 5]
    assert capsys.readouterr().err.count("removed state-") == 2
    assert len(training_state.described(tmp_path)) == 4


def test_changed_code_alone_asks(tmp_path: Path, capsys) -> None:
    half = RECIPE.model_copy(update={"steps": 6})
    run(tmp_path / "a", half, code="old")
    before = artifacts.digest_file(tmp_path / "a/state.safetensors")
    with pytest.raises(UserError, match=r"code .* step 6 .*--go-on.*--start-again"):
        run(tmp_path / "a", code="new")
    assert artifacts.digest_file(tmp_path / "a/state.safetensors") == before
    # going on
    training_state.accept(training_state.saved(tmp_path / "a")[-1])
    assert same(run(tmp_path / "a", code="new"), run(tmp_path / "b", code="new"))
    assert "resumed after step 6" in capsys.readouterr().err
    # beginning anew
    training_state.set_aside(training_state.saved(tmp_path / "a")[0])
    run(tmp_path / "a", code="newer")
    assert "resumed" not in capsys.readouterr().err


def test_a_state_of_another_version_is_not_thrown_away(tmp_path: Path) -> None:
    artifacts.save_tensors(tmp_path / "state.safetensors", {"network.w": torch.ones(1)}, {"step": 500})
    with pytest.raises(UserError, match=r"step 500 was saved by another version.*--start-again"):
        run(tmp_path)
    assert step_of(tmp_path / "state.safetensors") == 500


def test_a_disk_that_fails_damages_no_state(tmp_path: Path, monkeypatch) -> None:
    run(tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()

    def no_memory(path, **_):
        raise UserError("damaged file", path, "delete it") from OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(artifacts, "load_tensors", no_memory)
    with pytest.raises(UserError):
        run(tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_killed_between_state_and_log(tmp_path: Path) -> None:
    """A real SIGKILL just before the log of the last step would be written; every run is a process."""
    kill = """
written = loop._Run._write_log
def kill(run):
    os.kill(os.getpid(), signal.SIGKILL) if run.step == 12 else written(run)
loop._Run._write_log = kill
"""

    def in_a_child(name: str, before: str = "") -> int:
        code = "import os, signal\nfrom safetensors.torch import save_file\n"
        code += f"from test_training import Path, loop, run\n{before}"
        code += f"save_file(run(Path({str(tmp_path / name)!r})), {str(tmp_path / name)!r} + '.safetensors')"
        return subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False).returncode

    assert in_a_child("a", kill) == -signal.SIGKILL
    assert step_of(tmp_path / "a/state.safetensors") == 12
    assert in_a_child("a") == in_a_child("b") == 0
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert csv_of(tmp_path / "a") == csv_of(tmp_path / "b")


def test_a_log_that_was_lost_is_written_again(tmp_path: Path) -> None:
    run(tmp_path)
    before = csv_of(tmp_path)
    (tmp_path / "train.csv").unlink()
    run(tmp_path)
    assert csv_of(tmp_path) == before


def test_the_state_tells_what_its_steps_were_computed_with(tmp_path: Path) -> None:
    run(tmp_path, RECIPE.model_copy(update={"steps": 6}))
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        run(tmp_path)
    finally:
        torch.set_num_threads(before)
    history = artifacts.load_card(tmp_path / "state.safetensors")["history"]
    assert [(h["from"], h["threads"]) for h in history] == [(0, before), (6, before + 1)]
    assert history[0]["cpu_kernels"] == torch.backends.cpu.get_cpu_capability()
