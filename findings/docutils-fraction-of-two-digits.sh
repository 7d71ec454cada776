#!/usr/bin/env bash
# docutils 0.22.4: its LaTeX to MathML converter draws \frac12 x as "12 over x".
#
# Expected: one half, times x. TeX gives a fraction its next two tokens, the digits 1 and 2, and docutils does so
#           for \frac{1}{2} x.
# Seen:     the number 12 becomes the numerator, and what follows it the denominator. The formula is
#           valid MathML and no warning is given, so that a page of formulas is silently wrong.
#
# Output on Linux, Python 3.11:
#   0.22.4
#   \frac{1}{2} x: numerator 1, denominator 2
#   \frac12 x: numerator 12, denominator x
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet docutils==0.22.4
"$folder/venv/bin/python" - <<'PYTHON'
import xml.etree.ElementTree as tree

import docutils
from docutils.utils.math.latex2mathml import tex2mathml

print(docutils.__version__)
found = []
for formula in (r"\frac{1}{2} x", r"\frac12 x"):
    fraction = next(node for node in tree.fromstring(tex2mathml(formula)).iter() if node.tag.endswith("mfrac"))
    found.append(tuple("".join(part.itertext()).strip() for part in fraction))
    print(f"{formula}: numerator {found[-1][0]}, denominator {found[-1][1]}")
assert found == [("1", "2"), ("12", "x")], found
PYTHON
