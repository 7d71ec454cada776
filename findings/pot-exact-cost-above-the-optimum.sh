#!/usr/bin/env bash
# POT 0.9.7.post1: `ot.emd2`, "exact" optimal transport, returns a cost above the optimum from about 4,000 points on.
#
# Expected: the cost of the best coupling of two sets of 4,000 points of the plane, for this is what the function is for.
# Seen:     the network simplex stops after 100,000 steps, the default, and the cost of the coupling it has by then is
#           returned as a plain number, with a warning only. A map between the two sets can then seem cheaper than the
#           optimum. With a larger `numItermax` the same call gives a smaller cost and no warning.
#
# Output on Linux, Python 3.11:
#   POT 0.9.7.post1
#   2000 points: default 0.23410, more steps 0.23410, warnings 0
#   4000 points: default 0.23833, more steps 0.23802, warnings 1
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet POT==0.9.7.post1 numpy==2.3.5 scipy==1.16.3 scikit-learn==1.7.2
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import ot
from sklearn.datasets import make_circles, make_moons


def scaled(points):
    return (points - points.mean(0)) / points.std(0)


moons = scaled(make_moons(4000, noise=0.05, random_state=0)[0])
circles = scaled(make_circles(4000, factor=0.5, noise=0.05, random_state=1)[0])
print("POT", ot.__version__)
excess = {}
for n in (2000, 4000):
    cost = ot.dist(moons[:n], circles[:n])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        default = ot.emd2([], [], cost)
    optimum = ot.emd2([], [], cost, numItermax=100_000_000)
    print(f"{n} points: default {default:.5f}, more steps {optimum:.5f}, warnings {len(said)}")
    excess[n] = default - optimum
assert abs(excess[2000]) < 1e-9, excess
assert excess[4000] > 1e-4, excess
PYTHON
