# Everything here sets itself up: a fresh machine needs Python 3.11 or newer and make.
# `make` alone lists the targets.
PYTHON ?= python3
SECONDS ?= 3600
# The tests run in this many processes; many of them wait, so one more than there are cores.
WORKERS ?= $(shell expr $$(nproc) + 1)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"

# All tests of a file run in one process, in order.
PYTEST := -m pytest --numprocesses $(WORKERS) --dist loadfile
# Without bytecode, each process that a test starts would compile the sidecar again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo quick test check bench fuzz soak lock clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

# The stamp is renewed when a lock or the package's metadata changes.
$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(READY) ## An emulated API, Secrets Manager and the sidecar; rotates a key under load. ARGS="--once" to exit.
	$(BIN)/python -m sidecar demo $(ARGS)

quick: $(READY) ## All tests but integration and ops; a minute. ARGS="--durations=25" for more options.
	$(BIN)/python $(PYTEST) --ignore tests/integration --ignore tests/ops $(ARGS)

test: $(READY) ## All tests, with coverage. ARGS="tests/core -x" for some, without.
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run $(PYTEST) --durations 25
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --include 'sidecar/core/*' --fail-under 100
	$(BIN)/python -m coverage report --fail-under 95
endif

bench: $(READY) ## What it costs beside nginx, HAProxy and Envoy; half an hour. ARGS=--quick for less.
	$(BIN)/python -m benchmarks.bench $(ARGS)

fuzz: $(READY) ## Thousands of other examples of each property, some minutes. ARGS="-k crosstalk" for some.
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest tests/fuzz --timeout 7200 $(ARGS)

soak: $(READY) ## An hour of bad calls, then one of the whole job: memory, descriptors, threads stay. SECONDS=600 for less.
	SOAK_SECONDS=$(SECONDS) $(BIN)/python -m pytest tests/integration/test_soak.py --timeout 90000 --log-cli-level info $(ARGS)

check: $(READY) ## Format, lint, types, import layers: the same as in CI.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(READY) ## Renew requirements/*.txt from pyproject.toml. ARGS="--upgrade" for newer versions.
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/lock.txt
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/run.txt
	$(COMPILE) $(ARGS) pyproject.toml --extra demo -c requirements/run.txt -o requirements/demo.txt
	$(COMPILE) $(ARGS) pyproject.toml --extra demo --group dev -c requirements/demo.txt -o requirements/dev.txt
	$(COMPILE) $(ARGS) --group lock -o requirements/lock.txt

clean: ## Remove what the targets made, the virtual environment included.
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
