"""The Gaussian process and its loops against recorded runs of guided-diffusion and DDIB."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded import network, points, wrapped
from torch import Tensor
from vectors import assert_close, case, names

from bridgepipe.processes import losses, schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers import ancestral, classifier_gradient, decode, encode, grid, rescaled
from bridgepipe.samplers.denoiser import Network


def linear(steps: str, T: int = 1000, variance: str = "learned_range", **arguments) -> Gaussian:
    process = Gaussian(schedules.linear(T), variance=variance, **arguments)
    return process.respace(schedules.timesteps(T, steps)) if steps else process


def all_steps(process: Gaussian, kind: str = "ddib"):
    """The recorded paths visit every index of a respaced process."""
    return grid(kind, range(process.T), process.T)


@pytest.mark.parametrize("name", names("05_ddib/schedule_"))
def test_schedule(name):
    c = case(name)
    table = getattr(schedules, c.config["noise_schedule"])(c.config["steps"])
    process, index = Gaussian(table), torch.from_numpy(c.arrays["in.index"])
    one, zero = (
        torch.ones(len(index), 1, dtype=torch.float64),
        torch.zeros(len(index), 1, dtype=torch.float64),
    )
    assert_close(c, "num_timesteps", np.int64(process.T))
    assert_close(c, "betas", process.betas[index])
    for key, shift in (("alphas_cumprod", 0), ("alphas_cumprod_prev", -1), ("alphas_cumprod_next", 1)):
        assert_close(c, key, process.alpha_bar_at(index + shift, one).squeeze(1))
    assert_close(c, "sqrt_recip_alphas_cumprod", process.predict_x0(one, index, zero).squeeze(1))
    assert_close(c, "sqrt_recipm1_alphas_cumprod", process.predict_x0(zero, index, -one).squeeze(1))
    assert_close(c, "posterior_mean_coef1", process.posterior_mean(one, zero, index, index - 1).squeeze(1))
    assert_close(c, "posterior_mean_coef2", process.posterior_mean(zero, one, index, index - 1).squeeze(1))
    logs = process.posterior_log_variance(one, index, index - 1).squeeze(1)
    assert_close(c, "posterior_log_variance_clipped", logs)
    assert_close(c, "posterior_variance", torch.where(index > 0, logs.exp(), 0.0))


def test_respacing():
    c = case("05_ddib/respacing")
    for T, text in c.config["pairs"]:
        respaced = schedules.respace(schedules.linear(T), text)
        assert_close(c, f"steps_{T}_{text}", respaced.timesteps)
        assert_close(c, f"map_{T}_{text}", linear(text, T).timesteps)
        assert_close(c, f"betas_{T}_{text}", Gaussian(respaced.alpha_bar).betas)
    cosine = schedules.respace(schedules.cosine(1000), "ddim25")
    assert_close(c, "betas_cosine_1000_ddim25", Gaussian(cosine.alpha_bar).betas)


def test_single_steps():
    c = case("05_ddib/single_steps")
    process = linear("20")
    x, t, slope = c.tensor("in.x"), c.tensor("in.t"), c.tensor("in.fake_grad")
    output = wrapped(c.tensor("in.y"))(x, process.timesteps[t])
    for clip in (True, False):
        posterior, key = process.posterior(x, t, output, clip=clip), f"pmv_clip{int(clip)}"
        assert_close(c, f"{key}_mean", posterior.mean)
        assert_close(c, f"{key}_variance", posterior.variance)
        assert_close(c, f"{key}_log_variance", posterior.log_variance)
        assert_close(c, f"{key}_pred_xstart", posterior.prediction.x0)
    guided = process.predict(x, t, output, clip=True, gradient=slope)
    assert_close(c, "cond_score_pred_xstart", guided.x0)
    assert_close(c, "cond_score_mean", process.posterior_mean(guided.x0, x, t, t - 1))
    noise = c.tensor("noise.ddim_cond_eta05").reshape(x.shape)
    stochastic = process.ode_step(x, t, t - 1, output, clip=True, gradient=slope, eta=0.5, noise=noise)
    assert_close(c, "ddim_cond_eta05", stochastic)
    moved = process.posterior(x, t, output, clip=True, gradient=slope)
    assert_close(c, "cond_mean", moved.mean)
    inner = (t > 0).reshape(-1, 1, 1, 1)
    draw = process.sample(moved, c.tensor("noise.p_sample_cond").reshape(x.shape))
    assert_close(c, "p_sample_cond", torch.where(inner, draw, moved.mean))
    assert_close(c, "rev_sample", process.ode_step(x, t, t + 1, output))
    last = torch.full_like(t, process.T - 1)
    at_last = wrapped(c.tensor("in.y"))(x, process.timesteps[last])
    assert_close(c, "rev_sample_last", process.ode_step(x, last, last + 1, at_last))
    assert_close(c, "q_sample", process.perturb(x, t, slope))


def test_ancestral_and_ddim_with_learned_variance():
    c = case("05_ddib/p_sample_loop_learn_sigma")
    process, denoiser = linear("5"), wrapped(c.tensor("in.y"))
    steps = all_steps(process).decode
    first, *rest = c.tensor("noise.all")
    assert_close(c, "sample", ancestral(denoiser, first, steps, rest, process=process, clip=True).x)
    first = c.tensor("noise.ddim_all")[0]
    assert_close(c, "ddim_sample", decode(denoiser, first, steps, process=process, clip=True).x)


def test_image_translation():
    c = case("05_ddib/image_translate")
    process, asked = Gaussian(schedules.linear(1000), variance="learned_range"), []
    steps = grid("ddib", schedules.timesteps(1000, "8"), 1000)

    def listening(labels: Tensor) -> Network:
        denoiser = wrapped(labels)
        return lambda x, t: (asked.append(int(t)), denoiser(x, t))[1]

    source, target = listening(c.tensor("in.y_source")), listening(c.tensor("in.y_target"))
    guide = classifier_gradient(
        network("clf"), c.tensor("in.y_target"), float(c.tensor("in.classifier_scale"))
    )
    latent = encode(source, c.tensor("in.image"), steps.encode, process=process).x
    assert_close(c, "t_encode", np.array(asked))
    assert_close(c, "latent", latent)
    asked.clear()
    for clip, gradient, key in (
        (True, guide, "decoded_guided_clip"),
        (False, guide, "decoded_guided_noclip"),
        (True, None, "decoded_unguided_clip"),
    ):
        image = decode(target, latent, steps.decode, process=process, clip=clip, gradient=gradient).x
        assert_close(c, key, image)
    assert_close(c, "t_decode", np.array(asked[:8]))
    assert_close(c, "roundtrip_source", decode(source, latent, steps.decode, process=process).x)


SLOW = {"05_ddib/synthetic_cycle_full": pytest.mark.slow}  # 16,000 network calls


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=SLOW.get(n, ())) for n in names("05_ddib/synthetic_cycle")]
)
def test_cycle_of_points(name):
    """Cycles of DDIB, in a process whose vector functions round as in the recorded one.

    MKL's exp and matrix products differ in the last bit from processor to processor, and cycles of up
    to 16,000 calls amplify that beyond the tolerance. It agrees with itself on its common code path.
    """
    environment = {**os.environ, "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}
    code = f"import test_gaussian; test_gaussian.check_cycle({name!r})"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr


def check_cycle(name):
    c = case(name)
    settings = c.config["diffusion"]
    process = linear(settings["timestep_respacing"], 4000, "fixed_large")
    there, back = all_steps(process).encode, all_steps(process).decode
    a, b = points("source"), points("target")
    if settings.get("rescale_timesteps"):
        a, b = rescaled(a, 4000), rescaled(b, 4000)
    latent = encode(a, c.tensor("in.source"), there, process=process).x
    target = decode(b, latent, back, process=process).x
    latent2 = encode(b, target, there, process=process).x
    source2 = decode(a, latent2, back, process=process).x
    assert_close(c, "latent", latent)
    assert_close(c, "target", target)
    assert_close(c, "latent2", latent2)
    assert_close(c, "source2", source2)
    assert_close(c, "cycle_max_l2", (source2 - c.tensor("in.source")).norm(dim=1).max())
    assert_close(c, "timestep_map", process.timesteps)


def test_trajectories_of_points():
    c = case("05_ddib/synthetic_trajectories")
    process, denoiser, path = linear("12", variance="fixed_large"), points("source"), []
    steps = all_steps(process)
    encode(denoiser, c.tensor("in.source"), steps.encode, process=process, observe=path.append)
    assert_close(c, "rev_samples", torch.stack([state.x for state in path]))
    assert_close(c, "rev_pred_xstart", torch.stack([state.prediction.x0 for state in path]))
    latent, noise = path[-1].x, list(c.tensor("noise.ddim_eta07"))
    path.clear()
    back = {"process": process, "clip": True, "observe": path.append}
    decode(points("target"), latent, steps.decode, noise, eta=0.7, **back)
    assert_close(c, "ddim_eta07_samples", torch.stack([state.x for state in path]))
    for variance in ("large", "small"):
        path.clear()
        process = linear("12", variance=f"fixed_{variance}")
        first, *noise = c.tensor(f"noise.p_fixed{variance}")
        ancestral(denoiser, first, steps.decode, noise, process=process, observe=path.append)
        assert_close(c, f"p_fixed{variance}_samples", torch.stack([state.x for state in path]))


def test_losses():
    c = case("05_ddib/training_losses")
    x0, noise, y, t = (c.tensor(f"in.{key}") for key in ("x0", "noise", "y", "t"))

    def check(prefix, process, kind, labels=None, t=t, **keys):
        x_t, net = process.perturb(x0, t, noise), network("adm_a" if labels is None else "adm_b")
        output = net(x_t, process.timesteps[t], *([] if labels is None else [labels]))
        result = losses.gaussian(process, x0, t, noise, output, kind)
        for key in ("loss", "mse", "vb"):
            if f"out.{prefix}_{key}" in c.arrays:
                assert_close(c, f"{prefix}_{key}", getattr(result, key))

    fixed, learned = linear("", variance="fixed_large"), linear("")
    check("mse_fixed", fixed, "mse")
    check("mse_learned", learned, "mse", y)
    check("rescaled_mse_learned", learned, "rescaled_mse", y)
    cosine = Gaussian(schedules.cosine(4000), variance="learned_range")
    check("rescaled_mse_learned_4000cos", cosine, "rescaled_mse", y)
    check("rescaled_mse_learned_spaced50", linear("50"), "rescaled_mse", y, c.tensor("in.t_spaced"))
    check("kl_fixed", fixed, "rescaled_kl")
    check("kl_learned", learned, "rescaled_kl", y)
    check("x0pred_mse", linear("", variance="fixed_large", prediction="x0"), "mse")

    process, t = linear("", 4000, "fixed_large"), c.tensor("in.t_2d")
    x0, noise = c.tensor("in.x0_2d"), c.tensor("in.noise_2d")
    output = points("source")(process.perturb(x0, t, noise), t)
    assert_close(c, "synthetic_mse", losses.gaussian(process, x0, t, noise, output).loss)
