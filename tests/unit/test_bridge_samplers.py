"""The bridge and its samplers: shapes, masks, precision, draws, steps and bad input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bridgepipe.errors import UserError
from bridgepipe.processes.bridge import Bridge, restoration_loss
from bridgepipe.runtime.rng import ItemNoise
from bridgepipe.samplers import Path, bridge, bridge_steps, implicit_bridge

F64 = torch.float64
SOLVERS = ("multistep", "midpoint", "heun")
BY_SOLVER = [partial(implicit_bridge, order=2, solver=solver) for solver in SOLVERS]


# shapes, masks, precision, noise -----------------------------------------------------------------------


def half(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * x


@pytest.mark.parametrize("sampler", [bridge, implicit_bridge, *BY_SOLVER])
@pytest.mark.parametrize("shape", [(4,), (3, 5, 7), (1, 2, 3, 4)])
def test_any_shape_and_both_precisions(sampler: Callable[..., Path], shape: tuple[int, ...]) -> None:
    process = Bridge(20)
    for dtype in (torch.float32, F64):
        x1 = torch.randn(2, *shape, generator=torch.manual_seed(0)).to(dtype)
        path = sampler(
            half, x1, bridge_steps(process, 4), ItemNoise(0, "t", [0, 1]), process=process, log_count=3
        )
        assert path.x0.shape == x1.shape
        assert path.xs.shape == path.x0s.shape == (2, len(path.steps), *shape)
        assert 1 < len(path.steps) <= 3
        assert path.x0.dtype == path.xs.dtype == dtype


@pytest.mark.parametrize("sampler", [bridge, implicit_bridge, *BY_SOLVER])
def test_an_item_does_not_depend_on_its_batch(sampler: Callable[..., Path]) -> None:
    process, x1 = Bridge(20), torch.randn(5, 3, 4, 4, generator=torch.manual_seed(0))

    def run(items: list[int]) -> Tensor:
        rng = ItemNoise(0, "t", items)
        return sampler(half, x1[items], bridge_steps(process, 4), rng, process=process).x0

    assert torch.equal(run([0, 1, 2, 3, 4])[[3]], run([3]))


@pytest.mark.parametrize("sampler", [bridge, implicit_bridge])
def test_a_network_in_low_precision_leaves_the_state_in_float32(sampler: Callable[..., Path]) -> None:
    process, x1 = Bridge(20), torch.randn(2, 3, 4, 4, generator=torch.manual_seed(0))
    layer = torch.nn.Conv2d(3, 3, 1)

    def run(**autocast: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, **autocast):
            rng = ItemNoise(0, "t", [0, 1])
            return sampler(lambda x, t: layer(x), x1, bridge_steps(process, 4), rng, process=process).x0

    low, full = run(), run(enabled=False)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, full, atol=0.02, rtol=0)


@pytest.mark.parametrize("ot_ode", [False, True])
def test_exact_inpainting_returns_the_known_pixels(ot_ode: bool) -> None:
    process, steps = Bridge(20, ot_ode=ot_ode), [0, 5, 12, 19]
    x1 = torch.randn(2, 3, 4, 4, generator=torch.manual_seed(0))
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 1:3, 1:3] = 1
    known = mask.expand_as(x1) == 0

    def run(sampler: Callable[..., Path], **knobs: Any) -> Path:
        rng = ItemNoise(0, "t", [0, 1])
        return sampler(half, x1, steps, rng, process=process, mask=mask, clip=True, **knobs)

    implicit: list[dict[str, Any]] = [{}, *({"order": 2, "solver": s} for s in SOLVERS), {"order": 3}]
    paths = [run(bridge, variant="exact"), *(run(implicit_bridge, **knobs) for knobs in implicit)]
    assert all(torch.equal(path.x0[known], x1[known]) for path in paths)
    assert all(not torch.equal(path.x0[~known], x1[~known]) for path in paths)
    published = run(bridge, variant="published")
    assert torch.equal(published.x0[known], x1[known]) == ot_ode


def test_draws() -> None:
    """How many draws each sampler makes: none too many, none when the bridge has no noise."""
    x1, mask, steps = torch.zeros(1, 2), torch.ones(1, 2), [0, 5, 12, 19]

    def draws(sampler: Callable[..., Path], ot_ode: bool = False, **knobs: Any) -> int:
        noise = iter([torch.ones(1, 2)] * 20)

        class Counter:
            def normal(self, shape: Sequence[int]) -> Tensor:
                return next(noise)

        sampler(half, x1, steps, Counter(), process=Bridge(20, ot_ode=ot_ode), **knobs)
        return 20 - len(list(noise))

    assert draws(bridge) == 2
    assert draws(bridge, mask=mask) == 1 + 2 + 3
    assert draws(bridge, mask=mask, variant="exact") == 2 + 2
    assert draws(bridge, ot_ode=True) == 0
    assert draws(bridge, ot_ode=True, mask=mask) == 1
    assert draws(implicit_bridge, mask=mask) == 1
    assert all(draws(implicit_bridge, order=2, solver=solver) == 1 for solver in SOLVERS)
    assert draws(implicit_bridge, eta=0.5) == draws(implicit_bridge, eta=1.0) == 2
    assert draws(implicit_bridge, ot_ode=True, mask=mask) == 0


@pytest.mark.parametrize("nfe", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_calls_the_network_once_a_step_of_the_path(nfe: int, solver: Any) -> None:
    """However its calls are shared out among longer steps, never at the data, and down to it."""
    process, called, x1 = Bridge(20), [], torch.ones(1, 2)
    steps = bridge_steps(process, nfe)

    def network(x: Tensor, t: Tensor) -> Tensor:
        called.append(int(torch.searchsorted(process.noise_levels, t[0])))
        return 0.1 * x

    noise = [torch.zeros(1, 2)]
    path = implicit_bridge(network, x1, steps, noise, process=process, order=2, solver=solver)
    assert len(called) == nfe
    assert 0 not in called
    assert called[0] == 19
    assert path.steps[0] == 0
    if solver != "heun":
        assert called == steps[:0:-1]


def test_a_time_per_item_equals_one_time() -> None:
    process, x = Bridge(20), torch.randn(3, 2, generator=torch.manual_seed(0))
    n, m = torch.tensor([3, 7, 19]), torch.tensor([0, 4, 18])
    noise = torch.randn(3, 2)
    for i in range(3):
        one, k, j = slice(i, i + 1), int(n[i]), int(m[i])
        for many, single in [
            (process.perturb(x, 2 * x, n, noise), process.perturb(x[one], 2 * x[one], k, noise[one])),
            (process.target(x, 2 * x, n), process.target(x[one], 2 * x[one], k)),
            (process.predict_x0(x, n, noise), process.predict_x0(x[one], k, noise[one])),
            (process.posterior(x, n, m, -x, noise), process.posterior(x[one], k, j, -x[one], noise[one])),
        ]:
            torch.testing.assert_close(many[one], single, rtol=0, atol=1e-7)
    assert torch.equal(process.network_time(n)[2], process.network_time(19))


def test_target_and_prediction_are_inverse() -> None:
    process, x0, x_n = Bridge(20), torch.tensor([[0.5]]), torch.tensor([[-2.0]])
    torch.testing.assert_close(process.predict_x0(x_n, 7, process.target(x0, x_n, 7)), x0)
    assert process.predict_x0(x_n, 7, torch.zeros(1, 1), clip=True).item() == -1


def test_the_mask_weighs_the_loss_but_not_its_mean() -> None:
    output, target, mask = torch.ones(1, 4), torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]])
    assert restoration_loss(output, target).item() == 1
    assert restoration_loss(output, target, mask).item() == 0.25


# steps and bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", ["uniform", "angle", "log_snr"])
@pytest.mark.parametrize("interval", [20, 1000])
def test_steps_ascend_from_end_to_end(interval: int, spacing: Any) -> None:
    process = Bridge(interval)
    for nfe in (1, 2, 5, 19, interval - 1):
        steps = bridge_steps(process, nfe, spacing)
        assert len(steps) == nfe + 1
        assert (steps[0], steps[-1]) == (0, interval - 1)
        assert all(a < b for a, b in pairwise(steps))


def test_log_snr_steps_are_even_in_it() -> None:
    process = Bridge(1000)
    snr = np.log(1 / np.tan(process.angle()[bridge_steps(process, 10, "log_snr")[:-1]]))
    np.testing.assert_allclose(np.diff(snr)[1:-1], np.diff(snr).mean(), rtol=0.25)


def test_bad_input_is_told_in_one_line() -> None:
    process, x1 = Bridge(20), torch.zeros(1, 2)
    noise = [x1] * 9
    bad: list[tuple[Callable[[], Any], str]] = [
        (lambda: Bridge(21), "interval is 21"),
        (lambda: Bridge(0), "interval is 0"),
        (lambda: Bridge(beta_max=0.0), "beta_max is 0"),
        (lambda: Bridge(t0=1.0, T=0.5), "t0 is 1"),
        (lambda: bridge_steps(process, 0), "nfe is 0"),
        (lambda: bridge_steps(process, 20), "nfe is 20"),
        (lambda: bridge_steps(process, 5, "cosine"), "unknown spacing 'cosine'"),  # type: ignore[arg-type]
        (lambda: bridge(half, x1, [0, 5], noise, process=process), "steps"),
        (lambda: bridge(half, x1, [19, 0], noise, process=process), "steps"),
        (lambda: bridge(half, x1, [0, 19], noise, process=process, variant="best"), "variant"),  # type: ignore[arg-type]
        (lambda: implicit_bridge(half, x1, [0, 19], noise, process=process, eta=-1.0), "eta is -1"),
        (lambda: implicit_bridge(half, x1, [0, 19], noise, process=process, eta=0.5, order=2), "eta is 0.5"),
        (
            lambda: implicit_bridge(half, x1, [0, 19], [], process=Bridge(20, ot_ode=True), eta=1.0),
            "eta is 1",
        ),
        (lambda: implicit_bridge(half, x1, [0, 19], noise, process=process, order=4), "order is 4"),  # type: ignore[arg-type]
        (lambda: implicit_bridge(half, x1, [0, 19], noise, process=process, eta=1.0, order=3), "at order 3"),
        (
            lambda: implicit_bridge(half, x1, [0, 19], noise, process=process, solver="heun"),
            "heun of order 1",
        ),
        (
            lambda: implicit_bridge(half, x1, [0, 19], noise, process=process, solver="euler"),  # type: ignore[arg-type]
            "unknown solver 'euler'",
        ),
    ]
    for call, message in bad:
        with pytest.raises(UserError, match=message):
            call()
    with pytest.raises(ValueError, match="needs noise"):
        process.perturb(x1, x1, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sampler", [bridge, implicit_bridge])
def test_the_device_does_not_change_the_result(sampler: Callable[..., Path]) -> None:
    process, x1 = Bridge(20), torch.randn(2, 3, 4, 4, generator=torch.manual_seed(0))
    n = torch.tensor([3, 19])

    def run(device: str) -> list[Tensor]:
        x, rng = x1.to(device), ItemNoise(0, "t", [0, 1], device)
        path = sampler(half, x, bridge_steps(process, 4), rng, process=process, mask=(x > 0).float())
        return [path.x0, process.perturb(x, -x, n.to(device), x), process.network_time(n.to(device))]

    for on_cpu, on_gpu in zip(run("cpu"), run("cuda"), strict=True):
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=0, atol=1e-6)
