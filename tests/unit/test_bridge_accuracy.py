"""The bridge samplers on Gaussian pairs, where the best denoiser and every law are known exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from benchmarks.closed_form import (
    Pairs,
    blurred_images,
    distance_to_images,
    distance_to_posterior,
    law,
    marginal,
)
from bridgepipe.processes.bridge import Bridge
from bridgepipe.runtime.rng import ItemNoise
from bridgepipe.samplers import bridge, bridge_steps, implicit_bridge

F64 = torch.float64


def half(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * x


# the steps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0, 1.7])
def test_an_implicit_step_keeps_mean_and_variance_of_the_bridge(eta: float) -> None:
    process = Bridge(100, 1.0)
    for n, m in [(99, 98), (99, 40), (98, 97), (60, 2), (60, 59), (2, 1)]:
        step, (tau_n, v_n), (tau_m, v_m) = (
            process.implicit_step(n, m, eta),
            marginal(process, n),
            marginal(process, m),
        )
        assert step.x_n * (1 - tau_n) + step.x0 == pytest.approx(1 - tau_m, abs=1e-12)
        assert step.x_n * tau_n + step.x1 == pytest.approx(tau_m, abs=1e-12)
        assert step.x_n**2 * v_n + step.std**2 == pytest.approx(v_m, abs=1e-12)


def test_at_eta_one_the_step_is_the_published_posterior() -> None:
    process = Bridge(100, 0.3)
    f = process.var_fwd
    for n, m in [(98, 97), (60, 2), (60, 59), (2, 1)]:
        step = process.implicit_step(n, m, eta=1.0)
        assert step.x_n == pytest.approx(f[m] / f[n], rel=1e-9)
        assert step.x0 == pytest.approx(1 - f[m] / f[n], rel=1e-9)
        assert step.x1 == pytest.approx(0, abs=1e-12)
        assert step.std**2 == pytest.approx(f[m] * (f[n] - f[m]) / f[n], rel=1e-9)


def test_at_eta_one_the_states_are_those_of_the_published_chain() -> None:
    process, pairs = Bridge(50), blurred_images(8)
    steps, x1 = bridge_steps(process, 7), torch.randn(3, 8, dtype=F64, generator=torch.manual_seed(1))
    noise = [torch.randn(3, 8, dtype=F64) for _ in range(6)]
    denoiser = pairs.denoiser(process, sees_x1=False)
    published = bridge(denoiser, x1, steps, noise, process=process)
    implicit = implicit_bridge(denoiser, x1, steps, noise, process=process, eta=1.0)
    torch.testing.assert_close(implicit.xs[:, 1:], published.xs[:, 1:], rtol=0, atol=1e-6)
    assert torch.equal(implicit.x0, implicit.x0s[:, 0])


def test_short_steps_at_eta_zero_follow_the_flow_of_ddbm() -> None:
    """dx = -g^2 (score of q(x | x0, x1) / 2 - gradient of log p(x1 | x)) dt, with S d tau = g^2 dt."""
    process, x_n, x0, x1 = Bridge(100000, 0.3), 0.4, -0.3, 0.9
    scale = process.var_fwd[-1]
    for n in (90000, 50000, 2000):
        step, (tau, v), (after, _) = (
            process.implicit_step(n, n - 1),
            marginal(process, n),
            marginal(process, n - 1),
        )
        score, pull = ((1 - tau) * x0 + tau * x1 - x_n) / v, (x1 - x_n) / (scale * (1 - tau))
        slope = -scale * (score / 2 - pull)
        found = (step.x_n * x_n + step.x0 * x0 + step.x1 * x1 - x_n) / (after - tau)
        assert found == pytest.approx(slope, rel=1e-2)


def test_without_noise_the_first_order_is_the_published_ode() -> None:
    process, pairs = Bridge(50, ot_ode=True), blurred_images(8)
    steps, x1 = bridge_steps(process, 7), torch.randn(3, 8, dtype=F64, generator=torch.manual_seed(1))
    denoiser = pairs.denoiser(process, sees_x1=False)
    published = bridge(denoiser, x1, steps, [], process=process)
    implicit = implicit_bridge(denoiser, x1, steps, [], process=process)
    torch.testing.assert_close(implicit.xs[:, 1:], published.xs[:, 1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("others", [(1999,), (1000,), (900,), (1999, 1800), (1999, 900), (100,)])
@pytest.mark.parametrize(("m", "eta"), [(900, 0.0), (100, 0.0), (900, 1.0), (100, 1.0)])
def test_the_extrapolation_integrates_a_polynomial(others: tuple[int, ...], m: int, eta: float) -> None:
    """Against a thousand first-order steps along which x0_hat really is a polynomial of its variable."""
    process, n = Bridge(2000, 1.0), 1500
    u = process.angle() if eta == 0 else np.sin(process.angle()) ** 2

    def at(k: int) -> float:
        v = u[k] - u[n]
        return 1 + 2 * v - (3 * v**2 if len(others) == 2 else 0)

    x = 0.7
    for k in range(n, m, -1):
        step = process.implicit_step(k, k - 1, eta)
        x = step.x_n * x + step.x0 * (at(k) + at(k - 1)) / 2 + step.x1 * 0.2
    one = process.implicit_step(n, m, eta)
    weights = process.extrapolation(others, n, m, eta)
    mean = at(n) + sum(g * (at(n) - at(i)) for g, i in zip(weights, others, strict=True))
    assert one.x_n * 0.7 + one.x0 * mean + one.x1 * 0.2 == pytest.approx(x, abs=2e-5)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_last_extrapolation_reaches_the_data(eta: float) -> None:
    process = Bridge(100)
    u = process.angle() if eta == 0 else np.sin(process.angle()) ** 2
    assert process.extrapolation([60], 30, 0, eta) == pytest.approx([u[30] / (u[60] - u[30])])
    weights = process.extrapolation([60, 80], 30, 0, eta)
    values = 2 + u[[30, 60, 80]] - 3 * u[[30, 60, 80]] ** 2
    assert values[0] + weights @ (values[0] - values[1:]) == pytest.approx(2)


def test_the_first_order_is_the_step_of_i3sb_and_dbim() -> None:
    """I3SB and DBIM draw eta times the posterior's std: ours at eta 0 and 1, and its limit between."""
    process = Bridge(1000, 0.3)
    f = process.var_fwd

    def i3sb(n: int, m: int, eta: float) -> tuple[float, float]:
        (_, v_n), (_, v_m) = marginal(process, n), marginal(process, m)
        std = eta * math.sqrt(f[m] * (f[n] - f[m]) / f[n])
        return math.sqrt((v_m - std**2) / v_n), std

    for n, m in [(998, 900), (600, 599), (600, 20), (30, 29)]:
        for eta in (0.0, 1.0):
            step = process.implicit_step(n, m, eta)
            assert (step.x_n, step.std) == pytest.approx(i3sb(n, m, eta), abs=1e-9)
    for eta in (0.3, 0.7):
        errors = [abs(process.implicit_step(600, m, eta).std / i3sb(600, m, eta)[1] - 1) for m in (300, 598)]
        assert errors[1] < 0.02 * errors[0]


@pytest.mark.parametrize("beta_max", [0.3, 1.0])
def test_the_published_tables_stay_close_to_the_chain(beta_max: float) -> None:
    """They count beta_n twice: off by at most max beta / f, far below what a network resolves."""
    process = Bridge(1000, beta_max)
    tau = np.sin(process.angle()) ** 2
    excess = process.betas.numpy() / process.var_fwd[-1]
    assert (np.abs(process.mu_x1.numpy() - tau) <= excess + 1e-6).all()
    assert excess.max() < 2e-3


# accuracy on Gaussian pairs ---------------------------------------------------------------------------


@pytest.mark.parametrize("ot_ode", [False, True])
@pytest.mark.parametrize(
    ("order", "solver"), [(1, "multistep"), (2, "multistep"), (3, "multistep"), (2, "midpoint"), (2, "heun")]
)
def test_order_of_convergence(order: Any, solver: Any, ot_ode: bool) -> None:
    """On the grid that suits the bridge, and of so many indices that rounding to one does not decide."""
    process = Bridge(100000, 1.0, ot_ode)
    pairs = Pairs(*torch.tensor([[1.0, 0.3], [0.6, 0.9], [0.1, 0.05]], dtype=F64))

    def solve(nfe: int, order: int, solver: str) -> Tensor:
        steps = bridge_steps(process, nfe, "angle" if ot_ode else "log_snr")
        return torch.cat(law(pairs, process, steps, sees_x1=not ot_ode, order=order, solver=solver))

    exact = solve(256, 3, "multistep")
    errors = [float((solve(nfe, order, solver) - exact).abs().max()) for nfe in (16, 64)]
    assert order - 0.2 < math.log2(errors[0] / errors[1]) / 2 < order + 0.7


def test_two_calls_of_the_midpoint_are_two_of_the_multistep() -> None:
    """One step to the data, its second call inside: the same two predictions in the same polynomial."""
    process, pairs = Bridge(1000, 0.3), blurred_images()
    steps = bridge_steps(process, 2, "angle")
    found = [law(pairs, process, steps, True, order=2, solver=s) for s in ("multistep", "midpoint")]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


def test_a_network_that_sees_x1_reaches_the_posterior_in_few_calls() -> None:
    process, pairs = Bridge(1000, 0.3), blurred_images()

    def quality(nfe: int, spacing: Any = "uniform", **knobs: Any) -> np.ndarray:
        gain, variance = law(pairs, process, bridge_steps(process, nfe, spacing), True, **knobs)
        return np.array([d(pairs, gain, variance) for d in (distance_to_images, distance_to_posterior)])

    published = quality(100, ancestral=True)
    assert (quality(5, "log_snr", order=2) < 1.6 * published).all()
    assert (quality(10, "log_snr", order=2) < 0.1 * published).all()
    assert (quality(10, ancestral=True) > 8 * published).all()


def test_a_network_that_does_not_see_x1_wants_eta_one() -> None:
    """With eta = 0 its images keep a bias however many the calls: x1 steers but the network can't know."""
    process, pairs = Bridge(1000, 0.3), blurred_images()

    def quality(nfe: int, **knobs: Any) -> float:
        return distance_to_images(pairs, *law(pairs, process, bridge_steps(process, nfe), False, **knobs))

    published = quality(100, ancestral=True)
    assert quality(10, eta=1.0, order=2) < published
    assert quality(20, eta=1.0, order=2) < published / 3
    assert quality(5, eta=0.0, order=2) < quality(20, ancestral=True)
    assert quality(400, eta=0.0, order=2) > 5 * published


@pytest.mark.parametrize(("eta", "order"), [(0.0, 1), (0.5, 1), (1.0, 1)])
def test_states_follow_the_marginals_of_the_bridge(eta: float, order: Any) -> None:
    """A denoiser that knows x0 leaves every state distributed as q(x_n | x0, x1)."""
    items, process = 4000, Bridge(100, 1.0)
    x0, x1 = torch.full((items, 1), 0.4, dtype=F64), torch.full((items, 1), -0.8, dtype=F64)

    def oracle(x: Tensor, t: Tensor) -> Tensor:
        return process.target(x0, x, int(torch.searchsorted(process.noise_levels, t[0])))

    rng = ItemNoise(7, "test", range(items))
    path = implicit_bridge(oracle, x1, [0, 20, 45, 80, 99], rng, process=process, eta=eta, order=order)
    torch.testing.assert_close(path.x0, x0)
    for k, n in enumerate(path.steps[1:], start=1):
        tau, v = marginal(process, n)
        z = (path.xs[:, k, 0] - (1 - tau) * 0.4 + tau * 0.8) / math.sqrt(v)
        assert stats.kstest(z.numpy(), "norm").pvalue > 1e-6


def test_known_pixels_of_the_implicit_bridge_carry_its_noise() -> None:
    process, x1 = Bridge(100, 1.0), torch.full((4000, 1), 0.3)
    rng, nothing_missing = ItemNoise(3, "t", range(4000)), torch.zeros(1, 1)
    path = implicit_bridge(half, x1, [0, 50, 99], rng, process=process, mask=nothing_missing)
    z = (path.xs[:, 1, 0] - 0.3) / math.sqrt(marginal(process, 50)[1])
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-6
