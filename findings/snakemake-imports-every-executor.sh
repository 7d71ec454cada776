#!/usr/bin/env bash
# Snakemake 9.27.1 with snakemake-executor-plugin-kubernetes 0.5.1: a local dry run imports the Kubernetes client.
#
# Expected: a plugin for an executor that is not asked for costs nothing.
# Seen:     each start imports every executor plugin that is installed, to learn its command line options; this one
#           imports the whole Kubernetes client, about 700 modules and 0.4 s of processor time, again in every job.
#
# Output on Linux, Python 3.11:
#   without the plugin: 0 modules of the Kubernetes client
#   with the plugin: 716 modules of the Kubernetes client
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet snakemake==9.27.1
cd "$folder"
printf 'rule a:\n    output: "a"\n    shell: "touch a"\n' > Snakefile
modules() {
    "$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io
import sys

from snakemake.cli import main

sys.argv = ["snakemake", "--dry-run", "--cores", "1", "--executor", "local"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print(sum(name.split(".")[0] == "kubernetes" for name in sys.modules))
PYTHON
}
without=$(modules)
echo "without the plugin: $without modules of the Kubernetes client"
"$folder/venv/bin/pip" install --quiet snakemake-executor-plugin-kubernetes==0.5.1
with=$(modules)
echo "with the plugin: $with modules of the Kubernetes client"
test "$without" = 0
test "$with" -gt 100
