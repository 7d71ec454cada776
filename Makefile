# make demo: the main job on embedded real data.   make test: the tests.   Each sets up what it needs.
.PHONY: setup demo test lint bench report schema clean
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell command -v $(p) >/dev/null 2>&1 && $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

setup: .venv/.ready

.venv/.ready: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "bridgepipe needs Python 3.11 or newer (make PYTHON=/path/to/python3.11)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@

demo: setup
	@snakemake --quiet rules -- demo
	@echo; cat results/i2sb/jpeg-5/table.md; echo
	@echo "pictures: results/i2sb/jpeg-5/figures/"; ls results/i2sb/jpeg-5/figures/*.png

test: setup
	@pytest

lint: setup
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint

bench: setup
	python -m benchmarks

report: setup
	snakemake -- all
	snakemake --report report.html -- all

schema: setup
	bridgepipe schema

clean:
	rm -rf results data .snakemake report.html
