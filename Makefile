# Everything a person needs: `make help`.
PYTHON ?= python3
BIN := .venv/bin
export DAGSTER_DISABLE_TELEMETRY := 1

# A home that is gone afterwards, so that no test touches a user's store. `dg` heeds only the file, not the variable above.
TEMPORARY_HOME = home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && trap 'exit 130' INT TERM && mkdir "$$home/dagster" && \
	echo 'telemetry: {enabled: false}' > "$$home/dagster/dagster.yaml"

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults lint types definitions format lock audit docs findings licences statistics simulations peers bench corpus ui dist clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.ready  ## make .venv from the lock file

# Below 3.15: the locked h5py has no wheel for it. Raise the bound with `make lock` when it has.
.venv/.ready: requirements.lock requirements-setup.lock pyproject.toml
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null || { echo "error: $(PYTHON) is not Python 3.11 to 3.14, or has no venv module. Install one (on Debian with python3-venv), or run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch .venv/.ready
	@echo "ready. Next: make demo, or $(BIN)/medfeat --help"

demo: setup  ## the main job end to end on generated images; prints where the report is
	$(BIN)/medfeat demo

# One OpenMP thread in each process of tests: more would wait for each other, spinning, at three times the processor time.
test: setup lint types definitions  ## every check and every test
	@$(TEMPORARY_HOME) && OMP_NUM_THREADS=1 MEDFEAT_HOME="$$home" DAGSTER_HOME="$$home/dagster" $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

faults: setup  ## inject every fault of docs/reliability.md; hours
	$(BIN)/python -m faults

lint: setup  ## style and import order of the folders
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup  ## static types, strict
	$(BIN)/mypy

definitions: setup  ## does Dagster load what workspace.yaml names
	@$(TEMPORARY_HOME) && VIRTUAL_ENV="$(CURDIR)/.venv" PATH="$(CURDIR)/$(BIN):$$PATH" HOME="$$home" \
		DG_CLI_CONFIG="$$home/dg.toml" DAGSTER_HOME="$$home/dagster" $(BIN)/dg check defs

format: setup  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup  ## choose versions anew within the bounds of pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" pyproject.toml --group dev -o requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --group site -o requirements-site.lock
	echo "uv" | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command "make lock" - -o requirements-setup.lock
	echo "thingsvision==2.7.3" | $(BIN)/uv pip compile --quiet --upgrade --no-config --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command "make lock" - -o benchmarks/peers/requirements.lock

# Strict: a package that the service does not know would otherwise count as one without a flaw.
audit: setup  ## known flaws of the locked packages; asks a service on the internet
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off -r requirements.lock -r requirements-setup.lock -r requirements-site.lock \
		|| { echo "error: not every locked package is known to be free of flaws. If a flaw is listed above: raise the bound in pyproject.toml and run make lock. If a package could not be audited or a connection failed: this machine does not reach the service of advisories; run it where there is internet access." >&2; exit 1; }

docs: setup site/.venv/.ready  ## write the generated pages, and build docs/ as a site into site/html
	$(BIN)/python -m docs.tools.assets
	$(BIN)/python -m docs.tools.notebook
	NO_MKDOCS_2_WARNING=1 site/.venv/bin/mkdocs build --quiet --site-dir site/html

site/.venv/.ready: requirements-site.lock | setup
	$(BIN)/uv venv --quiet --clear site/.venv
	$(BIN)/uv pip install --quiet --python site/.venv/bin/python --require-hashes -r requirements-site.lock
	@touch $@

findings: setup  ## write docs/findings.md from the stored studies of filter sizes in HOMES="FOLDER ..."
	$(BIN)/python -m docs.tools.findings $(HOMES)

licences: setup  ## write docs/licences.md: what each dependency's licence is
	$(BIN)/python -m docs.tools.licences

statistics: setup  ## write docs/statistics.md from the stored simulations
	$(BIN)/python -m docs.tools.statistics

simulations: setup  ## simulate what intervals and tests hold again; half an hour
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.tools.simulations
	$(BIN)/python -m docs.tools.statistics

peers: benchmarks/.venv/.ready  ## what the benchmarks compare with, in an environment of its own (6 GB)

benchmarks/.venv/.ready: benchmarks/peers/requirements.lock | setup
	$(BIN)/uv venv --quiet --clear --python 3.11 benchmarks/.venv
	$(BIN)/uv pip install --quiet --python benchmarks/.venv/bin/python --require-hashes -r benchmarks/peers/requirements.lock
	@touch $@

bench: setup peers  ## measure every row of docs/performance.md against its peer; an hour on an idle machine
	$(BIN)/python -m benchmarks

corpus: setup  ## read every file of DIR=folder and write how, as CSV=corpus.csv; counts by kind and reason
	@test -n "$(DIR)" || { echo "error: no folder is named. Run: make corpus DIR=/folder/of/files [CSV=corpus.csv]" >&2; exit 2; }
	@$(BIN)/python -m benchmarks.corpus "$(DIR)" "$(or $(CSV),corpus.csv)"

ui: setup  ## Dagster's web UI on this machine
	$(BIN)/medfeat ui

dist: setup  ## build the wheel and the source archive into dist/
	$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist

clean:  ## remove the virtual environment and caches (never the store)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
