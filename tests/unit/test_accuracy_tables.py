"""The tables of the pages on samplers hold what `python -m benchmarks.accuracy` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks import accuracy, bridge_calls
from benchmarks.closed_form import blurred_images, law
from bridgepipe.config.i2sb import SamplerSettings
from bridgepipe.processes.bridge import Bridge
from bridgepipe.samplers import bridge_steps

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def bridge_page() -> list[str]:
    return (DOCS / "bridge-samplers.md").read_text(encoding="utf8").splitlines()


@pytest.fixture(scope="module")
def gaussian_page() -> list[str]:
    return (DOCS / "gaussian-samplers.md").read_text(encoding="utf8").splitlines()


@pytest.mark.parametrize("calls", [5, 10, 20, 100])
def test_bridge_tables(calls: int, bridge_page: list[str]) -> None:
    assert accuracy.line(accuracy.bridge_that_sees_x1(calls)) in bridge_page
    assert accuracy.line(accuracy.bridge_without_x1(calls)) in bridge_page


def test_bridge_without_noise(bridge_page: list[str]) -> None:
    page = " ".join(bridge_page)
    found = [accuracy.bridge_without_noise(20, {"order": order}) for order in (1, 2)]
    assert f"from {found[0]:.2f} to {found[1]:.2f} at 20 uniform calls" in page
    assert f"published calls ({accuracy.bridge_without_noise(100, accuracy.PUBLISHED):.2f})" in page
    assert (
        f"the largest gain is {float((accuracy.IMAGES.c / accuracy.IMAGES.var_x1).max()) ** 0.5:.1f}" in page
    )


@pytest.mark.parametrize("name", ["`ddim`", "`obelm`, float32 network, pair in float64"])
def test_cycles(name: str, gaussian_page: list[str]) -> None:
    assert accuracy.cycle_line(name) in gaussian_page


def test_rows_tell_the_median_of_several_draws_and_the_interval_that_holds_it() -> None:
    errors = accuracy.cycle(*accuracy.CYCLES["`ddim`"], 25)
    assert len(errors) == len(set(errors)) == accuracy.DRAWS == 6
    assert accuracy.median(errors) == "3.9e-1 (3.0e-1 to 4.1e-1)"


@pytest.mark.parametrize("solver", ["ddim", "multistep3", "obelm"])
def test_spread_of_few_calls(solver: str, gaussian_page: list[str]) -> None:
    assert accuracy.spread_line(solver) in gaussian_page


@pytest.mark.parametrize("solver", ["heun", "multistep3"])
def test_few_calls(solver: str, gaussian_page: list[str]) -> None:
    for spacing in accuracy.SPACINGS:
        assert accuracy.few_calls_line(solver, spacing) in gaussian_page


@pytest.mark.parametrize(("calls", "left_out"), bridge_calls.SAME.items())
def test_a_sampler_that_the_table_leaves_out_is_one_that_it_shows(
    calls: int, left_out: Sequence[str]
) -> None:
    """With one call, and with two, most samplers of a bridge are the same."""
    process = Bridge(1000, 0.3)

    def found(how: SamplerSettings) -> torch.Tensor:
        steps = bridge_steps(process, calls, how.spacing)
        knobs = {"eta": how.eta, "order": how.order, "solver": how.solver}
        return torch.cat(law(blurred_images(8), process, steps, True, **knobs))

    every = bridge_calls.samplers(ot_ode=False)
    shown = [found(every[name]) for name in every if name not in (*left_out, "ancestral")]
    for name in left_out:
        assert any(torch.allclose(found(every[name]), one, rtol=0, atol=1e-12) for one in shown)
