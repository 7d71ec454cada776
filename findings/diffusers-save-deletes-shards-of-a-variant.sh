#!/usr/bin/env bash
# diffusers 0.42.1: saving the full precision beside the shards of a variant deletes those shards.
#
# Expected: one folder holds the shards of fp16 and the full precision, as repositories of the hub do; and saving in the
#           other order leaves both there.
# Seen:     save_pretrained(folder) removes every shard of the variant, but not its index, and says nothing. Opening the
#           variant then fails. A variant that is one file stays.
#
# Output on Linux, Python 3.11:
#   0.42.1
#   variant, then full precision: 0 of 4 shards of fp16 left, index left: True
#   FileNotFoundError: the variant does not open    (after a notice that accelerate is not installed)
#   full precision, then variant: 4 of 4 shards of fp16 left, full precision left: True
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet diffusers==0.42.1 torch==2.13.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import diffusers

print(diffusers.__version__)
network = diffusers.UNet2DModel(
    sample_size=8, layers_per_block=1, block_out_channels=(32, 32),
    down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
)
fp16 = {"variant": "fp16", "max_shard_size": "300KB"}
one, other = Path(sys.argv[1], "one"), Path(sys.argv[1], "other")
network.save_pretrained(one, **fp16)
whole = len(list(one.glob("*.fp16-*-of-*")))
network.save_pretrained(one)
left, index = len(list(one.glob("*.fp16-*-of-*"))), (one / "diffusion_pytorch_model.safetensors.index.fp16.json").exists()
print(f"variant, then full precision: {left} of {whole} shards of fp16 left, index left: {index}")
try:
    diffusers.UNet2DModel.from_pretrained(one, variant="fp16")
except OSError as error:
    print(f"{type(error).__name__}: the variant does not open")
    opens = False
else:
    opens = True
network.save_pretrained(other)
network.save_pretrained(other, **fp16)
kept, full = len(list(other.glob("*.fp16-*-of-*"))), (other / "diffusion_pytorch_model.safetensors").exists()
print(f"full precision, then variant: {kept} of {whole} shards of fp16 left, full precision left: {full}")
assert (left, index, opens, kept, full) == (0, True, False, whole, True), (left, index, opens, kept, full)
PYTHON
