"""What a restorer of compressed pictures may change where nobody says how much.

It keeps their mean colour, and goes less than the whole way with those that have little to mend.
"""

from __future__ import annotations

import torch
from torch import Tensor

# In grey levels of 255, root mean square. A picture that a network would change little was compressed
# lightly, and perhaps before: then what the network takes away was in its original. Three fifths of the way
# cost photographs that were compressed once 0.1 dB of their gain, as the error is flat near the best weight,
# and mend a loss at quality 40 of one whose original was a JPEG of quality 50. A picture that is changed by
# more than 8 levels shows its blocks, and goes the whole way.
WEIGHT = 0.6
LIGHT, HEAVY = 2.0, 8.0
ROWS = 256  # rows of a large picture that are worked on at a time


def keep_mean(changes: Tensor) -> None:
    """Take from changes, in place, what shifts the mean of a channel.

    A codec rounds coefficients up as often as down, so a picture keeps its mean colour.

    Args:
        changes: changes of pictures [B,C,H,W], in units of [-1, 1].
    """
    for channel in changes.flatten(0, 1):
        channel -= sum(float(rows.sum(dtype=torch.float64)) for rows in channel.split(ROWS)) / channel.numel()


def restrain(changes: Tensor) -> None:
    """Shrink small changes in place, the smallest most.

    The faint differences that a network sees there are as likely texture as they are traces of compression.

    Args:
        changes: see `keep_mean`.
    """
    for change in changes:
        squares = sum(float(rows.double().square().sum()) for rows in change.split(ROWS, dim=-2))
        change *= _weight(127.5 * (squares / change.numel()) ** 0.5)


def _weight(levels: float) -> float:
    """Share of a change of so many levels that is made."""
    heavy = min(max((levels - LIGHT) / (HEAVY - LIGHT), 0.0), 1.0)
    return WEIGHT + (1 - WEIGHT) * heavy
