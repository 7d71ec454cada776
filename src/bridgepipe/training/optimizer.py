"""The optimiser of every training."""

from __future__ import annotations

from inspect import unwrap

import torch
from torch.optim import AdamW as Base


class AdamW(Base):
    """PyTorch's AdamW without the wrappers that are for compiled optimisers.

    They load the compiler as soon as one is made, which takes a second, whatever switches it off. The
    arithmetic is that of the methods below them.
    """

    step = torch.no_grad()(unwrap(Base.step))
    zero_grad = unwrap(Base.zero_grad)
    add_param_group = unwrap(Base.add_param_group)
    state_dict = unwrap(Base.state_dict)
    load_state_dict = unwrap(Base.load_state_dict)
