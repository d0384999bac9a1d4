# Everything runs in .venv, which is made at first use and again when requirements.txt or pyproject.toml change.
# Needs Python 3.11 or newer and make, nothing else: `make demo PYTHON=/path/to/python3.12` names another one.

PYTHON = python3
VENV = .venv
ifeq ($(OS),Windows_NT)
BIN = $(VENV)/Scripts
else
BIN = $(VENV)/bin
endif
READY = $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench exact-matrix docs lock clean

help:  ## this list
	@$(PYTHON) -c "import re; [print(f'make {n:13}{t}') for n, t in re.findall(r'^([\w-]+):.*?##\s*(.*)', open('Makefile').read(), re.M)]"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'restore needs Python 3.11 or newer: make PYTHON=/path/to/it')"
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c "open('$(READY)', 'w').close()"

demo: $(READY)  ## restore degraded pictures, verify, change one pixel, verify again: demo_output/
	$(BIN)/restore demo demo_output --force

test: export OMP_NUM_THREADS = 1
test: $(READY)  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(READY)  ## style, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(READY)  ## static types, strict
	$(BIN)/mypy

bench: $(READY)  ## the measurements in benchmarks/, one after the other
	@set -e; for bench in benchmarks/bench_*.py; do echo "$$bench"; $(BIN)/python "$$bench"; done

exact-matrix: $(READY)  ## one digest for each image over every setting: docs/exactness.md
	$(BIN)/python benchmarks/exact_matrix.py

docs: $(READY)  ## write the generated pages again and check all links
	$(BIN)/python docs/build.py

lock:  ## requirements.txt from pyproject.toml; needs uv on the path
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-header \
	  --quiet --output-file requirements.txt

clean:  ## remove what was generated, except .venv
	rm -rf demo_output dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find restore_cli sdk models manifests tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
