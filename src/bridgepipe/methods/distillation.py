"""A trained bridge distilled into a network of a few calls (Gushchin et al. 2025, arXiv 2502.01362).

Inverse bridge matching: the student's images x0 and the degraded x1 should be such pairs that a bridge which
is trained on them is the teacher. Over states x_n of a bridge between the two, how far they are from that is

    D = E |teacher(x_n) - target|^2 - min E |bridge(x_n) - target|^2,    target = (x_n - x0) / std_fwd

(the paper's objective, in I2SB's parametrisation), with the minimum over all bridges. The student descends D,
through x0 and x_n. A bridge of its own, which begins as the teacher, ascends it: that is ordinary training on
the student's pairs, and most steps are its alone. Clean images are seen by the degradation only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bridgepipe import samplers
from bridgepipe.methods.i2sb import Ends, Problem, beside
from bridgepipe.processes.bridge import restoration_loss
from bridgepipe.runtime.rng import Noise
from bridgepipe.samplers.denoiser import BridgeDenoiser
from bridgepipe.training.objective import Batch, Images, Objective

EVERY = 3  # steps, of which the student takes the last: its bridge has to keep up with it
FAINT = 0.1  # of fresh weights, with which the student sees the noise at first: it begins near its teacher


class Pair(nn.Module):
    """The student and the bridge of its pairs, which one optimiser trains in the same step.

    Args:
        student: network of the teacher that sees noise beside the state, too.
        bridge: network with the weights of the teacher.
    """

    def __init__(self, student: nn.Module, bridge: nn.Module) -> None:
        super().__init__()
        self.student, self.bridge = student, bridge
        for weight in bridge.parameters():
            weight.register_hook(torch.neg)  # it ascends what the student descends

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile both networks, which are called by themselves."""
        for network in self.children():
            network.compile(*args, **kwargs)


def objective(problem: Problem, teacher: nn.Module, calls: int, sources: Images | None = None) -> Objective:
    """Loss of a batch for a `Pair`: an estimate of D, negative where the bridge lags behind the student.

    Args:
        problem: corruption and bridge, those of the teacher.
        teacher: trained network; it stays as it is.
        calls: network calls of the student.
        sources: the corrupted half of every pair, when the problem is paired.
    """
    process = problem.process
    teacher.requires_grad_(False).eval()

    def loss(pair: nn.Module, batch: Batch) -> Tensor:
        student, bridge = pair.get_submodule("student"), pair.get_submodule("bridge")
        rng, images = batch.rng, batch.images
        ends = problem.ends(images, rng, source=None if sources is None else batch.of(sources))

        # x0 = G(x1, z)
        with torch.set_grad_enabled(batch.step % EVERY == EVERY - 1):
            x0 = _drawn(problem, student, calls, ends, rng)

        # D, at a state of the bridge between x0 and x1
        n = rng.integers(process.interval)
        x_n = process.perturb(x0, ends.x1, n, rng.normal(images.shape[1:]))
        seen = beside(x_n, ends.cond), process.network_time(n).to(x_n.device)
        of_teacher, of_bridge = teacher.to(x_n.device)(*seen), bridge(*seen)
        target = process.target(x0, x_n, n)
        errors = (restoration_loss(output, target, ends.mask) for output in (of_teacher, of_bridge))
        return torch.sub(*errors)

    return loss


def error(problem: Problem, calls: int, sources: Images | None = None) -> Objective:
    """Squared error of a student's images, for its validation; arguments as of `objective`."""

    def loss(student: nn.Module, batch: Batch) -> Tensor:
        source = None if sources is None else batch.of(sources)
        ends = problem.ends(batch.images, batch.rng, source=source)
        return restoration_loss(_drawn(problem, student, calls, ends, batch.rng), batch.images, ends.mask)

    return loss


def _drawn(problem: Problem, student: nn.Module, calls: int, ends: Ends, rng: Noise) -> Tensor:
    """The student's images, by all of its calls."""
    noised = ends.noised(rng.normal(ends.x1.shape[1:]))
    denoiser = BridgeDenoiser(student, problem.process, cond=noised.cond)
    steps = samplers.bridge_steps(problem.process, calls)
    *_, end = samplers.chain(denoiser, ends.x1, steps, rng, ends.mask, published=False)
    return end.x
