"""`python -m benchmarks.accuracy`: the rows of the tables on the two pages on samplers, as Markdown.

Every denoiser is known in closed form, so only the samplers err. Bridge, and the spread of samples: no
sampling error at all. Cycles and translations: errors of `DRAWS` draws of points, against the start and
against a fine path.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks.closed_form import (
    F64,
    NOISE,
    WIDE,
    A,
    B,
    Mixture,
    blurred_images,
    distance_to_images,
    distance_to_posterior,
    law,
    log_snr_process,
)
from bridgepipe.names import Spacing
from bridgepipe.processes import schedules
from bridgepipe.processes.bridge import Bridge
from bridgepipe.processes.gaussian import Gaussian
from bridgepipe.samplers import SOLVERS, Pair, Sample, bridge_steps, decode, encode, grid
from bridgepipe.samplers.steps import decode_steps

IMAGES = blurred_images()
PUBLISHED = {"ancestral": True}
STEPS = (25, 50, 100)
CALLS = (10, 20, 50)
DRAWS = 6  # of the points; all lie on one side of the median of such draws once in 2^5 times


def short(number: float) -> str:
    return f"{number:.1e}".replace("e-0", "e-")


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


# docs/bridge-samplers.md ------------------------------------------------------------------------------


def bridge_that_sees_x1(calls: int) -> list[str]:
    """Squared Wasserstein distances to the images / to the posterior, beta_max 0.3."""
    columns: list[tuple[str, dict[str, Any]]] = [
        ("uniform", PUBLISHED),
        ("log_snr", {"order": 1}),
        ("uniform", {"order": 2}),
        ("log_snr", {"order": 2}),
    ]

    def cell(spacing: Any, settings: dict[str, Any]) -> str:
        process = Bridge(1000, 0.3)
        found = law(IMAGES, process, bridge_steps(process, calls, spacing), True, **settings)
        return " / ".join(short(d(IMAGES, *found)) for d in (distance_to_images, distance_to_posterior))

    return [str(calls), *(cell(*column) for column in columns)]


def bridge_without_x1(calls: int) -> list[str]:
    """Squared Wasserstein distance to the images, beta_max 0.3 (and 1.0)."""
    columns: list[tuple[str, dict[str, Any]]] = [
        ("uniform", PUBLISHED),
        ("uniform", {"eta": 0.0, "order": 2}),
        ("uniform", {"eta": 1.0, "order": 2}),
        ("angle", {"eta": 1.0, "order": 2}),
    ]

    def distance(beta_max: float, spacing: Any, settings: dict[str, Any]) -> float:
        process = Bridge(1000, beta_max)
        steps = bridge_steps(process, calls, spacing)
        return distance_to_images(IMAGES, *law(IMAGES, process, steps, False, **settings))

    return [str(calls), *(f"{short(distance(0.3, *c))} ({short(distance(1.0, *c))})" for c in columns)]


def bridge_without_noise(calls: int, settings: dict[str, Any]) -> float:
    """Largest error over the modes of the gain from x1 to the result, beta_max 1.0 and uniform calls."""
    process = Bridge(1000, 1.0, ot_ode=True)
    gain, _ = law(IMAGES, process, bridge_steps(process, calls), False, **settings)
    return float((gain - (IMAGES.c / IMAGES.var_x1).sqrt()).abs().max())


# docs/gaussian-samplers.md ----------------------------------------------------------------------------

Start = Callable[[Sample], Tensor | Pair]


def alone(end: Sample) -> Tensor:
    return end.x


def pair(end: Sample) -> Pair:
    assert end.pair is not None
    return end.pair


def stored_pair(end: Sample) -> Pair:
    return Pair(pair(end).x.float(), pair(end).neighbour.float())


CYCLES: dict[str, tuple[str, torch.dtype, Start, Start]] = {
    "`ddim`": ("ddim", F64, alone, alone),
    "`multistep3`": ("multistep3", F64, alone, alone),
    "`unipc3`": ("unipc3", F64, alone, alone),
    "`obelm`, float64 network and pair": ("obelm", F64, pair, pair),
    "`obelm`, float32 network, pair in float64": ("obelm", torch.float32, pair, pair),
    "`obelm`, float32 network, pair stored in float32": ("obelm", torch.float32, stored_pair, stored_pair),
    "`obelm`, image b alone, latents with pair": ("obelm", F64, pair, alone),
    "`obelm`, no pair anywhere": ("obelm", F64, alone, alone),
}


def draws(count: int) -> Tensor:
    """`DRAWS` times ``count`` points of a."""
    return torch.cat([A.sample(count, seed) for seed in range(DRAWS)])


def cycle(solver: str, dtype: torch.dtype, latent: Start, image: Start, steps: int) -> list[float]:
    """Largest error of a coordinate of each 64 points after a -> b -> a on the linear schedule.

    Args:
        latent: what of the end of an encoding the decoding starts from.
        image: what of the image b the way back starts from.
    """
    process = Gaussian(schedules.linear(1000))
    ways = grid("exact", schedules.uniform_log_snr(process.alpha_bar, steps + 1), process.T)
    a, b, x = A.denoiser(process), B.denoiser(process), draws(64).to(dtype)
    state: Tensor | Pair = x
    for source, target, start in ((a, b, image), (b, a, alone)):
        state = latent(encode(source, state, ways.encode, process=process, solver=solver))
        state = start(decode(target, state, ways.decode, process=process, solver=solver))
    assert isinstance(state, Tensor)
    return (state - x).abs().view(DRAWS, -1).amax(1).tolist()


TRANSLATION = log_snr_process(1000)


def translate(solver: str, steps: int) -> Tensor:
    """128 points of a in each draw, translated to b on steps uniform in the logarithm of signal to noise."""
    to = list(range(0, 1001, 1000 // steps))
    a, b = A.denoiser(TRANSLATION), B.denoiser(TRANSLATION)
    latent = encode(a, draws(128), to, process=TRANSLATION, solver=solver)
    start = latent.x if latent.pair is None else latent.pair
    return decode(b, start, to[::-1], process=TRANSLATION, solver=solver).x


LINEAR = Gaussian(schedules.linear(1000))
SPACINGS: tuple[Spacing, ...] = ("uniform", "log_snr", "quad_full")


@cache
def few_calls(data: Mixture, solver: str, nfe: int | None, spacing: Spacing | None) -> Tensor:
    """Ends ``[DRAWS, 128, 2]`` of paths from noise to the data; every step is taken where nfe is None."""
    start = torch.cat([NOISE.sample(128, seed) for seed in range(DRAWS)])
    steps = decode_steps(LINEAR, solver, nfe, spacing)
    return decode(data.denoiser(LINEAR), start, steps, process=LINEAR, solver=solver).x.view(DRAWS, 128, -1)


def errors(data: Mixture, solver: str, nfe: int, spacing: Spacing | None) -> Tensor:
    """Mean distance ``[DRAWS]`` to the ends of the path that takes all 1,000 steps."""
    truth = few_calls(data, "multistep3", None, None)
    return (few_calls(data, solver, nfe, spacing) - truth).norm(dim=-1).mean(1)


def spread(solver: str, nfe: int, spacing: Any) -> float:
    """Standard deviation of samples over that of the data, N(1, 0.5^2): the gain of a linear sampler."""
    data, noise = Mixture(torch.ones(1, 1, dtype=F64), 0.5), torch.tensor([[0.0], [1.0]], dtype=F64)
    steps = decode_steps(LINEAR, solver, nfe, spacing)
    ends = decode(data.denoiser(LINEAR), noise, steps, process=LINEAR, solver=solver).x
    return float(abs(ends[1] - ends[0])) / data.std


# rows -------------------------------------------------------------------------------------------------


def bridge_lines() -> Iterator[str]:
    yield from (line(bridge_that_sees_x1(calls)) for calls in (5, 10, 20, 100, 999))
    yield from (line(bridge_without_x1(calls)) for calls in (5, 10, 20, 50, 100, 999))
    for what, calls, settings in (
        ("order 1", 20, {"order": 1}),
        ("order 2", 20, {"order": 2}),
        ("published", 100, PUBLISHED),
    ):
        yield f"without noise, {calls} calls, {what}: {bridge_without_noise(calls, settings):.2f}"


def cycle_line(name: str) -> str:
    _, dtype, *_ = CYCLES[name]
    return line([f"cycle, {name}", *(rounding(cycle(*CYCLES[name], steps), dtype) for steps in STEPS)])


def rounding(errors: Sequence[float], dtype: torch.dtype) -> str:
    """Errors, or the limit below which only the rounding of the machine is left."""
    limit, text = (1e-13, "below 1e-13") if dtype == F64 else (1e-7, "below 1e-7")
    return text if max(errors) < limit else median(errors)


def median(errors: Sequence[float]) -> str:
    """The median of the draws, and the lowest and highest, between which that of all draws lies: 97 %."""
    return f"{short(statistics.median(errors))} ({short(min(errors))} to {short(max(errors))})"


def translation_lines() -> Iterator[str]:
    truth = translate("multistep3", 1000)
    for solver in SOLVERS:
        errors = ((translate(solver, steps) - truth).norm(dim=1) for steps in STEPS)
        means = (of.view(DRAWS, -1).mean(1).tolist() for of in errors)
        yield line([f"translation, `{solver}`", *map(median, means)])


def few_calls_line(solver: str, spacing: Spacing) -> str:
    """Errors of DDIM as it comes over those of a solver: median, lowest and highest of the draws."""

    def cell(data: Mixture, nfe: int) -> str:
        ratios = errors(data, "ddim", nfe, None) / errors(data, solver, nfe, spacing)
        return f"{ratios.median():.1f} ({ratios.min():.1f} to {ratios.max():.1f})"

    return line([f"`{solver}`, `{spacing}`", *(cell(data, nfe) for data in (B, WIDE) for nfe in CALLS)])


def spread_line(solver: str) -> str:
    ratios = (spread(solver, nfe, spacing) for spacing in SPACINGS for nfe in (5, 10, 20))
    return line([f"`{solver}`", *(f"{ratio:.2f}" for ratio in ratios)])


def gaussian_lines() -> Iterator[str]:
    yield from map(cycle_line, CYCLES)
    yield from translation_lines()
    yield from map(spread_line, SOLVERS)
    yield from (few_calls_line(solver, spacing) for solver in SOLVERS for spacing in SPACINGS)


def main() -> None:
    for page, lines in (("bridge-samplers", bridge_lines), ("gaussian-samplers", gaussian_lines)):
        print(f"\ndocs/{page}.md\n")
        for text in lines():
            print(text, flush=True)


if __name__ == "__main__":
    main()
