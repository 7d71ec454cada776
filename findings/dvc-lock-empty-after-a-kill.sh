#!/usr/bin/env bash
# DVC 3.67.1: a kill while `dvc repro` records a stage leaves dvc.lock empty, and DVC then refuses to go on.
#
# Expected: the record of finished stages survives, as the file is written beside the old one and moved into place; or the next
#           `dvc repro` takes an empty file for no file.
# Seen:     the file is opened for writing, which empties it, and filled after that. Of a process that ends between the two,
#           the record of all stages is lost: `dvc status` and `dvc repro` fail with a line of the schema. With the empty file
#           taken away, `dvc repro` records both stages.
#
# Output on Linux, Python 3.11:
#   dvc 3.67.1
#   dvc.lock before 145 bytes, after the kill 0 bytes
#   dvc repro: exit code 255, './dvc.lock' validation failed
#   without the empty file: exit code 0, stages a b
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, git, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dvc==3.67.1
mkdir "$folder/project"
cd "$folder/project"
git init --quiet .
"$folder/venv/bin/dvc" init --quiet
printf 'stages:\n  a:\n    cmd: echo a > a\n    outs: [a]\n' > dvc.yaml
"$folder/venv/bin/dvc" repro --quiet
printf '  b:\n    cmd: echo b > b\n    outs: [b]\n' >> dvc.yaml
before=$(wc -c < dvc.lock)
# the process ends where it would write the first byte
"$folder/venv/bin/python" - <<'PYTHON' || true
import os

import dvc.cli
import dvc.utils.serialize._yaml as written

dump = written._dump
written._dump = lambda data, stream: os._exit(9) if stream.name.endswith("dvc.lock") else dump(data, stream)
dvc.cli.main(["repro", "--quiet"])
PYTHON
"$folder/venv/bin/dvc" --version | sed 's/^/dvc /'
echo "dvc.lock before $before bytes, after the kill $(wc -c < dvc.lock) bytes"
code=0
told=$("$folder/venv/bin/dvc" repro 2>&1) || code=$?
echo "dvc repro: exit code $code, $(grep -o "'./dvc.lock' validation failed" <<< "$told")"
[ ! -s dvc.lock ] && [ "$code" -ne 0 ]
rm dvc.lock
"$folder/venv/bin/dvc" repro --quiet
echo "without the empty file: exit code 0, stages $(grep -oE '^  [ab]' dvc.lock | tr -d ' ' | xargs)"
