"""Gaussian models at work: what they are told, how samples are drawn, steps for a number of calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from bridgepipe import artifacts, config, samplers
from bridgepipe.cli.options import Trained
from bridgepipe.config.gaussian import GaussianSamplerSettings, Generate, GenerationStudy, Process
from bridgepipe.config.recipe import Recipe
from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError
from bridgepipe.methods import gaussian, spd
from bridgepipe.methods.gaussian import Diffusion, Model
from bridgepipe.methods.trained import load_model
from bridgepipe.names import Spacing
from bridgepipe.names.nfe import SAMPLER_TRAITS, calls_made
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.runtime import batches, rng
from bridgepipe.samplers.steps import decode_steps
from bridgepipe.stages.generation import _runs
from bridgepipe.training.loop import train
from bridgepipe.training.objective import Batch

SHAPE = (3, 16, 16)
ARGUMENTS = {"model_channels": 32, "num_res_blocks": 1, "channel_mult": (1, 1), "attention_resolutions": ()}
CPU = config.Runtime(device="cpu")
PIXEL = Diffusion(SHAPE, Process(T=50))
FOURIER = Diffusion(
    SHAPE, Process(schedule="shortest_path", T=50, c1=1.6, c2=0.01, m=2.0, rescale_timesteps=True)
)
SAMPLERS = ("ancestral", "ddim", "heun", "multistep2", "multistep3", "unipc3", "obelm")


def model(diffusion: Diffusion, told: int | None = None, **meaning: int) -> Model:
    network = gaussian.network("adm", diffusion, told, seed=0, **ARGUMENTS)
    torch.manual_seed(1)
    for parameter in network.parameters():  # published layers start at zero and would predict nothing
        parameter.data += 0.02 * torch.randn_like(parameter)
    return Model(network, diffusion, "digest", runtime=CPU, **meaning)  # type: ignore[arg-type]


def drawn(m: Model, items: Sequence[int], **how: object) -> Tensor:
    work = partial(spd.generate, m, how=Generate(nfe=6, **how))  # type: ignore[arg-type]
    return torch.cat(list(batches.in_batches(work, items, m.batch_size, "sampling")))


@pytest.mark.parametrize("diffusion", [PIXEL, FOURIER], ids=["pixel", "fourier"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_depend_on_item_and_seed_only(diffusion: Diffusion, sampler: str) -> None:
    m = model(diffusion)
    whole = drawn(m, range(5), sampler=sampler)
    m.batch_size = 2
    pieces = torch.cat([drawn(m, range(3), sampler=sampler), drawn(m, range(3, 5), sampler=sampler)])
    torch.testing.assert_close(pieces, whole, atol=2e-4, rtol=0)
    assert (drawn(m, range(2), sampler=sampler, seed=1) - whole[:2]).abs().max() > 0.1


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_published_shortest_path_diffusion_has_no_use_of_clip(sampler: str) -> None:
    unclipped, published, exact = (
        drawn(model(FOURIER), range(2), sampler=sampler, **how)
        for how in ({"clip": False}, {"variant": "published"}, {"variant": "exact"})
    )
    assert torch.equal(published, unclipped)
    assert (exact - unclipped).abs().max() > 1e-3
    clipped, of_pixels = (
        drawn(model(PIXEL), range(2), sampler=sampler, variant=v) for v in ("exact", "published")
    )
    assert torch.equal(clipped, of_pixels)


def test_repeats_draw_independent_noise() -> None:
    """Trainings with other seeds are repeats: equal noise would hide its part of the spread over them."""
    first, *others = (model(PIXEL, repeat=k) for k in range(3))
    starts = [m.noise(0, "generation", range(4)).normal(SHAPE).flatten() for m in (first, *others)]
    assert torch.equal(starts[0], rng.ItemNoise(0, "generation", range(4)).normal(SHAPE).flatten())
    correlations = torch.corrcoef(torch.stack(starts)) - torch.eye(3)
    assert correlations.abs().max() < 0.06
    assert (drawn(first, range(2)) - drawn(others[0], range(2))).abs().max() > 0.1
    seeds = {rng.repeat_seed(seed, repeat) for seed in range(20) for repeat in range(20)}
    assert len(seeds) == 400


def test_a_loaded_model_is_the_repeat_of_its_training_seed(tmp_path: Path) -> None:
    network = {"kind": "adm", **ARGUMENTS}
    told = {"dataset": "x", "process": {"T": 50}, "network": network, "train": {"steps": 1, "seed": 2}}
    trained = config.Model.model_validate(told)
    settings = trained.stages()["train"].as_json()
    artifacts.write_json(tmp_path / "train.json", settings)
    diffusion = Diffusion(SHAPE, trained.process)
    weights = gaussian.network("adm", diffusion, **trained.network.arguments).state_dict()
    card = {"config": settings, "shape": SHAPE}
    artifacts.save_tensors(tmp_path / "m.safetensors", weights, card)
    trained = Trained(tmp_path / "m.safetensors", tmp_path / "train.json")
    loaded = load_model(trained, config.Runtime(device="cpu"))
    assert loaded.repeat == 2
    with pytest.raises(UserError, match="a model is no guide: it predicts no classes"):
        load_model(trained, config.Runtime(), guide=True)
    guide = config.Guide.model_validate({"dataset": "x", "network": ARGUMENTS, "train": {"steps": 1}})
    artifacts.write_json(tmp_path / "train.json", guide.stages()["train"].as_json())
    with pytest.raises(UserError, match="a guide is no model"):
        load_model(trained, config.Runtime())


LINEAR = Gaussian(schedules.linear(1000), variance="fixed_small")
# normal data of a known mean and standard deviation, whose optimal denoiser is known
MEAN, STD = torch.tensor([1.0, -1.0] * 8, dtype=torch.float64), 0.5


def sampled(sampler: str, nfe: int, spacing: str) -> tuple[list[int], int, Tensor, Tensor]:
    """Steps, calls counted, starting noise and samples of the normal data."""
    calls, alpha_bar = 0, torch.from_numpy(LINEAR.alpha_bar)
    start = torch.randn(128, len(MEAN), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def eps(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        a = alpha_bar[t][:, None]
        return (1 - a).sqrt() / (a * STD**2 + 1 - a) * (x - a.sqrt() * MEAN)

    steps = decode_steps(LINEAR, sampler, nfe, spacing)  # type: ignore[arg-type]
    if sampler == "ancestral":
        noise = rng.ItemNoise(0, "", range(len(start)))
        x = samplers.ancestral(eps, start, steps, noise, process=LINEAR).x
    else:
        x = samplers.decode(eps, start, steps, process=LINEAR, solver=sampler).x
    return steps, calls, start, x


@pytest.mark.parametrize("spacing", get_args(Spacing))
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_few_calls_start_at_noise_and_make_data(sampler: str, spacing: str) -> None:
    made = set()
    for nfe in [*range(1, 13), 50]:
        try:
            shown = calls_made(1000, sampler, nfe, spacing)
        except UserError as error:
            nearest = [int(n) for n in error.mend.split() if n.isdigit()]
            assert nearest
            assert all(calls_made(1000, sampler, n, spacing) == n for n in nearest)
            continue
        if shown in made:
            continue
        steps, calls, start, x = sampled(sampler, nfe, spacing)
        made.add(calls)
        assert calls == shown <= nfe
        times = len(steps) - (sampler != "obelm")
        last = {"leading": 1000 - 1000 // times, "quad": 800}.get(spacing, 999)
        assert steps[0] == (last if times > 1 else 999)
        if (calls <= 3 and sampler != "obelm") or sampler in ("ancestral", "ddim", "multistep2"):
            both = torch.stack([start.flatten(), x.flatten()])
            assert torch.corrcoef(both)[0, 1] < 0.75  # 0.46 of a perfect solver
            assert (x.mean(0) - MEAN).abs().max() < 0.2
            assert (x - x.mean(0)).std() < 2 * STD
        if calls == 1:
            torch.testing.assert_close(x.mean(0), MEAN, atol=0.01, rtol=0)
        if calls >= 49:
            assert (x - x.mean(0)).std() == pytest.approx(STD, rel=0.17)
    fewest = 4 if spacing in ("leading", "trailing") else 3
    assert min(made) == (fewest if sampler == "obelm" else 1)


def test_numbers_of_calls_that_cannot_be_made_name_the_nearest() -> None:
    for spacing in ("leading", "trailing"):
        with pytest.raises(UserError, match=r"visits 334 times for 300.*take 250 or 500"):
            decode_steps(LINEAR, "ddim", 300, spacing)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"visits 1000 times for 600.*take 500 or 1000"):
            decode_steps(LINEAR, "ddim", 600, spacing)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"the process has 50 steps.*take 50$"):
        decode_steps(PIXEL.process, "ddim", 1000)
    with pytest.raises(UserError, match=r"nfe is 2 with obelm.*take 3 or more"):
        decode_steps(PIXEL.process, "obelm", 2)
    assert decode_steps(PIXEL.process, "ddim", None) == [*range(49, -1, -1), -1]


def test_a_study_shows_the_calls_that_are_made_once() -> None:
    studied = {"Heun": {"sampler": "heun"}, "multistep 3": {"sampler": "multistep3"}}
    values = {"samplers": studied, "nfe": (9, 10, 5), "count": 2, "seed": 0, "variant": "exact"}
    plan = GenerationStudy.model_validate(values)
    found = _runs(plan, SimpleNamespace(process=LINEAR))  # type: ignore[arg-type]
    expected = [("Heun", 9), ("Heun", 5), ("multistep 3", 9), ("multistep 3", 10), ("multistep 3", 5)]
    assert [(sampler, how.nfe) for sampler, how in found] == expected


def test_published_strides() -> None:
    process = Diffusion(SHAPE, Process(T=1000)).process
    assert decode_steps(process, "ddim", 25, "leading")[-2] == 0
    assert decode_steps(process, "ddim", 25, "trailing")[0] == 999
    assert decode_steps(process, "ddim", 250)[:-1][::-1] == schedules.timesteps(1000, "250")


def test_classes_come_in_turn_and_matter() -> None:
    m = model(PIXEL, told=3, classes=3)
    labels = spd.labels_of(m, range(5))
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 0, 1]
    x, t = torch.randn(2, *SHAPE), torch.tensor([10, 10])
    a, b = (m.bound(torch.tensor(y))(x, t) for y in ([0, 0], [0, 1]))
    assert torch.equal(a[0], b[0])
    assert not torch.allclose(a[1], b[1])


def test_labels_exactly_for_conditional_models() -> None:
    for m, labels in ((model(PIXEL), torch.tensor([0])), (model(PIXEL, told=3, classes=3), None)):
        with pytest.raises(UserError, match="labels, or choose another model"):
            m.bound(labels)
    with pytest.raises(UserError, match="kind points"):
        gaussian.network("points", PIXEL, classes=3)


def test_classifier_free_guidance_needs_the_null_class() -> None:
    labels, x, t = torch.tensor([1]), torch.randn(1, *SHAPE), torch.tensor([10])
    with pytest.raises(UserError, match="no null class"):
        model(PIXEL, told=3, classes=3).bound(labels, scale=2.0)
    m = model(PIXEL, told=4, classes=3, null=3)
    c, u = m.bound(labels)(x, t), m.bound(torch.tensor([3]))(x, t)
    torch.testing.assert_close(m.bound(labels, scale=2.0)(x, t), u + 2 * (c - u))


def test_the_network_is_told_rescaled_times() -> None:
    assert FOURIER.network_time(torch.tensor([25])).item() == 500.0
    assert PIXEL.network_time(torch.tensor([25])).dtype == torch.int64


def test_spectrum_is_needed() -> None:
    with pytest.raises(UserError, match="no spectrum"):
        _ = Diffusion(SHAPE, Process(schedule="shortest_path")).process


def batch(count: int = 8) -> Batch:
    images = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(images, list(range(count)), rng.ItemNoise(0, "train", range(count)))


@pytest.mark.parametrize("diffusion", [PIXEL, FOURIER], ids=["pixel", "fourier"])
def test_objective_is_the_squared_error_of_the_noise(diffusion: Diffusion) -> None:
    class Zero(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return torch.zeros_like(x)

    losses = gaussian.Denoising(diffusion)(Zero(), batch())
    draws = rng.ItemNoise(0, "train", range(8))
    draws.integers(diffusion.settings.T)
    torch.testing.assert_close(losses, draws.normal(SHAPE).square().mean(dim=(1, 2, 3)))


def test_dropped_labels_become_the_null_class() -> None:
    seen: list[Tensor] = []

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
            seen.append(y)
            return torch.zeros_like(x)

    labels = np.arange(1000) % 3
    images = torch.zeros(1000, 3, 8, 8)
    where = Batch(images, list(range(1000)), rng.ItemNoise(0, "train", range(1000)))
    gaussian.Denoising(PIXEL, labels, null=3, drop=0.25)(Spy(), where)
    hidden = seen[0] == 3
    assert 200 < hidden.sum() < 300
    assert torch.equal(seen[0][~hidden], torch.from_numpy(labels)[~hidden])


def test_guide_learns_and_points_uphill() -> None:
    torch.manual_seed(0)
    labels = np.arange(64) % 2
    images = torch.from_numpy(labels * 2.0 - 1).float().view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    diffusion = Diffusion((3, 8, 8), Process(T=50))
    network = gaussian.classifier(diffusion, 2, **{**ARGUMENTS, "pool": "adaptive"})
    loss = gaussian.classifier_objective(diffusion, labels)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for step in range(40):
        where = Batch(images, list(range(64)), rng.ItemNoise(step, "train", range(64)))
        optimiser.zero_grad()
        loss(network, where).mean().backward()
        optimiser.step()
    m = Model(network, diffusion, "digest", runtime=CPU)
    clean = torch.zeros(64, dtype=torch.int64)
    assert m.bound()(images, clean).argmax(dim=1).tolist() == labels.tolist()
    # a flat image has no scale to normalise
    x, t = torch.randn(1, 3, 8, 8), torch.tensor([10])
    slope = m.guidance(torch.tensor([1]), 2.0)(x, t)
    up = 0.01 * slope / slope.norm()
    lower, higher = (m.bound()(x + step, t).log_softmax(1)[0, 1] for step in (-up, up))
    assert higher > lower
    torch.testing.assert_close((higher - lower) / 0.02, slope.norm() / 2, rtol=0.1, atol=0)


class TestBlockNoise:
    def test_rows_belong_to_items(self) -> None:
        items = [3, 1500, 4, 1023, 1024]
        whole = rng.BlockNoise(0, "x", items)
        times, draws = whole.integers(10), whole.normal((2,))
        for place, item in enumerate(items):
            alone = rng.BlockNoise(0, "x", [item])
            assert alone.integers(10) == times[place]
            assert torch.equal(alone.normal((2,))[0], draws[place])

    def test_purposes_and_seeds_differ(self) -> None:
        a, b, c = (rng.BlockNoise(s, p, [0]).normal((4,)) for s, p in ((0, "x"), (0, "y"), (1, "x")))
        assert len({tuple(v.flatten().tolist()) for v in (a, b, c)}) == 3

    def test_draws_are_standard_normal(self) -> None:
        draws = rng.BlockNoise(0, "x", range(5000)).normal((2,))
        assert abs(draws.mean()) < 0.05
        assert abs(draws.std() - 1) < 0.05


class TestLossAwareTimes:
    DIFFUSION = Diffusion(SHAPE, Process(schedule="cosine", T=2, times="loss_aware"))

    def trained(self, folder: Path, steps: int, microbatch: int | None = None) -> dict[str, Tensor]:
        class Pictures:
            def __len__(self) -> int:
                return 8

            def batch(self, indices: Sequence[int]) -> Tensor:
                return batch().images[list(indices)]

        network = gaussian.network("adm", self.DIFFUSION, seed=0, **ARGUMENTS)
        recipe = Recipe(steps=steps, batch_size=8, lr=1e-3)
        running = Runtime(device="cpu", microbatch=microbatch)
        objective = gaussian.Denoising(self.DIFFUSION)
        return train(network, objective, Pictures(), recipe, running, folder, {"run": 1})

    def test_what_was_learned_of_the_losses_is_resumed(self, tmp_path: Path) -> None:
        whole = self.trained(tmp_path / "whole", 7)
        self.trained(tmp_path / "parts", 4)
        resumed = self.trained(tmp_path / "parts", 7)
        assert all(torch.equal(whole[k], resumed[k]) for k in whole)
        state = artifacts.load_tensors(tmp_path / "whole/state.safetensors")[0]
        assert (state["objective.seen"] >= 10).all(), "the draws were still uniform"

    def test_pieces_of_a_batch_learn_together(self, tmp_path: Path) -> None:
        self.trained(tmp_path / "a", 5)
        self.trained(tmp_path / "b", 5, microbatch=3)
        whole, pieces = (artifacts.load_tensors(tmp_path / f / "state.safetensors")[0] for f in "ab")
        assert torch.equal(pieces["objective.seen"], whole["objective.seen"])
        torch.testing.assert_close(pieces["objective.losses"], whole["objective.losses"], atol=1e-3, rtol=0)


def test_calls_as_adm_spells_them() -> None:
    """``timestep_respacing ddim25``: 25 calls of DDIM; with another sampler it is a contradiction."""
    assert Generate.model_validate({"nfe": "ddim25"}) == Generate(nfe=25, sampler="ddim")
    assert Generate.model_validate({"nfe": "ddim50", "eta": 1.0}).eta == 1.0
    with pytest.raises(ValueError, match=r"nfe ddim25 is of the ddim sampler, sample.sampler is ancestral"):
        Generate.model_validate({"nfe": "ddim25", "sampler": "ancestral"})
    for wrong in ("ddim", "ddim0", "ddpm25", "ddim2.5"):
        with pytest.raises(ValueError, match="nfe"):
            Generate.model_validate({"nfe": wrong})


@pytest.mark.parametrize("kind", [Generate, GaussianSamplerSettings])
def test_a_sampler_brings_its_spacing_and_an_explicit_one_rules(kind: type[Any]) -> None:
    for sampler, traits in SAMPLER_TRAITS.items():
        named = kind.model_validate({"sampler": sampler})
        assert named.spacing == traits.spacing
        assert kind.model_validate({"sampler": sampler, "spacing": None}) == named
        assert kind.model_validate({"sampler": sampler, "spacing": "trailing"}).spacing == "trailing"
    assert kind.model_validate({}).spacing == "uniform"
    assert GaussianSamplerSettings.of(Generate(sampler="heun")).spacing == "quad_full"
    with pytest.raises(ValueError, match="sampler"):
        kind.model_validate({"sampler": "dopri"})
    for wrong in ("karras", "", 0, False):
        with pytest.raises(ValueError, match="quad_full"):
            kind.model_validate({"spacing": wrong})


def test_ddim_and_ddpm_keep_the_published_times() -> None:
    for sampler in ("ddim", "ancestral"):
        for nfe in (10, 25, 100):
            assert decode_steps(LINEAR, sampler, nfe)[-2::-1] == schedules.timesteps(1000, nfe)
