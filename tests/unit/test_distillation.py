"""A bridge distilled into a few calls: the distribution where it is known, files, resuming, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_nonsense import refused
from test_train_verb import Training, extractor_of, settings, store
from torch import Tensor, nn

from bridgepipe import artifacts, samplers
from bridgepipe.config.i2sb import RestorationTraining, Sample
from bridgepipe.config.runtime import Runtime
from bridgepipe.config.stage_files import read_stage
from bridgepipe.data.store import ImageStore
from bridgepipe.errors import UserError
from bridgepipe.methods import distillation
from bridgepipe.methods.i2sb import Ends
from bridgepipe.methods.trained import Trained, load_restorer
from bridgepipe.processes.bridge import Bridge
from bridgepipe.runtime.devices import prepare
from bridgepipe.runtime.rng import BlockNoise
from bridgepipe.training.objective import Batch

GAIN, MEAN, SD = 0.6, 0.3, 0.5  # x0 given x1 is normal about MEAN + GAIN x1
BATCH, STEPS, RATE = 256, 3000, 0.01
CPU = torch.device("cpu")


@dataclass
class Gaussian:
    """One pixel, degraded to a standard normal number that tells something of it."""

    process: Bridge

    def ends(self, x0: Tensor, rng: Any, items: None = None, source: None = None) -> Ends:
        x1 = rng.normal(x0.shape[1:])
        return Ends(x1, x1, None, cond=x1)


class Affine(nn.Module):
    """A linear network with weights of their own at every time."""

    def __init__(self, levels: Tensor, seen: int) -> None:
        super().__init__()
        self.levels = levels
        self.weight = nn.Parameter(torch.zeros(len(levels), seen))
        self.bias = nn.Parameter(torch.zeros(len(levels)))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        n = torch.bucketize(t, self.levels)
        return ((self.weight[n] * x.flatten(1)).sum(1) + self.bias[n]).view(-1, 1, 1, 1)


def exact(process: Bridge, noise: float | None = None) -> Affine:
    """(x_n - E[x0 | x_n, x1]) / std_fwd, with a weight for noise that a student sees, too."""
    a, b, std = process.mu_x0, process.mu_x1, process.std_fwd
    k = a * SD**2 / (a**2 * SD**2 + process.std_sb**2)
    network = Affine(process.noise_levels, 2 if noise is None else 3)
    columns = [(1 - k) / std, (k * b - (1 - k * a) * GAIN) / std]
    columns += [] if noise is None else [torch.full_like(std, noise)]
    network.weight.data, network.bias.data = torch.stack(columns, dim=1), -(1 - k * a) * MEAN / std
    return network


@pytest.mark.parametrize("calls", [1, 2])
def test_a_student_draws_from_the_posterior(calls: int) -> None:
    torch.set_num_threads(1)
    process = Bridge(10, beta_max=1.0)
    pair = distillation.Pair(exact(process, noise=1.0), exact(process))
    objective = distillation.objective(Gaussian(process), exact(process), calls)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(pair.parameters(), lr=RATE, weight_decay=0.0)
    average = {k: v.clone() for k, v in pair.student.state_dict().items()}
    for step in range(STEPS):
        places = list(range(step * BATCH, (step + 1) * BATCH))
        batch = Batch(torch.zeros(BATCH, 1, 1, 1), places, BlockNoise(0, "train", places, CPU), step=step)
        objective(pair, batch).mean().backward()
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.step()
        optimizer.zero_grad()
        for name, value in pair.student.state_dict().items():
            average[name].lerp_(value, 0.004)
    pair.student.load_state_dict(average)

    draws = torch.randn(2 + calls, 20_000, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    x1, noise, *rest = draws
    steps, cond = samplers.bridge_steps(process, calls), torch.cat([x1, noise], dim=1)
    x0 = samplers.bridge(pair.student, x1, steps, rest, process=process, cond=cond).x0.flatten()
    gain, mean = np.polyfit(x1.flatten(), x0, 1)
    sd = float((x0 - mean - gain * x1.flatten()).std())
    assert gain == pytest.approx(GAIN, abs=0.05)
    assert mean == pytest.approx(MEAN, abs=0.05)
    assert sd == pytest.approx(SD, abs=0.05)  # the teacher's one call has none


def test_both_networks_of_a_pair_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Linear, "compile", lambda network: compiled.append(network))
    pair = distillation.Pair(nn.Linear(1, 1), nn.Linear(1, 1))
    prepare(pair, CPU, compile=True)
    assert compiled == [pair.student, pair.bridge]


def test_pieces_of_a_batch_add_up_to_its_gradients() -> None:
    process = Bridge(10, beta_max=1.0)
    objective = distillation.objective(Gaussian(process), exact(process), 1)  # type: ignore[arg-type]
    found = []
    for pieces in ([range(8)], [range(3), range(3, 8)]):
        pair = distillation.Pair(exact(process, noise=1.0), exact(process))
        pair.bridge.bias.data += 0.1  # as the teacher it would move nothing
        for places in map(list, pieces):
            images, noise = torch.zeros(len(places), 1, 1, 1), BlockNoise(0, "train", places, CPU)
            objective(pair, Batch(images, places, noise, step=distillation.EVERY - 1)).sum().backward()
        found.append([weight.grad for weight in pair.parameters()])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(whole, parts)
    assert all(gradient.any() for gradient in found[0])


@pytest.fixture
def teacher(tmp_path: Path) -> Training:
    folder = tmp_path / "teacher"
    folder.mkdir()
    store(folder / "data.lmdb", 0)
    made = Training(folder)
    made.trained()
    return made


def student(teacher: Training, folder: Path, **how: Any) -> Training:
    folder.mkdir()
    store(folder / "data.lmdb", 0)
    init = str(teacher.folder / "model.safetensors")
    return Training(folder, settings(**{"init": init, "distil": 1, "steps": 7, **how}))


@pytest.mark.parametrize("calls", [1, 2])
def test_a_student_is_resumed_to_the_same_bytes(teacher: Training, tmp_path: Path, calls: int) -> None:
    whole, parts = (student(teacher, tmp_path / name, distil=calls) for name in ("whole", "parts"))
    whole.trained()
    for steps in (3, 5, 7):
        parts.values["train"]["steps"] = steps
        said = parts.trained()
    assert "resumed after step 5" in said
    assert parts.bytes() == whole.bytes()
    assert parts.card()["init"] == artifacts.digest_file(teacher.folder / "model.safetensors")

    process = Trained(whole.folder / "model.safetensors", whole.folder / "train.json")
    problem = read_stage(process.train_config, RestorationTraining)
    restorer = load_restorer(process, problem, (16, 16), Runtime(device="cpu"))
    images = ImageStore(whole.folder / "data.lmdb")
    a, b = (restorer.restore(images, [0, 1], Sample(nfe=calls, seed=seed)).image for seed in (0, 1))
    alone = restorer.restore(images, [1], Sample(nfe=calls)).image
    assert not np.array_equal(a, b)
    assert np.abs(alone[0].astype(int) - a[1]).max() <= 1
    photo = restorer.restore_photo(images[0], Sample(nfe=calls))
    assert photo.shape == (16, 16, 3)
    for how in (Sample(nfe=calls + 1), Sample(nfe=calls, sampler="implicit")):
        with pytest.raises(UserError, match=f"distilled for nfe {calls}"):
            restorer.restore(images, [0], how)


def test_a_student_has_checkpoints_and_validations(teacher: Training, tmp_path: Path) -> None:
    validation = {"every": 3, "split": "val", "images": 4, "metrics": ["psnr", "fid"], "extractor": "any"}
    made = student(teacher, tmp_path / "student", keep_every=2, validation={**validation, "nfe": 1})
    made.held_out = {
        "validation": store(made.folder / "val.lmdb", 1),
        **extractor_of(made.folder / "val.lmdb"),
    }
    made.trained()
    kept = artifacts.load_tensors(next(made.folder.rglob("2.safetensors")), {})[0]
    last = artifacts.load_tensors(made.folder / "model.safetensors", {})[0]
    before = artifacts.load_tensors(teacher.folder / "model.safetensors", {})[0]
    assert kept.keys() == last.keys() == before.keys()
    wide = "input_blocks.0.0.weight"
    assert last[wide].shape[1] == 6
    assert torch.equal(kept[wide][:, :3], before[wide])
    assert all(torch.equal(kept[name], value) for name, value in before.items() if name != wide)
    assert not torch.equal(last["out.2.weight"], kept["out.2.weight"])  # its first turn is the third step


CARDS: dict[str, tuple[Callable[[Training], Any], str]] = {
    "another bridge": (lambda t: t.values.update(beta_max=1.0), "the weights have beta_max 0.3"),
    "another corruption": (
        lambda t: t.values.update(corruption="jpeg-10"),
        "the weights have corruption jpeg-5",
    ),
    "another network": (lambda t: t.values["network"].update(num_res_blocks=2), "num_res_blocks"),
}


@pytest.mark.parametrize("what", CARDS)
def test_weights_of_another_bridge_are_no_teacher(teacher: Training, tmp_path: Path, what: str) -> None:
    made = student(teacher, tmp_path / "student")
    edit, told = CARDS[what]
    edit(made)
    done = made.train()
    assert done.exit_code != 0
    assert told in str(done.exception)


def test_a_student_is_no_teacher(teacher: Training, tmp_path: Path) -> None:
    first = student(teacher, tmp_path / "student")
    first.trained()
    done = student(first, tmp_path / "another").train()
    assert "the teacher is itself distilled" in str(done.exception)


STUDENT = {"corruption": "jpeg-5", "beta_max": 0.3, "sample": {"nfe": 1}}
TAUGHT = {"init": "results/i2sb/jpeg-5", "distil": 1}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"train": {"distil": 1}}, "there is no teacher"),
        ({"train": {**TAUGHT, "init": "i2sb/jpeg-5"}}, "i2sb/jpeg-5 has network.model_channels 256"),
        ({"train": {**TAUGHT, "distil": 0}}, "is 0"),
        ({"train": {**TAUGHT, "distil": 5}}, "is 5"),
        ({"train": {**TAUGHT, "init": "model/ddpm"}}, "model/ddpm is no bridge"),
        ({"train": {**TAUGHT, "at_end": 0.5}}, "nothing reads it"),
        ({"train": TAUGHT, "beta_max": 1.0}, "the teacher i2sb/jpeg-5 has 0.3"),
        ({"train": TAUGHT, "corruption": "jpeg-10"}, 'the teacher i2sb/jpeg-5 has "jpeg-5"'),
        ({"train": TAUGHT, "cond_x1": True}, "the teacher i2sb/jpeg-5 has false"),
        ({"train": TAUGHT, "network": {"num_res_blocks": 2}}, "the teacher i2sb/jpeg-5 has another"),
        ({"train": TAUGHT, "dataset": "digits-16"}, "the teacher i2sb/jpeg-5 is of 32 x 32 pixels"),
        ({"train": TAUGHT, "sample": {}}, "distilled for nfe 1, not 10"),
        (
            {"train": TAUGHT, "sample": {"nfe": 1, "sampler": "implicit"}},
            "for sampler ancestral, not implicit",
        ),
        ({"train": TAUGHT, "study": {}}, "a student makes one number of calls"),
        (
            {"train": {**TAUGHT, "validation": {"every": 5, "metrics": ["psnr"]}}},
            "the student makes 1",
        ),
    ],
)
def test_a_student_without_its_teacher_is_refused(edit: dict[str, Any], told: str) -> None:
    assert told in refused("experiments i2sb student", {**STUDENT, **edit})
