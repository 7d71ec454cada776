#!/usr/bin/env bash
# PyTorch 2.13.0: making an eager optimiser imports the compiler, torch._dynamo, also where the compiler is switched off.
#
# Expected: a training that compiles nothing loads no compiler; at least with TORCHDYNAMO_DISABLE=1 and TORCH_COMPILE_DISABLE=1.
# Seen:     `import torch` loads none of it. Making AdamW imports `torch._dynamo` and some hundreds of modules (sympy,
#           torch.distributed), to mark a method as not to be compiled: 1.1 s, where `import torch` takes 1.5.
#           Both switches change nothing. With the wrappers of its methods taken off, AdamW is made and steps without it.
#
# Output on Linux, Python 3.11:
#   torch 2.13.0
#   torch._dynamo is loaded: by import False, by AdamW True, with both switches True, without wrappers False
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import os
import subprocess
import sys

BEGIN = """
import inspect, sys, torch
weight = torch.nn.Parameter(torch.ones(2))
weight.grad = torch.ones(2)
AdamW = torch.optim.AdamW
"""
UNWRAPPED = """
class AdamW(AdamW):
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
"""
STEP = """
AdamW([weight]).step()
"""
END = """
print('torch._dynamo' in sys.modules, torch.__version__)
"""


def loaded(code, **switches):
    command, env = [sys.executable, "-c", BEGIN + code + END], {**os.environ, **switches}
    found, version = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
    return found == "True", version.split("+")[0]


(imported, version), (made, _) = loaded(""), loaded("AdamW([weight])")
switched, _ = loaded(STEP, TORCHDYNAMO_DISABLE="1", TORCH_COMPILE_DISABLE="1")
unwrapped, _ = loaded(UNWRAPPED + STEP)
print("torch", version)
print(
    f"torch._dynamo is loaded: by import {imported}, by AdamW {made}, with both switches {switched},"
    f" without wrappers {unwrapped}"
)
assert (imported, made, switched, unwrapped) == (False, True, True, False)
PYTHON
