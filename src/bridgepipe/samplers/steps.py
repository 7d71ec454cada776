"""Which indices a sampler visits for a given number of network calls."""

from __future__ import annotations

from collections.abc import Sequence

from bridgepipe.names import Spacing
from bridgepipe.processes import schedules
from bridgepipe.processes.gaussian import CLEAN, Gaussian
from bridgepipe.timesteps import indices_for, spaced


def kept(process: Gaussian, count: int, spacing: Spacing = "uniform") -> list[int]:
    """``count`` ascending indices of the process.

    Args:
        spacing: ``uniform`` strides from first to last as DDIB rounds them, ``leading`` and ``trailing``
            integer strides from the first or down from the last, ``quad`` squares, ``log_snr`` equal
            steps of the logarithm of the signal-to-noise ratio.

    Raises:
        UserError: there are not so many indices.
    """
    if spacing == "log_snr":
        return schedules.uniform_log_snr(process.alpha_bar, count)
    return spaced(process.T, count, spacing)


def decode_steps(process: Gaussian, solver: str, nfe: int, spacing: Spacing = "uniform") -> list[int]:
    """Descending steps for `decode` or `ancestral` from noise to the data with at most ``nfe`` calls.

    ``obelm`` ends at index 0, as its rule needs a finite clock; the others step on to the data itself.
    """
    count = min(indices_for(solver, nfe), process.T)
    back: Sequence[int] = kept(process, count, spacing)[::-1]
    return list(back) if solver == "obelm" else [*back, CLEAN]
