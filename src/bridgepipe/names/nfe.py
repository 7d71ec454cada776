"""Network calls of every sampler: what each one needs and can do, as data.

Pure Python, so that params.yaml is checked against the very table that samplers read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from bridgepipe.errors import UserError
from bridgepipe.names import Spacing
from bridgepipe.names.timesteps import misses


@dataclass(frozen=True)
class Traits:
    """What a sampler of a Gaussian process needs and can do.

    Attributes:
        calls: (steps, inner) -> network calls on a path of so many steps. A path is *inner* when it ends at
            one of the times; else its last step is to the data or to pure noise, where no solver calls the
            network again.
        spacing: spacing of its times where none is named, measured in docs/gaussian-samplers.md.
        least_times: smallest number of times on its path.
        reaches_data: whether it steps on from the first time to the data, or from the last to noise; else its
            paths are inner ones.
        invertible: whether its last two states, a `Pair`, retrace the path to rounding error.
        stochastic: whether it also takes noise, of DDIM's eta.
        edits: every prediction is that of a state on the path, so that latents may be moved at a step.
    """

    calls: Callable[[int, bool], int] = lambda steps, inner: steps
    spacing: Spacing = "uniform"
    least_times: int = 1
    reaches_data: bool = True
    invertible: bool = False
    stochastic: bool = False
    edits: bool = True

    def is_inner(self, inner: bool) -> bool:
        """Whether a path that may be an inner one is."""
        return inner or not self.reaches_data


# of the probability-flow ODE; `samplers.solvers` has the rule of each
SOLVER_TRAITS = {
    "ddim": Traits(stochastic=True),
    # two calls in every inner step
    "heun": Traits(lambda steps, inner: 2 * steps - (not inner), "quad_full"),
    "multistep2": Traits(spacing="quad_full"),
    # the first step is of Heun's method if it is an inner one
    "multistep3": Traits(lambda steps, inner: steps + (inner or steps > 1), "quad_full"),
    # the end of an inner path is corrected too
    "unipc3": Traits(lambda steps, inner: steps + inner, "quad_full", edits=False),
    # the first step is of Heun's method
    "obelm": Traits(
        lambda steps, inner: steps + 1,
        "quad_full",
        least_times=3,
        reaches_data=False,
        invertible=True,
        edits=False,
    ),
}
# of new samples: also the Markov chain
SAMPLER_TRAITS = {"ancestral": Traits(), **SOLVER_TRAITS}
INVERTIBLE = tuple(name for name, traits in SOLVER_TRAITS.items() if traits.invertible)
STOCHASTIC = tuple(name for name, traits in SOLVER_TRAITS.items() if traits.stochastic)

# What params.yaml takes: the names of the table. A type checker cannot read them from it.
if TYPE_CHECKING:
    SolverName: TypeAlias = str
    SamplerName: TypeAlias = str
    EditingSolverName: TypeAlias = str
else:
    SolverName = Literal[*SOLVER_TRAITS]
    SamplerName = Literal[*SAMPLER_TRAITS]
    EditingSolverName = Literal[*(name for name, traits in SOLVER_TRAITS.items() if traits.edits)]


def calls(sampler: str, steps: int, inner: bool) -> int:
    """Network calls of a sampler on a path of so many steps, see `Traits.calls`."""
    return SAMPLER_TRAITS[sampler].calls(steps, inner)


def num_times(T: int, sampler: str, nfe: int, spacing: str, least: int = 1, inner: bool = False) -> int:
    """How many of T times a sampler visits that may call the network ``nfe`` times.

    Args:
        least: times that the path needs.
        inner: both its ends are times, see `Traits.calls`.

    Raises:
        UserError: too few calls for the sampler, or the spacing does not give so many times; the nearest
            numbers of calls that it gives are named.
    """
    traits = SAMPLER_TRAITS[sampler]
    inner, least = traits.is_inner(inner), max(least, traits.least_times)

    def made(count: int) -> int:
        return traits.calls(count - inner, inner)

    steps = bisect_right(range(1, nfe + 1), nfe, key=lambda steps: traits.calls(steps, inner))
    count = steps + inner
    if count >= least and not (why := misses(T, count, spacing)):
        return count
    nearest = [
        next((made(k) for k in candidates if not misses(T, k, spacing)), None)
        for candidates in (range(min(count, T), least - 1, -1), range(max(count, least), T + 1))
    ]
    if count < least:
        raise UserError(f"nfe is {nfe} with {sampler}", "sampler", f"take {nearest[1]} or more network calls")
    raise UserError(
        f"nfe is {nfe}: {why}", "sampler", f"take {' or '.join(str(n) for n in nearest if n is not None)}"
    )


def calls_made(T: int, sampler: str, nfe: int, spacing: str) -> int:
    """Network calls of a sampler that may make ``nfe``: the number that tables, labels and estimates show.

    Heun's method makes an odd number, and multistep3 doesn't make 2.

    Raises:
        UserError: as `num_times`.
    """
    inner = SAMPLER_TRAITS[sampler].is_inner(False)
    return calls(sampler, num_times(T, sampler, nfe, spacing) - inner, inner)
