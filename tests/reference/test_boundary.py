"""BoundaryDiffusion against recorded runs: tables, steps, boundaries, edits, both network families."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_networks import ddpm_of, iddpm_of
from torch import Tensor
from vectors import Case, assert_close, case, names

from bridgepipe.config.boundary_settings import Edit, Inversion
from bridgepipe.data.pixels import from_uint8
from bridgepipe.methods import boundary_edit, boundary_latents
from bridgepipe.methods.boundary import Boundaries, Boundary, fit, measure
from bridgepipe.methods.boundary_edit import Move
from bridgepipe.methods.boundary_latents import LostH
from bridgepipe.networks.ddpm import timestep_embedding
from bridgepipe.networks.hspace import HSpace
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import CLEAN, Gaussian
from bridgepipe.samplers import State, ancestral, decode, encode


class Recording(HSpace):
    """An h-space that remembers every call."""

    def __init__(self, inner: HSpace) -> None:
        self.inner = inner
        self.seen: list[tuple[float, Tensor | None, Tensor]] = []

    def run(self, x: Tensor, t: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        output, own = self.inner.run(x, t, h)
        self.seen.append((float(t[0]), h, own))
        return output, own

    def times(self) -> list[float]:
        return [t for t, _, _ in self.seen]


def process_of(c: Case) -> Gaussian:
    variance = "learned" if c.config.get("learn_sigma") else "fixed_small"
    return Gaussian(schedules.linear(), variance=variance)


def space_of(c: Case) -> Recording:
    ddpm = c.weights["model"].endswith("ddpm.safetensors")
    return Recording(boundary_latents.space(network_of(c, ddpm), variant="published"))


def network_of(c: Case, ddpm: bool) -> Any:
    # the cases name weights only; their architectures are those of the forward cases
    architecture = case(f"08_boundary/forward_{'ddpm' if ddpm else 'iddpm'}")
    return (ddpm_of if ddpm else iddpm_of)(architecture)


def test_tables() -> None:
    c, covered = case("08_boundary/tables"), []

    def close(key: str, value: Any) -> None:
        assert_close(c, key, value)
        covered.append(f"out.{key}")

    process = Gaussian(schedules.linear(c.config["T"]), variance="fixed_small")
    t, x = torch.arange(1000), torch.zeros(1000, 1, dtype=torch.float64)
    small = process.posterior_log_variance(x, t, t - 1).squeeze(1)
    # at 0 the published table has the logarithm of its floor 1e-20, which multiplies no noise
    small[0] = np.log(1e-20)
    large = Gaussian(process.alpha_bar).log_variance(x, t, t - 1).squeeze(1)
    large[0] = small[1]
    close("betas_f32", process.betas[::20].astype(np.float32))
    close("acp_f32_cumprod", process.alpha_bar[::20].astype(np.float32))
    close("logvar_fixedsmall", small[::20])
    close("logvar_fixedsmall_first3", small[:3])
    close("logvar_fixedlarge", large[::20])
    close("temb", timestep_embedding(torch.tensor([0, 3, 500, 999]), 32))
    for count, last in ((40, 400), (40, 500), (6, 400), (5, 500), (10, 500)):
        close(f"seq_{count}_{last}", np.array(schedules.truncated(last, count)))
    close("seq_uncond_999", np.array(schedules.truncated(999, 999)))
    assert sorted(covered) == sorted(c.outputs)


class OneCall:
    """A denoiser whose decoder gets h."""

    def __init__(self, space: Recording, h: Tensor | None) -> None:
        self.space, self.h = space, h

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.space.run(x, t, self.h)[0]


STEPS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "ddim0_500_375": (500, 375, {"eta": 0.0}),
    "inv_0_125": (0, 125, {}),
    "inv_250_375": (250, 375, {}),
    "eta1_500_375": (500, 375, {"eta": 1.0}),
    "eta05_300_100": (300, 100, {"eta": 0.5}),
    "eta1_0_m1": (0, CLEAN, {"eta": 1.0}),
    "ddpm_500": (500, 375, {}),
    "ddpm_0": (0, CLEAN, {}),
    "eta1_edit_500_375": (500, 375, {"eta": 1.0}),
}


@pytest.mark.parametrize("name", names("08_boundary/denoising_step"))
def test_one_step(name: str) -> None:
    c, covered = case(name), []
    process = process_of(c)
    for key, (t, s, arguments) in STEPS.items():
        space, states = space_of(c), []
        denoiser = OneCall(space, c.tensor("in.edit_h") if "edit" in key else None)
        shared = {"process": process, "observe": states.append, **arguments}
        noise, x = list(c.tensor(f"noise.{key}")), c.tensor("in.x")
        if key.startswith("inv"):
            encode(denoiser, x, [t, s], **shared)
        elif key.startswith("ddpm"):
            ancestral(denoiser, x, [t, s], noise, unit_stride=True, **shared)
        else:
            decode(denoiser, x, [t, s], noise, **shared)
        found = {
            "x": states[0].x,
            "mid_h_mean": space.seen[0][2].mean(dim=(2, 3)),
            "x0_t": states[0].prediction.x0,
        }
        for part, value in found.items():
            if f"out.{key}_{part}" in c.outputs:
                assert_close(c, f"{key}_{part}", value)
                covered.append(f"out.{key}_{part}")
    assert sorted(covered) == sorted(c.outputs)


@pytest.mark.parametrize("solver", ["svc", "gram"])
@pytest.mark.parametrize("name", names("08_boundary/search"))
def test_search(name: str, solver: Any) -> None:
    c, covered = case(name), []

    def close(key: str, value: Any) -> None:
        if f"out.{key}" in c.outputs:
            assert_close(c, key, value)
            covered.append(f"out.{key}")

    process, space = process_of(c), space_of(c)
    how = c.config["t_0"], Inversion(count=c.config["n_inv_step"], variant="published")
    train, test = (
        boundary_latents.invert(space, process, from_uint8(c.arrays[f"in.{split}_u8"]), *how)
        for split in ("train", "test")
    )
    y, truth = c.arrays["in.train_label"], c.arrays["in.test_label"]
    accuracies = []
    for letter in ("h", "z"):
        latents, unseen = getattr(train, letter).flatten(1), getattr(test, letter).flatten(1)
        boundary = fit(latents, y, solver=solver, test=(unseen, truth))
        decided = boundary.decide(unseen.double())
        accuracies.append(boundary.accuracy)
        close(f"train_{letter}", latents[: len(c.arrays[f"out.train_{letter}"])])
        close(f"train_{letter}_norm", latents.norm(dim=1))
        close(f"coef_{letter}", boundary.coef[None])
        close(f"intercept_{letter}", np.array([boundary.offset * boundary.scale]))
        close(f"decision_{letter}_test", decided)
        close(f"pred_{letter}", (decided > 0).long())
        close(f"acc_{letter}", measure(boundary, unseen, truth).accuracy)
    close("printed_accuracy", np.array(accuracies))

    back = Edit(count=c.config["n_inv_step"], variant="published", eta=1.0, relative=False)
    recon = boundary_edit.reconstruct(space, process, train, back)
    close("recon_first", recon[:1])
    close("recon_last", recon[-1:])
    assert sorted(covered) == sorted(c.outputs)


def boundaries_of(c: Case) -> Boundaries:
    """The boundaries of an edit case; those of kind ddpm use the same as those of kind ddim."""
    coefs = case(c.name.replace("_ddpm_ddpm", "_ddpm_ddim").replace("_iddpm_ddpm", "_iddpm_ddim"))
    return Boundaries(*(Boundary.of(coefs.tensor(f"in.boundary_{letter}"), 0.0) for letter in ("z", "h")))


@pytest.mark.parametrize("name", names("08_boundary/edit"))
def test_edit_of_a_photo(name: str) -> None:
    c, covered = case(name), []

    def close(key: str, value: Any) -> None:
        if f"out.{key}" in c.outputs:
            assert_close(c, key, value)
            covered.append(f"out.{key}")

    process, space, both = process_of(c), space_of(c), boundaries_of(c)
    how = Edit(
        count=c.config["n_test_step"],
        variant="published",
        kind=c.config["sample_type"],
        eta=c.config["edit_eta"],
        relative=False,
    )
    x0 = boundary_latents.photo(c.arrays["in.image_u8"], c.config["image_size"])
    close("x0", x0)
    latents = boundary_latents.invert(
        space, process, x0, c.config["t_0"], Inversion(count=c.config["n_inv_step"], variant="published")
    )
    times = space.times()
    close("inv_t", np.array([*zip(times, [*times[1:], float(c.config["t_0"])], strict=True)]))
    close("x_lat", latents.z)
    close("h_lat", latents.h)

    distances = np.linspace(c.config["start"], c.config["end"], c.config["edit_img_number"])
    moved = [boundary_edit.moved(latents, [Move(both, float(d))], how) for d in distances]
    edited_z, edited_h = (torch.cat([getattr(m, letter) for m in moved]) for letter in ("z", "h"))
    close("edit_z_seq", edited_z)
    close("edit_h_seq", edited_h)
    assert both.z is not None
    assert both.h is not None
    close("dist_z_orig", both.z.distance(latents.z)[:, None])
    close("dist_h_orig", both.h.distance(latents.h)[:, None])
    close("dist_z_edit", both.z.distance(edited_z)[:, None])
    close("dist_h_edit", both.h.distance(edited_h)[:, None])

    noise, n = list(c.tensor("noise.all")), how.count
    space.seen.clear()
    edited = boundary_edit.strip(
        space, process, latents, both, distances.tolist(), how, lambda k: noise[k * n : (k + 1) * n]
    )
    close("edited", edited[0])
    first = space.seen[:n]
    grid = [t for t, _, _ in first]
    close("edit_t", np.array([[t, s, how.eta] for t, s in zip(grid, [*grid[1:], -1.0], strict=True)]))
    own = torch.cat([h for _, _, h in first])
    close("k0_mid_h_returned", own)
    # what is handed over, whether the network takes notice or not
    handed = [h for _, h, _ in first if h is not None]
    assert torch.equal(handed[0], moved[0].h)
    assert torch.equal(torch.cat(handed[1:]), own[:-1])
    close("k0_h_used", torch.cat(handed).mean(dim=(2, 3)))

    last = noise[-n:] if how.kind == "ddpm" else None
    close("recon", boundary_edit.reconstruct(space, process, latents, how, last))
    close("recon_eta", np.zeros(n))
    states: list[State] = []
    start = [Move(both, float(distances[0]))]
    boundary_edit.edit(space, process, latents, start, how, noise[:n], states.append)
    close("k0_x", torch.cat([state.x for state in states]))
    assert sorted(covered) == sorted(c.outputs)


def test_the_improved_network_loses_h() -> None:
    c = case("08_boundary/edit_iddpm_ddim")
    assert isinstance(space_of(c).inner, LostH)
    assert not isinstance(space_of(case("08_boundary/edit_ddpm_ddim")).inner, LostH)


def test_unconditional_edit() -> None:
    c, search = case("08_boundary/unconditional_ddpm"), case("08_boundary/search_ddpm")
    process, space = process_of(c), space_of(c)
    both = Boundaries(*(Boundary.of(search.tensor(f"out.coef_{letter}"), 0.0) for letter in ("z", "h")))
    latents = boundary_latents.generate(space, process, c.tensor("in.x_T"), 500, variant="published")
    times = [*space.times(), float(latents.t)]
    assert_close(c, "gen_t_first_last", np.array([*times[:2], *times[-2:], len(times) - 1]))
    assert_close(c, "x_lat", latents.z)
    assert_close(c, "h_lat_mean", latents.h.mean(dim=(2, 3)))

    how = Edit(count=c.config["n_inv_step"], variant="published", eta=1.0, raw_h=True, relative=False)
    distances = [c.config["start"], c.config["end"]]
    moved = [boundary_edit.moved(latents, [Move(both, d)], how) for d in distances]
    assert_close(c, "edit_z_seq", torch.cat([m.z for m in moved]))
    assert_close(c, "edit_h_seq_mean", torch.cat([m.h for m in moved]).mean(dim=(2, 3)))
    noise = list(c.tensor("noise.edit"))
    edited = boundary_edit.strip(
        space, process, latents, both, distances, how, lambda k: noise[5 * k : 5 * k + 5]
    )
    assert_close(c, "edited", edited[0])
    assert len(c.outputs) == 6
