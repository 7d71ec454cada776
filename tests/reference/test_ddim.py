"""Inversion and translation against recorded runs of Diffusion-Models-Implementations' DDIM."""

import numpy as np
import pytest
import torch
from recorded import wrapped
from vectors import assert_close, case, names

from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers import ancestral, decode, encode, grid


def test_schedules():
    c = case("07_dmi_ddim/schedules")
    for spacing, T, count in c.config["pairs"]:
        text = "" if spacing == "none" else f"{spacing} {count}"
        assert_close(c, f"seq_{spacing}_{T}_{count}", np.array(schedules.timesteps(T, text)))
    for name, table in (
        ("linear", schedules.linear()),
        ("quad", schedules.scaled_linear()),
        ("const", schedules.constant()),
        ("cosine", schedules.cosine()),
    ):
        assert_close(c, f"betas_{name}_every10", Gaussian(table).betas[::10])
    assert_close(c, "alphas_cumprod_f32", schedules.linear()[::10].astype(np.float32))


@pytest.mark.parametrize("name", names("07_dmi_ddim/invert_translate"))
def test_invert_and_translate(name):
    c = case(name)
    process, path = Gaussian(schedules.linear(1000), variance="learned_range"), []
    indices = schedules.timesteps(1000, f"{c.config['respace_type']} {c.config['respace_steps']}")
    steps, clip = grid("dmi", indices, 1000), c.config["clip_denoised"]
    assert_close(c, "respaced_seq", np.array(indices))

    source, target = wrapped(c.tensor("in.yA")), wrapped(c.tensor("in.yB"))
    latent = encode(
        source, c.tensor("in.image"), steps.encode, process=process, clip=clip, observe=path.append
    )
    assert latent.calls == len(indices) - 1
    assert_close(c, "inv_samples", torch.cat([state.x for state in path]))
    assert_close(c, "inv_t", np.array(steps.encode[:-1]))
    path.clear()
    decode(target, latent.x, steps.decode, process=process, clip=clip, observe=path.append)
    assert_close(c, "samples", torch.cat([state.x for state in path]))
    assert_close(c, "sample_t", np.array(steps.decode[:-1]))
    assert_close(c, "pred_x0_last", path[-1].prediction.x0)
    assert_close(c, "pred_eps_first", path[0].prediction.eps)


def test_eta_and_ancestral():
    c = case("07_dmi_ddim/eta_and_ddpm")
    process = Gaussian(schedules.linear(1000), variance="learned_range")
    steps = grid("dmi", schedules.timesteps(1000, c.config["respace"]), 1000).decode
    denoiser = wrapped(c.tensor("in.y"))
    first, *noise = c.tensor("noise.all")
    sample = decode(denoiser, first, steps, noise, process=process, eta=c.config["eta"], clip=True)
    assert_close(c, "sample", sample.x)
    first, *noise = c.tensor("noise.ddpm_all")
    sample = ancestral(denoiser, first, steps, noise, process=process, clip=True)
    assert_close(c, "ddpm_learned_range", sample.x)
