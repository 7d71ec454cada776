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
    monkeypatch.setattr(ddib_points, "BATCH", 7)
    torch.testing.assert_close(
        ddib_points.cycle(*ends, POINTS, settings).error, whole.error, atol=1e-5, rtol=0
    )
    assert torch.allclose(ddib_points.sample(ends[1], range(50), settings, seed=3), drawn, atol=1e-6)
    assert torch.allclose(ddib_points.sample(ends[1], range(20, 50), settings, seed=3), drawn[20:], atol=1e-6)


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
