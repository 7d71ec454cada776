#!/usr/bin/env bash
# Snakemake 9.27.1: wildcards in the name of a caption, `report(..., caption="{sample}.rst")`, are not expanded.
#
# Expected: the page of each sample, as wildcards in a category are expanded; or a refusal when the workflow is read.
# Seen:     the dry run and the run are fine; `snakemake --report` then looks for a file that is called {sample}.rst.
#
# Output on Linux, Python 3.11:
#   9.27.1
#   run: ok
#   FileNotFoundError: [Errno 2] No such file or directory: '{sample}.rst'
#
# Exits non-zero when the behaviour changes. Needs python3 (3.11 or newer) with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet snakemake==9.27.1
cd "$folder"
snakemake() { "$folder/venv/bin/snakemake" --cores 1 "$@" 2>&1; }
cat > Snakefile <<'RULE'
rule write:
    output:
        report("{sample}.txt", category="{sample}", caption="{sample}.rst"),
    shell:
        "echo {wildcards.sample} > {output}"
RULE
echo "The page of one sample." > first.rst
snakemake --version
snakemake first.txt > /dev/null && echo "run: ok"
said=$(snakemake --report report.html -- first.txt || true)
echo "$said" | grep -o "FileNotFoundError.*" | sed "s#'.*/#'#"
echo "$said" | grep -q "{sample}.rst"
