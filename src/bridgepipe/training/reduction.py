"""Communication between the processes of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bridgepipe.runtime.running import all_gather

if TYPE_CHECKING:
    from accelerate import Accelerator


def sum_loss_and_gradients(accelerator: Accelerator, network: nn.Module, loss: float) -> float:
    """The loss and, in place, the gradients, summed over processes in one call."""
    if accelerator.num_processes == 1:
        return loss
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients] + [gradients[0].new_tensor([loss])])
    flat = accelerator.reduce(flat, "sum")
    for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients] + [1]), strict=False):
        gradient.copy_(summed.view_as(gradient))
    return float(flat[-1])


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of all processes, which may have different numbers of them, by rank."""
    return torch.cat(all_gather(rows.cpu())).to(rows.device)


def any_of(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the value is true in any process; every process gets the same answer."""
    if accelerator.num_processes == 1:
        return flag
    value = torch.tensor([float(flag)], device=accelerator.device)
    return bool(accelerator.reduce(value, "sum") > 0)
