#!/usr/bin/env bash
# DVC 3.67.1: numbers in a list of a metrics file are neither shown nor compared, and nothing says so.
#
# Expected: a metrics file {"fid": 1.5, "per_class": [1, 2]} shows both, or a warning that a list is left
#           out; `dvc metrics diff` tells that per_class has become [1, 9].
# Seen:     `dvc metrics show` has fid alone; after per_class has changed `dvc metrics diff` is empty and its
#           exit code is 0, as after a run that changed nothing. Nested mappings are shown, lists in them not.
#
# Output on Linux, Python 3.11:
#   3.67.1
#   {"": {"data": {"m.json": {"data": {"fid": 1.5, "by": {"a": 2}}}}}}
#   {}
#
# Exits non-zero when the behaviour changes. Needs git, python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dvc==3.67.1
dvc() { "$folder/venv/bin/dvc" "$@"; }
mkdir "$folder/project"
cd "$folder/project"
git init --quiet
dvc init --quiet
measure() {
    cat > dvc.yaml <<STAGE
stages:
  measure:
    cmd: echo '{"fid":1.5,"per_class":[1,$1],"by":{"a":2,"b":[3]}}' > m.json
    metrics:
    - m.json:
        cache: false
STAGE
    dvc repro --quiet
}
dvc --version
measure 2
shown=$(dvc metrics show --json)
echo "$shown"
git add --all
git -c user.name=finding -c user.email=finding@example.org commit --quiet --message measured
measure 9
different=$(dvc metrics diff --json)
echo "$different"
test "$shown" = '{"": {"data": {"m.json": {"data": {"fid": 1.5, "by": {"a": 2}}}}}}'
test "$different" = '{}'
