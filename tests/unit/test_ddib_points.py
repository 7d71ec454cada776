"""DDIB between points whose denoisers are known: calls, grids, cycles, samples, and where it is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.closed_form import ONE, A, B, Mixture
from bridgepipe.config.gaussian import Process
from bridgepipe.config.points import SolverSettings
from bridgepipe.config.runtime import Runtime
from bridgepipe.errors import UserError
from bridgepipe.evaluation import transport
from bridgepipe.methods import ddib_points
from bridgepipe.methods.ddib import translate
from bridgepipe.methods.ddib_points import PUBLISHED, denoisers
from bridgepipe.methods.gaussian import Diffusion, Model

DIFFUSION = Diffusion((2,), Process(T=1000))
POINTS = A.sample(64).float()
Ends = tuple[Model, Model]


class Exact(nn.Module):
    """A network that is right, in float64 inside and in the dtype of x outside; it counts its calls."""

    def __init__(self, mixture: Mixture, diffusion: Diffusion) -> None:
        super().__init__()
        self.eps, self.calls = mixture.denoiser(diffusion.process), 0

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        return self.eps(x.double(), t).to(x.dtype)


def model(mixture: Mixture, diffusion: Diffusion = DIFFUSION) -> Model:
    return Model(Exact(mixture, diffusion), diffusion, "digest", runtime=Runtime(device="cpu"))


@pytest.fixture
def ends() -> Ends:
    return model(A), model(B)


@pytest.mark.parametrize("solver", ["ddim", "heun", "multistep2", "multistep3", "unipc3", "obelm"])
@pytest.mark.parametrize("grid", ["exact", "ddib"])
def test_no_direction_calls_more_often_than_asked(ends: Ends, solver: str, grid: str) -> None:
    if solver == "obelm" and grid == "ddib":
        pytest.skip("obelm ends before pure noise")
    for nfe in (20, 21):
        settings = SolverSettings(solver=solver, nfe=nfe, spacing="log_snr", grid=grid)
        moved = translate(*denoisers(*ends), POINTS, settings)
        assert nfe - 1 <= moved.calls_per_way <= nfe
        assert moved.calls_per_way == moved.latent.calls == ddib_points.calls_of(settings, DIFFUSION.process)
        assert moved.target.calls == moved.calls_per_way - (
            2 if solver == "obelm" else 0
        )  # it starts from a pair


def test_published_solver_calls_at_every_step_both_ways() -> None:
    diffusion = Diffusion((2,), Process(T=60))
    a, b = model(A, diffusion), model(B, diffusion)
    moved = translate(*denoisers(a, b), POINTS, PUBLISHED)
    assert (moved.latent.calls, moved.target.calls) == (60, 60)


def test_translation_lands_in_the_target(ends: Ends) -> None:
    source, target = A.sample(1500).float(), B.sample(3000, seed=1).numpy()
    moved = translate(*denoisers(*ends), source, SolverSettings()).target.x.numpy()
    floor = transport.sliced_w2(B.sample(1500, seed=2).numpy(), target)
    assert transport.sliced_w2(moved, target) < floor + 0.03
    assert transport.sliced_w2(source.numpy(), target) > 5 * floor


def test_cycle_closes_to_rounding_with_the_pair_and_nearly_without(ends: Ends) -> None:
    paired = ddib_points.cycle(*ends, POINTS, SolverSettings())
    alone = ddib_points.cycle(*ends, POINTS, SolverSettings(), state_pair=False)
    ddim = ddib_points.cycle(*ends, POINTS, PUBLISHED.model_copy(update={"nfe": 50}))
    assert paired.error.max() < 2e-5
    assert paired.error.max() < alone.error.mean() < 5e-3 < ddim.error.mean()
    assert torch.equal(paired.target, alone.target)
    assert paired.calls == 50


def test_batches_change_nothing(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SolverSettings(solver="multistep3", nfe=12)
    whole = ddib_points.cycle(*ends, POINTS, settings)
    drawn = ddib_points.sample(ends[1], range(50), settings, seed=3)
    monkeypatch.setattr(ddib_points, "POINTS", 7)
    torch.testing.assert_close(
        ddib_points.cycle(*ends, POINTS, settings).error, whole.error, atol=1e-5, rtol=0
    )
    assert torch.allclose(ddib_points.sample(ends[1], range(50), settings, seed=3), drawn, atol=1e-6)
    assert torch.allclose(ddib_points.sample(ends[1], range(20, 50), settings, seed=3), drawn[20:], atol=1e-6)


@pytest.mark.parametrize("how", [SolverSettings(nfe=60), SolverSettings(solver="ddim", nfe=200, grid="ddib")])
def test_states_on_the_way_have_the_densities_of_the_process(ends: Ends, how: SolverSettings) -> None:
    """At every stop the points spread as noised data of the end that they come from, or go to."""
    points, process = A.sample(4000).float(), DIFFUSION.process
    stops = ddib_points.stops_of(how, process, 3)
    states = ddib_points.on_the_way(*ends, points, how, stops, "way")
    assert len(stops.encode) == len(stops.decode) == 3
    assert stops.encode == sorted(stops.encode)
    assert stops.decode == sorted(stops.decode, reverse=True)
    assert list(states) == [
        "Source",
        *(f"encoding, t {t}" for t in stops.encode),
        "Latent",
        *(f"decoding, t {t}" for t in stops.decode),
        "Target",
    ]
    moved = translate(*denoisers(*ends), points, how)
    assert torch.equal(states["Latent"], moved.latent.x)
    assert torch.equal(states["Target"], moved.target.x)
    for way, data in (("encoding", points), ("decoding", B.sample(4000).float())):
        for t in stops.encode if way == "encoding" else stops.decode:
            share = float(process.alpha_bar[t])
            wanted = share * torch.cov(data.T) + (1 - share) * torch.eye(2)
            assert torch.cov(states[f"{way}, t {t}"].T) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("solver", ["ddim", "heun", "multistep3", "unipc3", "obelm"])
@pytest.mark.parametrize("nfe", [4, 5, 6, 9])
def test_few_calls_have_few_stops_and_all_of_them_are_passed(ends: Ends, solver: str, nfe: int) -> None:
    how = SolverSettings(solver=solver, nfe=nfe)
    stops = ddib_points.stops_of(how, DIFFUSION.process, 20)
    states = ddib_points.on_the_way(*ends, POINTS, how, stops, "way")
    assert len(states) == 3 + len(stops.encode) + len(stops.decode) <= 3 + 2 * nfe
    assert min(stops.encode, default=1) > 0


def test_samples_follow_the_model() -> None:
    drawn = ddib_points.sample(model(ONE), range(2000), SolverSettings(solver="multistep3", nfe=20), seed=0)
    assert torch.allclose(drawn.mean(0), ONE.means[0].float(), atol=0.05)
    assert torch.allclose(drawn.std(0), torch.full((2,), 0.5), atol=0.05)


@pytest.mark.parametrize(
    "other", [Diffusion((2,), Process(T=500)), Diffusion((2,), Process(schedule="cosine")), Diffusion((3,))]
)
def test_models_of_other_latents_are_refused(other: Diffusion) -> None:
    other = model(B, other)
    with pytest.raises(UserError, match="different latents"):
        denoisers(model(A), other)


def test_too_few_calls_are_refused() -> None:
    with pytest.raises(UserError, match="more network calls"):
        ddib_points.steps_of(SolverSettings.model_construct(solver="obelm", nfe=2), DIFFUSION.process)
