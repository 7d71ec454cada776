"""Names that params.yaml and the code share: neither of them imports the other."""

from __future__ import annotations

from typing import Literal

# tf32: convolutions of a GPU round their inputs to 10 bits, PyTorch's own way; elsewhere the same as fp32
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
# of the probability-flow ODE, see samplers.solvers
Solver = Literal["ddim", "heun", "multistep2", "multistep3", "unipc3", "obelm"]
# of new images: also the Markov chain
Sampler = Literal["ancestral", "ddim", "heun", "multistep2", "multistep3", "unipc3", "obelm"]
# where the calls of a Gaussian process lie, see samplers.steps
Spacing = Literal["uniform", "leading", "trailing", "quad", "log_snr"]
# how training draws times, see processes.losses
Times = Literal["uniform", "quadratic", "loss_aware"]
