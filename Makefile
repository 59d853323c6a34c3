# `make repro`: everything from an empty machine to the metrics table. `make test`: the test suite. `make lint`.
PYTHON ?= python3
VENV ?= .venv
export PATH := $(abspath $(VENV))/bin:$(PATH)
# No telemetry, no downloads at run time beyond what a command says.
export DVC_NO_ANALYTICS := 1

.PHONY: repro repository test lint format clean

repro: repository $(VENV)/installed
	dvc repro
	dvc metrics show

# DVC wants a git repository, and says so only once all is installed.
repository:
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "error: no git repository here (or no git), which DVC needs; in a folder unpacked from a ZIP, make one: git init" >&2; exit 1; }

# A file at a time in each process: what its tests share is made once.
test: $(VENV)/installed
	python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed
	ruff check .
	ruff format --check .
	mypy

format: $(VENV)/installed
	ruff format .
	ruff check --fix .

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .scratch work
