#!/usr/bin/env bash
# Pillow 13.0.0: an uncompressed TIFF of 16-bit colours that are stored plane by plane opens as noise, silently.
#
# Expected: the colours, reduced to 8 bits, as of the same file with its channels interleaved, or with the
#           planes compressed; or an error. Microscopes and scanners write such files (PlanarConfiguration 2).
# Seen:     no error and no warning; the bytes of the 16-bit numbers are taken for 8-bit pixels, so that nearly
#           every value is wrong. Planes compressed with deflate, and uncompressed planes of 8 bits, are right.
#
# Output on Linux, Python 3.11 (share of values that are right):
#   Pillow 13.0.0, tifffile 2026.3.3
#   16 bits, planes, uncompressed: 0.00
#   16 bits, planes, deflate: 1.00
#   16 bits, interleaved, uncompressed: 1.00
#   8 bits, planes, uncompressed: 1.00
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy tifffile==2026.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import PIL
import tifffile
from PIL import Image

print(f"Pillow {PIL.__version__}, tifffile {tifffile.__version__}")
deep = np.random.default_rng(0).integers(0, 65536, (3, 64, 80), np.uint16)


def right(pixels: np.ndarray, planes: bool, compression: str | None) -> float:
    """Share of the 8-bit values that Pillow reads as they were written."""
    config = "separate" if planes else "contig"
    stored = pixels if planes else pixels.transpose(1, 2, 0)
    tifffile.imwrite("a.tif", stored, photometric="rgb", planarconfig=config, compression=compression)
    assert np.array_equal(tifffile.imread("a.tif"), stored)
    expected = (pixels >> 8 if pixels.dtype == np.uint16 else pixels).transpose(1, 2, 0)
    return float((np.asarray(Image.open("a.tif")) == expected).mean())


shares = {
    "16 bits, planes, uncompressed": right(deep, True, None),
    "16 bits, planes, deflate": right(deep, True, "zlib"),
    "16 bits, interleaved, uncompressed": right(deep, False, None),
    "8 bits, planes, uncompressed": right((deep >> 8).astype(np.uint8), True, None),
}
for name, share in shares.items():
    print(f"{name}: {share:.2f}")
first, *others = shares.values()
assert first < 0.05, shares
assert min(others) == 1, shares
PYTHON
