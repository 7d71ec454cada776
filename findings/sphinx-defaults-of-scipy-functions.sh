#!/usr/bin/env bash
# Sphinx 9.0.4 with autodoc_preserve_defaults cannot format the arguments of some functions of SciPy 1.17.1.
#
# Expected: the signature of scipy.stats.sem with the defaults that its source states, which is what the setting is for.
# Seen:     "WARNING: error while formatting arguments for scipy.stats.sem: pop from empty list", so that a strict
#           build (-W) fails; also in the reference of a module that imports such a function by its name. A decorator
#           of SciPy adds a keyword-only argument (keepdims) to the signature, and the source has no default for it.
#           Without the setting there is no warning.
#
# Output on Linux, Python 3.11:
#   Sphinx 9.0.4, SciPy 1.17.1
#   with autodoc_preserve_defaults: pop from empty list: kstest, sem
#   without: none
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sphinx==9.0.4 scipy==1.17.1
cd "$folder"
mkdir pages
printf 'Functions\n=========\n' > pages/index.rst
for name in kstest sem zscore; do
    printf '\n.. autofunction:: scipy.stats.%s\n' "$name" >> pages/index.rst
done
failing() {
    printf 'extensions = ["sphinx.ext.autodoc"]\nautodoc_preserve_defaults = %s\n' "$1" > pages/conf.py
    venv/bin/python -m sphinx -E -q pages "out-$1" 2>&1 |
        sed -n 's/.*formatting arguments for scipy.stats.\([a-z]*\): pop from empty list.*/\1/p' | sort | paste -sd, | sed 's/,/, /g'
}
venv/bin/python -c 'import scipy, sphinx; print(f"Sphinx {sphinx.__version__}, SciPy {scipy.__version__}")'
with=$(failing True)
without=$(failing False)
echo "with autodoc_preserve_defaults: pop from empty list: $with"
echo "without: ${without:-none}"
[ "$with" = "kstest, sem" ]
[ -z "$without" ]
