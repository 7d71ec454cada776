"""I2SB's bridge, its training step and its sampler, on the recorded noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from vectors import Case, assert_close, case, manifest, names, weights

from bridgepipe.networks.adm import UNet
from bridgepipe.processes import schedules
from bridgepipe.processes.bridge import TABLES, Bridge, restoration_loss
from bridgepipe.samplers import bridge, bridge_steps
from bridgepipe.samplers.bridge_loops import Path
from bridgepipe.samplers.denoiser import Network

TRAJECTORIES = names("03_i2sb/traj")


def network(name: str) -> nn.Module:
    entry = next(c for c in manifest()["cases"] if c["case"] == f"01_adm/{name}")
    net = UNet(**{k: v for k, v in entry["config"].items() if k != "cls"})
    net.load_state_dict(weights(f"01_adm/{name}.safetensors"))
    return net.eval()


@pytest.mark.parametrize("name", names("03_i2sb/schedule"))
def test_schedule(name: str) -> None:
    c = case(name)
    process = Bridge(**c.config)
    for table in TABLES:
        assert getattr(process, table).dtype == torch.float32
        assert_close(c, table, getattr(process, table))
    assert_close(c, "noise_levels", process.network_time(torch.arange(process.interval)))
    half = c.arrays["const.betas_half_f64"][: process.interval // 2]
    assert schedules.i2sb(c.config["interval"], c.config["beta_max"])[: len(half)] == pytest.approx(
        half, rel=1e-12
    )


def test_space_indices() -> None:
    c = case("03_i2sb/space_indices")
    for length, count in c.config["pairs"]:
        assert_close(c, f"space_{length}_{count}", torch.tensor(schedules.space_indices(length, count)))


def test_pointwise() -> None:
    c = case("03_i2sb/pointwise")
    x0, x1, n, output = (c.tensor(f"in.{key}") for key in ("x0", "x1", "step", "net_out"))
    xt = c.tensor("out.xt")
    for suffix, process in {"": Bridge(**c.config), "_ode": Bridge(**c.config, ot_ode=True)}.items():
        x_n = process.perturb(x0, x1, n, c.tensor("noise.q_sample"))
        assert_close(c, f"xt{suffix}", x_n)
        assert_close(c, f"label{suffix}", process.target(x0, x_n, n))
        for m, later in [(0, 200), (400, 600), (799, 999), (0, 1), (998, 999)]:
            recorded = c.tensor(f"noise.post_{m}_{later}")
            noise = recorded[0] if len(recorded) else torch.full_like(x0, 9.0)
            result = process.posterior(xt, later, m, x0, noise)
            assert_close(c, f"post{suffix}_{m}_{later}", result)
            batch = torch.full((len(x0),), m), torch.full((len(x0),), later)
            assert_close(c, f"post{suffix}_{m}_{later}", process.posterior(xt, batch[1], batch[0], x0, noise))
    process = Bridge(**c.config)
    assert_close(c, "pred_x0", process.predict_x0(xt, n, output))
    assert_close(c, "pred_x0_clip", process.predict_x0(xt, n, output, clip=True))


def test_training_step() -> None:
    c = case("03_i2sb/training_step")
    process = Bridge(c.config["interval"], c.config["beta_max"])
    x0, x1, n, mask = (c.tensor(f"in.{key}") for key in ("x0", "x1", "step", "mask"))
    x_n = process.perturb(x0, x1, n, c.tensor("noise.q_sample"))
    with torch.no_grad():
        output = network(c.config["net"])(x_n, process.network_time(n))
    target = process.target(x0, x_n, n)
    assert_close(c, "t_fed", process.network_time(n))
    assert_close(c, "xt", x_n)
    assert_close(c, "pred", output)
    assert_close(c, "label", target)
    assert_close(c, "loss", restoration_loss(output, target).mean())
    assert_close(c, "loss_masked", restoration_loss(output, target, mask).mean())


class Recorder:
    """A denoiser that remembers what it was asked."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.times, self.outputs = net, [], []  # type: ignore[var-annotated]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.times.append(t[0])
        self.outputs.append(self.net(x, t))
        return self.outputs[-1]


def replay(c: Case, denoiser: Network) -> tuple[Bridge, Path]:
    runner, sampling = dict(c.config["runner"]), dict(c.config["sampling"])
    runner.pop("cond_x1", None)
    process = Bridge(**runner)
    steps = bridge_steps(process, sampling.pop("nfe") or process.interval - 1)
    sampling["clip"] = sampling.pop("clip_denoise")
    optional = {key: c.tensor(f"in.{key}") for key in ("mask", "cond") if f"in.{key}" in c.arrays}
    noise = list(c.tensor("noise.all"))
    x1 = c.tensor("in.x1")
    return process, bridge(denoiser, x1, steps, noise, process=process, **optional, **sampling)


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_trajectory(name: str) -> None:
    c = case(name)
    denoiser = Recorder(network(c.config["net"]))
    process, path = replay(c, denoiser)
    times = torch.stack(denoiser.times)
    assert_close(c, "xs", path.xs)
    assert_close(c, "pred_x0s", path.x0s)
    assert_close(c, "net_t", times)
    assert_close(c, "net_steps", torch.searchsorted(process.noise_levels, times))
    if "out.net_out_first" in c.outputs:
        assert_close(c, "net_out_first", denoiser.outputs[0])
    assert torch.equal(path.x0, path.xs[:, 0])
    assert path.steps[0] == 0


def first_channels(x: Tensor, t: Tensor) -> Tensor:
    return x[:, :3]


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_the_recorded_noise_is_just_enough(name: str) -> None:
    c = case(name)
    replay(c, first_channels)
    noise = c.arrays["noise.all"]
    c.arrays["noise.all"] = noise[:-1]
    if len(noise):
        with pytest.raises(ValueError, match="used up"):
            replay(c, first_channels)
