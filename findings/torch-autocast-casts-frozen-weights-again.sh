#!/usr/bin/env bash
# PyTorch 2.13.0: inside one `torch.autocast` block, a frozen network has its weights cast anew at every call.
#
# Expected: the cache of autocast casts each weight once in a block, and a network whose weights need no gradient, the usual
#           state of one that samples, is at least as well off as one that is being trained.
# Seen:     only leaves that need a gradient are cached. After `requires_grad_(False)` weight and bias of a layer are cast at
#           each of five calls, 10 casts where a layer that can be trained has 2. A diffusion model is called hundreds of
#           times; casting the weights once by hand (`module.to(torch.bfloat16)`) avoids it.
#
# Output on Linux, Python 3.11:
#   torch 2.13.0
#   5 calls of a convolution in bf16, casts of weight and bias: trainable 2, frozen 10
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import torch
from torch.profiler import profile


def casts(frozen):
    layer = torch.nn.Conv2d(8, 8, 3).requires_grad_(not frozen)
    x = torch.randn(1, 8, 16, 16).bfloat16()  # needs no cast itself
    with torch.autocast("cpu", torch.bfloat16), profile() as seen:
        for _ in range(5):
            layer(x)
    return sum(event.count for event in seen.key_averages() if event.key == "aten::_to_copy")


print("torch", torch.__version__.split("+")[0])
trainable, frozen = casts(frozen=False), casts(frozen=True)
print(f"5 calls of a convolution in bf16, casts of weight and bias: trainable {trainable}, frozen {frozen}")
assert (trainable, frozen) == (2, 10)
PYTHON
