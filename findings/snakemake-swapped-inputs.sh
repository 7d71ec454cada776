#!/usr/bin/env bash
# Snakemake 9.27.1: the rerun trigger "input" does not notice that two inputs have swapped their roles.
#
# Expected: a rule whose inputs `a` and `b` are exchanged between two runs is run again, for its command
#           reads other files under these names and gives another result.
# Seen:     "Nothing to be done": the recorded and the present paths are compared as sorted lists.
#
# Output on Linux, Python 3.11:
#   9.27.1
#   a is one, b is two
#   Nothing to be done (all requested files are present and up to date).
#   a is one, b is two
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet snakemake==9.27.1
cd "$folder"
echo one > one.txt
echo two > two.txt
sleep 1
rule() {
    cat > Snakefile <<RULE
rule difference:
    input:
        a="$1",
        b="$2",
    output:
        "out.txt",
    shell:
        "echo a is \$(cat {input.a}), b is \$(cat {input.b}) > {output}"
RULE
}
run() { "$folder/venv/bin/snakemake" --cores 1 --rerun-triggers input mtime "$@" 2>&1; }
"$folder/venv/bin/snakemake" --version
rule one.txt two.txt
run > /dev/null
cat out.txt
rule two.txt one.txt
said=$(run)
echo "$said" | grep "Nothing to be done"
cat out.txt
grep -q "a is one, b is two" out.txt
