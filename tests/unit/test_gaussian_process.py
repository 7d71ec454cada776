"""The Gaussian process, its losses and schedules, the power spectrum and the choice of times."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.closed_form import ONE
from bridgepipe import artifacts
from bridgepipe.errors import UserError
from bridgepipe.processes import losses, schedules, spectrum
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.runtime.rng import ItemNoise
from bridgepipe.samplers import ancestral, decode, encode, grid

PUBLISHED = {"c1": 1.59, "c2": 0.0086, "m": 2.0}


def images(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=["pixel", "fourier", "fourier-sized"])
def process(request) -> Gaussian:
    if request.param == "fourier-sized":
        return Gaussian(schedules.shortest_path(50, (8, 6), **PUBLISHED, variant="exact"), basis="fourier")
    return Gaussian(schedules.linear(50), basis=request.param)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", [0, 20, torch.tensor([0, 49, 7])], ids=["0", "20", "tensor"])
def test_prediction_inverts_perturb(process, prediction, t):
    process = Gaussian(process.alpha_bar, process.basis, prediction)
    x0, noise = images(3, 2, 8, 6), images(3, 2, 8, 6, seed=1)
    x_t, output = process.perturb(x0, t, noise), process.target(x0, t, noise)
    found = process.predict(x_t, t, output)
    torch.testing.assert_close(found.x0, x0, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.eps, noise, rtol=0, atol=1e-8)
    torch.testing.assert_close(process.ode_step(x_t, t, t, output), x_t, rtol=0, atol=1e-8)


def test_clipping_keeps_x_t_and_bounds_x0(process):
    x_t, output = images(2, 1, 8, 6), images(2, 1, 8, 6, seed=1)
    p = process.predict(x_t, 30, output, clip=True)
    assert float(p.x0.abs().max()) <= 1
    torch.testing.assert_close(process.move(p, 30, 30), x_t, rtol=0, atol=1e-10)


def test_perturb_keeps_white_noise_white(process):
    noise = images(2000, 1, 8, 6)
    x_t = process.perturb(torch.zeros_like(noise), 49, noise)
    power = spectrum.power_spectrum([x_t])
    expected = (
        np.broadcast_to(1 - process.alpha_bar[49], (1, 8, 6))[0] if process.alpha_bar.ndim > 1 else None
    )
    expected = np.full((8, 6), 1 - process.alpha_bar[49]) if expected is None else expected
    np.testing.assert_allclose(power, expected, rtol=0.2)


def test_ends_of_the_process(process):
    x0, eps = images(2, 1, 8, 6), images(2, 1, 8, 6, seed=1)
    x_t = process.perturb(x0, 20, eps)
    found = process.predict(x_t, 20, eps)
    torch.testing.assert_close(process.move(found, 20, -1), found.x0, rtol=0, atol=1e-12)
    torch.testing.assert_close(process.move(found, 20, process.T), found.eps, rtol=0, atol=1e-12)


def test_posterior_is_bayes(process):
    """q(x_s | x_t, x0) has the mean and variance that conditioning the joint normal gives."""
    t, s = 30, 10
    ab_t, ab_s = process.alpha_bar[t], process.alpha_bar[s]
    variance = 1 / (1 / (1 - ab_s) + (ab_t / ab_s) / (1 - ab_t / ab_s))
    small = Gaussian(process.alpha_bar, process.basis, variance="fixed_small")
    x0, eps = images(2, 1, 8, 6), images(2, 1, 8, 6, seed=1)
    x_t = process.perturb(x0, t, eps)
    posterior = small.posterior(x_t, t, eps, s)
    torch.testing.assert_close(
        posterior.variance, torch.as_tensor(variance).expand(posterior.variance.shape), rtol=1e-10, atol=0
    )
    forward = small.mix(
        (torch.as_tensor(variance * np.sqrt(ab_s) / (1 - ab_s)), x0),
        (torch.as_tensor(variance * np.sqrt(ab_t / ab_s) / (1 - ab_t / ab_s)), x_t),
    )
    torch.testing.assert_close(posterior.mean, forward, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_spectrum_makes_spd_ddpm(dtype):
    """All of training and sampling agrees with DDPM to the rounding of the FFT."""
    T, shape = 40, (2, 3, 8, 6)
    table = schedules.shortest_path(T, (8, 6), c1=0.4, c2=0.01, m=0.0, variant="exact")
    spd, ddpm = Gaussian(table, basis="fourier"), Gaussian(table[:, 0, 0, 0])
    limit = 1e-4 if dtype == torch.float32 else 1e-11
    denoiser = lambda x, t: 0.9 * torch.tanh(x)  # noqa: E731
    x, eps = images(*shape, dtype=dtype), images(*shape, seed=1, dtype=dtype)
    torch.testing.assert_close(spd.perturb(x, 20, eps), ddpm.perturb(x, 20, eps), rtol=0, atol=limit)
    steps = grid("ddib", range(T), T)

    def everything(process):
        draws = [images(*shape, seed=2 + i, dtype=dtype) for i in range(T)]
        yield encode(denoiser, x, steps.encode, process=process).x
        for solver in ("ddim", "heun", "multistep2", "multistep3", "unipc3"):
            yield decode(denoiser, eps, steps.decode, process=process, solver=solver, clip=True).x
        yield decode(denoiser, eps, list(range(T - 1, -1, -3)), process=process, solver="obelm").x
        yield ancestral(denoiser, eps, steps.decode, draws, process=process).x

    for ours, theirs in zip(everything(spd), everything(ddpm), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=limit * float(theirs.abs().max()))


@pytest.mark.parametrize("size", [8, (8, 6), (5, 9)])
@pytest.mark.parametrize("variant", ["published", "exact"])
def test_shortest_path_ends_near_the_data_and_near_noise(size, variant):
    table = schedules.shortest_path(100, size, **PUBLISHED, variant=variant)
    height, width = (size, size) if isinstance(size, int) else size
    assert table.shape == (100, 1, height, width)
    assert (np.diff(table, axis=0) < 0).all()
    mirrored = np.roll(table[..., ::-1, ::-1], (1, 1), axis=(-2, -1))
    np.testing.assert_allclose(table, mirrored, rtol=1e-5)  # real images stay real
    assert table[0].max() < 1
    assert table[-1].max() < 0.05


def test_shortest_path_is_the_geodesic():
    """Along it the variance of a frequency is S^(t/T): straight in log variance."""
    T, S = 1000, 7.0
    table = schedules.from_spectrum(torch.full((2, 2), S, dtype=torch.float64), T)[:, 0, 0, 0]
    variance = table * S + 1 - table
    np.testing.assert_allclose(np.diff(np.log(variance)), np.diff(np.log(variance)).mean(), rtol=1e-6)
    at_one = schedules.from_spectrum(torch.ones(2, 2, dtype=torch.float64), T)[:, 0, 0, 0]
    np.testing.assert_allclose(at_one, 1 - np.linspace(1, T - 1, T) / T, rtol=1e-9)


@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
@pytest.mark.parametrize("law", [(1.59, 0.0086, 2.0), (30.0, 1.5, 2.6)])
def test_fit_finds_the_power_law(size, law):
    k = torch.from_numpy(schedules.radial_frequency(size))
    power = schedules.power_law(k, *law).numpy()
    np.testing.assert_allclose(spectrum.fit(power), law, rtol=1e-3)
    noisy = power * np.exp(0.1 * np.random.default_rng(0).standard_normal(power.shape))
    found = spectrum.fit_power_law(noisy)
    np.testing.assert_allclose([found.c1, found.m], [law[0], law[2]], rtol=0.2)
    assert found.residual == pytest.approx(0.1, rel=0.2)


def test_exponent_of_natural_images():
    k = torch.from_numpy(schedules.radial_frequency((12, 20)))
    power = schedules.power_law(k.clamp(min=0.1), 30.0, 1e-12, 2.0).numpy()
    assert spectrum.exponent(power) == pytest.approx(spectrum.NATURAL, abs=1e-9)
    rings, mean = spectrum.radial_mean(power)
    assert rings.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(mean, 30 / rings**2, rtol=0.15)


def test_spectrum_of_patches_tells_the_exponent_of_every_photograph(tmp_path):
    from bridgepipe.cli.train import spectrum as verb
    from bridgepipe.datasets import prepare

    classes = {"a": ["rocket", "camera", "coffee", "china"]}
    how = {"size": 32, "stride": 100, "scales": [0.5]}
    prepare("sample-photos", tmp_path, patches=how, classes=classes, progress=False)
    verb(tmp_path / "train.lmdb", tmp_path / "s.json", tmp_path / "s.png")
    told = artifacts.read_json(tmp_path / "s.json")
    assert list(told["exponents"]) == ["rocket", "camera"]
    rocket, camera = told["exponents"].values()
    half = 12.7062 * abs(rocket - camera) / 2  # Student's factor of one degree of freedom
    assert told["exponent"] == pytest.approx((rocket + camera) / 2)
    assert told["exponent_low"] == pytest.approx((rocket + camera) / 2 - half, rel=1e-4)
    assert told["exponent_high"] == pytest.approx((rocket + camera) / 2 + half, rel=1e-4)
    assert told["exponent_n"] == 2
    assert 1.5 < rocket < camera < 4


def test_power_spectrum_of_images_with_a_known_one():
    size = (8, 6)
    wanted = schedules.power_law(torch.from_numpy(schedules.radial_frequency(size)), 2.0, 0.5, 2.0)
    filtered = torch.fft.ifft2(wanted.sqrt() * torch.fft.fft2(images(4000, 1, *size))).real
    power = spectrum.power_spectrum([filtered[:1000], filtered[1000:]])
    np.testing.assert_allclose(power, wanted, rtol=0.15)
    with pytest.raises(UserError, match="no images"):
        spectrum.power_spectrum([])


@pytest.mark.parametrize("T", [1000, 4000])
@pytest.mark.parametrize("count", [2, 25, 100, 1000])
def test_log_snr_grid_is_distinct_and_reaches_both_ends(T, count):
    times = schedules.uniform_log_snr(schedules.linear(T), count)
    assert len(times) == count
    assert (times[0], times[-1]) == (0, T - 1)
    assert all(s > t for t, s in pairwise(times))


@pytest.mark.parametrize(
    "bad",
    ["ddim501", "1001", "0", "uniform 0", "sideways 5", "ten", "uniform-linspace 2000", "ddim", "quad"],
)
def test_unknown_spellings_of_steps(bad):
    with pytest.raises(UserError):
        schedules.timesteps(1000, bad)


def test_truncated_times():
    assert schedules.truncated(500, 40)[:4] == [0, 12, 25, 38]
    assert schedules.truncated(500, 40)[-2:] == [487, 500]


def test_bad_processes():
    table = schedules.linear(30)
    for arguments in ({"basis": "wavelet"}, {"prediction": "x1"}, {"variance": "large"}):
        with pytest.raises(UserError, match="take one of"):
            Gaussian(table, **arguments)
    with pytest.raises(UserError, match="1 - beta"):
        Gaussian(np.array([0.5, 1.5]))
    with pytest.raises(UserError, match="more steps"):
        schedules.linear(20)  # whose last beta is 1
    with pytest.raises(UserError, match="fixed"):
        Gaussian(table, basis="fourier", variance="learned_range")


def test_learned_variances():
    x, half = images(2, 3, 4, 4), images(2, 3, 4, 4, seed=1)
    output = torch.cat([x, half], dim=1)
    learned = Gaussian(schedules.linear(30), variance="learned")
    torch.testing.assert_close(learned.log_variance(x, 5, 4, output), half)
    ranged = Gaussian(schedules.linear(30), variance="learned_range")
    for value, name in ((1.0, "fixed_large"), (-1.0, "fixed_small")):
        fixed = Gaussian(schedules.linear(30), variance=name).log_variance(x, 5, 4)
        found = ranged.log_variance(x, 5, 4, torch.cat([x, torch.full_like(x, value)], dim=1))
        torch.testing.assert_close(found, fixed.expand_as(found))
    with pytest.raises(ValueError, match="twice the channels"):
        ranged.log_variance(x, 5, 4, x)


def test_bound_vanishes_for_the_true_posterior():
    process = Gaussian(schedules.linear(100), variance="fixed_small")
    x0, noise = images(4, 1, 4, 4).clamp(-1, 1), images(4, 1, 4, 4, seed=1)
    t = torch.tensor([1, 10, 50, 99])
    bound = losses.gaussian(process, x0, t, noise, noise, "kl")
    torch.testing.assert_close(bound.loss, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-9)
    worse = losses.gaussian(process, x0, t, noise, 0.9 * noise, "kl")
    assert bool((worse.loss > 0).all())


def test_grey_levels_share_all_probability():
    levels = (torch.arange(256, dtype=torch.float64) / 127.5 - 1)[:, None]
    log_p = losses.discretized_log_likelihood(
        levels, torch.tensor(0.13, dtype=torch.float64), torch.tensor(math.log(0.2), dtype=torch.float64)
    )
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-8)
    exact = stats.norm.cdf(levels[140] + losses.BIN, 0.13, 0.2) - stats.norm.cdf(
        levels[140] - losses.BIN, 0.13, 0.2
    )
    assert float(log_p[140].exp()) == pytest.approx(float(exact[0]), rel=2e-3)


def test_kl_is_torchs():
    m1, m2, v1, v2 = images(4, 3), images(4, 3, seed=1), images(4, 3, seed=2), images(4, 3, seed=3)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(m1, (v1 / 2).exp()), torch.distributions.Normal(m2, (v2 / 2).exp())
    )
    torch.testing.assert_close(losses.normal_kl(m1, v1, m2, v2), theirs)


def test_hybrid_loss_trains_the_mean_by_mse_alone():
    process = Gaussian(schedules.linear(30), variance="learned_range")
    x0, noise, t = images(2, 1, 4, 4).clamp(-1, 1), images(2, 1, 4, 4, seed=1), torch.tensor([3, 15])
    mean, share = images(2, 1, 4, 4, seed=2).requires_grad_(), images(2, 1, 4, 4, seed=3).requires_grad_()
    result = losses.gaussian(process, x0, t, noise, torch.cat([mean, share], dim=1), "rescaled_mse")
    result.loss.sum().backward()
    torch.testing.assert_close(mean.grad, 2 * (mean.detach() - noise) / 16)
    assert float(share.grad.abs().sum()) > 0
    with pytest.raises(UserError, match="mse"):
        losses.gaussian(process, x0, t, noise, noise, "huber")


def test_loss_aware_times_follow_the_losses():
    sampler, rng = losses.LossAware(4, history=2, floor=0.1), ItemNoise(0, "time", range(8000))
    t, weights = sampler.sample(rng)
    assert set(t.tolist()) == {0, 1, 2, 3}
    assert bool((weights == 1).all())  # not yet warm
    for _ in range(2):
        sampler.update(torch.arange(4), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    expected = 0.9 * np.array([0.1, 0.2, 0.3, 0.4]) + 0.1 / 4
    np.testing.assert_allclose(sampler.probabilities, expected)
    t, weights = sampler.sample(rng)
    assert stats.chisquare(np.bincount(t, minlength=4), expected * len(t)).pvalue > 1e-5
    losses_of = torch.tensor([1.0, 2.0, 3.0, 4.0])[t]
    assert float((weights * losses_of).mean()) == pytest.approx(2.5, rel=0.05)  # unbiased

    again = losses.LossAware(4, history=2, floor=0.1)
    again.load_state_dict(sampler.state_dict())
    sampler.update(torch.tensor([0]), torch.tensor([9.0]))
    np.testing.assert_allclose(again.probabilities, expected)
    assert sampler.probabilities[0] > expected[0]


def test_uniform_times():
    t, weights = losses.Uniform(7).sample(ItemNoise(0, "time", range(2000)))
    assert stats.chisquare(np.bincount(t, minlength=7)).pvalue > 1e-5
    assert bool((weights == 1).all())


def test_quadratic_times_are_squares_of_uniform_ones():
    t, weights = losses.Quadratic(10_000).sample(ItemNoise(0, "time", range(4000)))
    assert 0 <= int(t.min()) < int(t.max()) < 10_000
    assert stats.kstest(((t + 0.5) / 10_000).sqrt(), "uniform").statistic < 0.03
    assert bool((weights == 1).all())


def test_respaced_process_is_the_same_process():
    full, indices = Gaussian(schedules.linear(100)), [0, 30, 60, 99]
    short = full.respace(indices)
    x, output = images(2, 2), images(2, 2, seed=1)
    torch.testing.assert_close(
        short.posterior(x, 2, output).mean, full.posterior(x, 60, output, s=30).mean, rtol=0, atol=1e-12
    )
    whole = decode(ONE.denoiser(full), x, [99, 60, 30, 0, -1], process=full).x
    told = decode(ONE.denoiser(full), x, [3, 2, 1, 0, -1], process=short).x
    torch.testing.assert_close(whole, told, rtol=0, atol=1e-12)
