#!/usr/bin/env bash
# DVC 3.67.1: `dvc repro --dry` fails on a pipeline that has not run yet, as soon as a stage reads what another makes.
#
# Expected: the commands of both stages, as a run would start them, and exit status 0.
# Seen:     the first command, then "failed to reproduce 'second': [Errno 2] No such file or directory" of the
#           output that a dry run does not make, and exit status 255. It is the same in a fresh clone of a
#           pipeline that has run, whose outputs are in no remote. With --force both commands are listed.
#
# Output on Linux, Python 3.11:
#   3.67.1
#   Running stage 'first':
#   > echo 1 > a.txt
#   ERROR: failed to reproduce 'second': [Errno 2] No such file or directory: 'a.txt'
#   exit status 255
#   with --force: 2 commands, exit status 0
#
# Exits non-zero when the behaviour changes. Needs git, python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dvc==3.67.1
dvc() { "$folder/venv/bin/dvc" "$@"; }
export DVC_NO_ANALYTICS=1
mkdir "$folder/project"
cd "$folder/project"
git init --quiet
dvc init --quiet
cat > dvc.yaml <<'STAGES'
stages:
  first:
    cmd: echo 1 > a.txt
    outs: [a.txt]
  second:
    cmd: cp a.txt b.txt
    deps: [a.txt]
    outs: [b.txt]
STAGES
dvc --version
status=0
dvc repro --dry > dry.txt 2>&1 || status=$?
sed "s|$folder/project/||" dry.txt | grep .
echo "exit status $status"
dvc repro --dry --force > forced.txt 2>&1
echo "with --force: $(grep -c '^>' forced.txt) commands, exit status 0"
[ "$status" = 255 ]
grep -q "failed to reproduce 'second'" dry.txt
[ "$(grep -c '^>' dry.txt)" = 1 ]
[ "$(grep -c '^>' forced.txt)" = 2 ]
