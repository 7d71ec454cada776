# make demo: the main job on embedded real data.   make test: the tests.   Each sets up what it needs.
.PHONY: setup demo digits test test-engines lint bench report docs schema sync weights faults system-setup clean
SHELL := /bin/bash
ifndef PYTHON
PYTHON := $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
endif
BIN := .venv/bin
STAGES := python workflow/stages.py
export PATH := $(CURDIR)/$(BIN):$(PATH)

# scripts of an environment hold its folder and belong to one Python: a moved project or another Python makes it anew
STAMP := $(CURDIR) $(shell $(PYTHON) -V 2>&1)
ifneq ($(shell cat .venv/.ready 2>/dev/null),$(STAMP))
.PHONY: .venv/.ready
endif

# Snakemake imports every plugin at every start, and this one takes half a second: its tests find it in a folder of its own
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "bridgepipe needs Python 3.11 or newer (make PYTHON=/path/to/python3.11)" >&2; exit 1; }
	@echo "installing packages into .venv: some 3 minutes, longer on a slow line" >&2
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) -e '.[dev]'
	$(INSTALL) --no-deps --target .venv/plugins snakemake-executor-plugin-kubernetes
	@echo "$(STAMP)" > $@

# a small restorer of photographs, trained here, beside the one that comes with the package
PHOTOS := results/i2sb/photos-quick

demo: setup
	@bridgepipe plan demo; echo
	@set -o pipefail; snakemake --quiet rules -- demo 2>&1 | bridgepipe status --follow
	@echo; cat $(PHOTOS)/photographs.md; echo
	@echo "pictures:"; ls $(PHOTOS)/figures/photographs.png; ls $(PHOTOS)/figures/loss.png

# the published bridge on small digits: FID, accuracy, restoration, figures
DIGITS := results/i2sb/jpeg-5

digits: setup
	@snakemake --quiet rules -- $(DIGITS)/table.md $(DIGITS)/figures/grid.png $(DIGITS)/figures/path.png $(DIGITS)/figures/loss.png
	@echo; cat $(DIGITS)/table.md; echo
	@echo "pictures:"; ls $(DIGITS)/figures/*.png

# the small networks of the tests gain nothing from threads, so two processes share two cores
test: setup
	@OMP_NUM_THREADS=1 pytest -n 2 --no-loadscope-reorder

# DVC, injected faults, the report in a browser and a real Slurm, the last two after make system-setup: a quarter of an hour on 2 cores, longer beside other work
test-engines: setup
	@pytest -n 2 tests/dvc tests/faults tests/browser tests/cluster

lint: setup
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint

bench: setup
	python -m benchmarks

report: setup
	snakemake -- all results/summary.md
	bridgepipe report

# the pages as a site that opens from the disk: site/index.html
docs: .venv/.docs
	@echo "building the pages: some 2 minutes" >&2
	@rm -rf site
	sphinx-build -q -W --keep-going -d .venv/.doctrees docs site
	python docs/check_site.py site
	@echo site/index.html

.venv/.docs: .venv/.ready
	@echo "installing what builds the pages: some 20 s" >&2
	$(INSTALL) -e '.[docs]'
	@touch $@

# after a clone or a checkout: fetch what DVC recorded at these parameters, and tell Snakemake that it is current
sync: setup
	dvc pull
	@echo "comparing the files with dvc.lock: some seconds for every GB" >&2
	@dvc status --quiet $$($(STAGES) --recorded stages) || { dvc status $$($(STAGES) --recorded stages); \
	  echo "not what dvc.lock recorded: commit or undo the edits, or run dvc repro" >&2; exit 1; }
	set -o pipefail; $(STAGES) --recorded files | xargs -r snakemake --quiet all --touch --forceall --

# Slurm, Chromium and Graphviz for make test-engines, on Debian and Ubuntu, as root; without them those tests skip themselves
system-setup:
	@for tool in slurmctld slurmd munged sbatch chromium dot; do command -v $$tool > /dev/null || { \
	  echo "installing Slurm, Chromium and Graphviz: some 3 minutes" >&2; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    slurmctld slurmd munge slurm-client chromium fonts-dejavu-core graphviz; exit; }; done

# the weights that come with the package, made again: 45 minutes beside other work on two cores
weights: setup
	snakemake results/i2sb/photos/model.safetensors
	bridgepipe share i2sb/photos --folder src/bridgepipe/photographs/weights/photos

faults: setup
	python tests/faults/campaign.py

schema: setup
	bridgepipe schema

# what can be made again; downloads, own pictures and training states stay
clean: setup
	@bridgepipe clean
