# Everything a person needs: `make help`.
PYTHON ?= python3
BIN := .venv/bin
export DAGSTER_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types definitions format lock ui clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.ready  ## make .venv from the lock file

.venv/.ready: requirements.lock requirements-setup.lock pyproject.toml
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "error: $(PYTHON) is older than 3.11, or has no venv module. Install Python 3.11 or newer, or run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch .venv/.ready
	@echo "ready: $(BIN)/medfeat --help"

demo: setup  ## the main job end to end on generated images; prints where the report is
	$(BIN)/medfeat demo

test: setup lint types definitions  ## every check and every test
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && MEDFEAT_HOME="$$home" $(BIN)/python -m pytest

lint: setup  ## style and import order of the folders
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup  ## static types, strict
	$(BIN)/mypy

definitions: setup  ## does Dagster load what workspace.yaml names
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && touch "$$home/dagster.yaml" && \
		PATH="$(CURDIR)/$(BIN):$$PATH" HOME="$$home" DAGSTER_HOME="$$home" $(BIN)/dg check defs

format: setup  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup  ## choose versions anew within the bounds of pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" pyproject.toml --group dev -o requirements.lock
	echo "uv" | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command "make lock" - -o requirements-setup.lock

ui: setup  ## Dagster's web UI on this machine
	$(BIN)/medfeat ui

clean:  ## remove the virtual environment and caches (never the store)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
