#!/usr/bin/env bash
# Snakemake 9.27.1: a parameter whose function takes `input` never makes a job run again.
#
# Expected: a job runs again when one of its parameters has another value, as `--rerun-triggers params` says, however
#           the value is found; or a word that this one is left out.
# Seen:     the same value from a function of wildcards alone makes the job run again. From a function that also takes
#           `input`, read or not, it does not: Snakemake says that nothing is to be done and keeps a result of the old
#           setting. (snakemake/snakemake issue 3895; since pull request 3154 such values are not recorded.)
#
# Output on Linux, Python 3.11:
#   9.27.1
#   lambda wildcards: ...           runs again after an edit: True
#   lambda wildcards, input: ...    runs again after an edit: False
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH" XDG_CACHE_HOME="$folder/cache"
snakemake --version
runs_again() { # whether a dry run with another setting would run the job of a rule again
    mkdir "$folder/project"
    cd "$folder/project"
    echo "content" > source
    cat > Snakefile <<SNAKEFILE
rule copy:
    input:
        "source",
    output:
        "copy",
    params:
        setting=$1 config["setting"],
    shell:
        "echo {params.setting} > {output}"
SNAKEFILE
    snakemake --cores 1 --config setting=old -- copy > /dev/null 2>&1
    dry=$(snakemake --dry-run --cores 1 --rerun-triggers params --config setting=new -- copy 2>&1)
    rm -r "$folder/project"
    grep -q "Nothing to be done" <<< "$dry" && echo False || echo True
}
alone=$(runs_again "lambda wildcards:")
with_input=$(runs_again "lambda wildcards, input:")
echo "lambda wildcards: ...           runs again after an edit: $alone"
echo "lambda wildcards, input: ...    runs again after an edit: $with_input"
[ "$alone" = True ] && [ "$with_input" = False ]
