"""Which indices a sampler visits for a given number of network calls."""

from __future__ import annotations

from collections.abc import Sequence

from bridgepipe.names import Spacing
from bridgepipe.names.nfe import SAMPLER_TRAITS, num_times
from bridgepipe.names.timesteps import spaced
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import CLEAN, Gaussian


def respaced(process: Gaussian, count: int, spacing: Spacing = "uniform", inner: bool = False) -> list[int]:
    """``count`` ascending indices of the process.

    Args:
        spacing: ``uniform`` strides from first to last as DDIB rounds them, ``leading`` and ``trailing``
            integer strides from the first or down from the last, ``quad`` squares up to 0.8 T,
            ``quad_full`` squares up to the last, ``log_snr`` equal steps of the logarithm of the
            signal-to-noise ratio. One index is the last, pure noise.
        inner: the path ends at the first index; else it goes on to the data, and ``quad_full`` leaves out 0.

    Raises:
        UserError: the spacing does not give so many indices.
    """
    if spacing == "log_snr" and count > 1:
        return schedules.uniform_log_snr(process.alpha_bar, count)
    return spaced(process.T, count, "uniform" if spacing == "log_snr" else spacing, inner)


def decode_steps(
    process: Gaussian, solver: str, nfe: int | None, spacing: Spacing | None = None
) -> list[int]:
    """Descending steps for `decode` or `ancestral` to the data with at most ``nfe`` calls; None: all.

    Where no spacing is named, it is the solver's own. A solver that does not reach the data ends at index 0;
    the others step on to the data itself.

    Raises:
        UserError: a number of calls that the solver and the spacing don't give.
    """
    traits = SAMPLER_TRAITS[solver]
    spacing = spacing or traits.spacing
    if nfe is None:
        back: Sequence[int] = range(process.T)[::-1]
    else:
        count = num_times(process.T, solver, nfe, spacing)
        back = respaced(process, count, spacing, inner=not traits.reaches_data)[::-1]
    return [*back, CLEAN] if traits.reaches_data else list(back)
